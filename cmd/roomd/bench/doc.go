// Package bench puts load on a chat or publish/subscribe server over its
// sockets and checks, at every member, that nothing is lost, doubled or out of
// order. It knows the wire of roomd, of Redis and of NATS, so that the same
// work can be compared.
//
// [Run] puts a [Shape] of work on a server that runs, [RunOwn] starts one for it;
// [Report] runs many and makes the tables.
//
// One goroutine, the caller's, drives all connections: non-blocking sockets on one
// poller (epoll on Linux); a server that is started has another, which waits for its
// end. There are no locks: nothing may be called from two goroutines at a time. The check is complete and cheap: all members of a room are
// to see the same bytes, so the first member that gets new bytes extends the
// room's stream, where each line is parsed once and its publisher and number
// are checked; the bytes of every other member are compared with that stream.
//
// A line carries its publisher and its number. It is in flight until the
// publisher's own member has it. At a fixed rate a line's time counts from when
// it was due, not from when it was sent: a server that stalls is not spared the
// lines that could not be sent meanwhile (coordinated omission).
//
// What a server costs is the CPU time of its process, read from the kernel, and
// so needs a server on this machine.
package bench
