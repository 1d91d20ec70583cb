// Package bench puts load on a chat or publish/subscribe server over its sockets. It
// checks at every member that no line is lost, doubled or out of order. It speaks the
// protocols of roomd, Redis, NATS and IRC, so that the same work can be compared.
//
// [Run] puts a [Shape] of work on a running server, [StartAndRun] starts one for it, and
// a [Report] runs many and writes the tables.
//
// One goroutine, the caller's, drives all connections: non-blocking sockets on one
// poller (epoll on Linux). A server that the tool starts has another goroutine, which
// waits for its end. There are no locks: call nothing from two goroutines at a time.
//
// The check is complete and cheap. All members of a room must see the same bytes: the
// room's stream. The first member that gets new bytes extends the stream; each line in
// them is parsed once, and its publisher and number are checked. The bytes of every
// other member are compared with the stream. Where a protocol has no common order, each
// member has a stream of its own.
//
// A line carries its publisher and its number. It is in flight until the publisher's own
// member has it. At a fixed rate a line's time counts from when it was due, not from when
// it was sent: a server that pauses is charged for the lines that it delays (coordinated
// omission).
//
// The cost of a server is the CPU time of its process, as the kernel counts it. So the
// server has to be on this machine.
package bench
