// Package transport is the sockets of a server: listeners, and conns whose bytes go to a
// Handler. It knows no rooms, no protocol and no limits.
//
// An Engine serves everything. Its Listeners (an Endpoint is all listeners of one port, and a
// Rebinding changes their addresses) give each accepted connection to a function as a Socket:
// the function makes a Conn of it, or a TCP for a goroutine of its own, or writes one line and
// closes it.
//
// # Goroutines
//
//   - A few event loops (Linux) accept from all listeners, and read and write all conns
//     without ever waiting, those behind TLS too once the handshake is done. An idle conn
//     costs no goroutine, no timer, and no buffer but what TLS keeps.
//   - One for each conn with pending input, until that is handled; one for each conn at its
//     end.
//   - Where there are no event loops: a reader and a writer for each conn, and one for each
//     listener. A conn of messages (ConnFromFrames) has these two everywhere.
//   - One for each refused connection that lingers: 64 at most, for a second each.
//
// # The read lock and the write lock
//
// The holder of a conn's read lock gives its input to the handler; the holder of its write
// lock writes. No goroutine waits for these locks: one that finds a lock taken asks the
// holder to run again, and goes away. The goroutine that closes the conn acquires both and
// never releases them: so a descriptor is never used after it has become another conn's.
//
// # TLS
//
// The handshake takes a goroutine (Secure). After that an event loop reads and writes the
// tls.Conn over a descriptor that does not wait (cipherSocket): a read that would wait meets
// EAGAIN, after which tls.Conn keeps its state, and is repeated at the next event. What the
// kernel does not take of a write, about one record, is kept beneath tls.Conn, and is sent
// before the next write.
//
// # Freeze
//
// For an upgrade the engine is frozen from Freeze to Thaw, while descriptors are handed over:
// loops and readers stop, and Freeze holds a lock that each change of the state that is
// handed over has to share (BeginChange). A handler needs to know one thing: whether the
// engine is Suspended, which is frozen or about to be. A handler that would wait then returns
// Retry, and is called again after Thaw, or in the other process. One that waits for
// something that takes long does so in RunBlocking: its conn stays behind. So do conns behind
// TLS, and conns of messages, whose readers wait for the thaw. Abandon says that the engine does not thaw, as the other process has taken over: the
// loops then write to the conns that stay behind, and read nothing.
//
// # Locks
//
// The lock of changes comes before every other lock, also before those of the package's
// users. The lock of a listener is held while it accepts, and so comes before all that its
// admit function locks. The others are held for moments, and nothing is called under them.
// The lock of a cipherSocket comes last, and is held while the kernel is asked what it takes.
package transport
