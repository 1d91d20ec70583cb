// Package transport is the sockets of a server: listeners, and connections whose bytes
// go to a Handler. It knows no rooms, no protocol and no limits.
//
// An Engine serves everything. Its Listeners, which are the Endpoint of a port, give
// each connection that they accept to a function as a Socket: that makes a Conn of it,
// or a TCP for a goroutine of its own, or tells it a line and closes it.
//
// # Goroutines
//
//   - a few event loops (Linux), which accept from all listeners, and read all conns
//     and have them written to without ever waiting, those behind TLS too once the
//     handshake is done: an idle conn costs no goroutine, no timer, and no buffer but
//     what TLS keeps;
//   - one for each conn whose input has to wait, until it has been handled, and one
//     for each that is at its end;
//   - where there are no event loops, a reader and a writer for each conn, and one for
//     each listener;
//   - one for each connection that is refused, a second long, 64 at most.
//
// # The read lock and the write lock
//
// A conn has two locks: the holder of the read lock hands its input to the handler,
// the holder of the write lock writes. No goroutine waits for them: one that finds a
// lock taken asks the holder to run again and goes away. The goroutine that closes the
// conn takes both and never gives them back: a descriptor is never used after it has
// become another conn's.
//
// # TLS
//
// The handshake is for a goroutine (Secure). After that a loop reads and writes the
// tls.Conn, over a descriptor that does not wait (cipherSocket): a read that would wait
// meets EAGAIN, after which tls.Conn keeps its state, and is called again at the next
// event. What the kernel does not take of a write, about one record, is kept below
// tls.Conn, and goes out before the next write.
//
// # Freeze
//
// For an upgrade the engine stands still, from Freeze to Thaw, while descriptors are
// handed over: loops and readers stop, and whatever changes the state that is handed
// over passes a gate (Alter), which Freeze has then. What can be taken up again in the
// other process stops where it is, and asks one question for that: whether the engine is
// suspended. What cannot waits, until Thaw, or until Abandon says that it does not come. A
// handler that waits for something else is away (Away): its conn stays behind. So do conns
// behind TLS, which stand still like the others until then. After Abandon the loops run
// again: they write to the conns that stay behind, and read nothing.
//
// # Locks
//
// The gate comes before every lock, also of users of the package. The lock of a
// listener is held while it accepts, and so comes before whatever its admit takes.
// The others are held for moments, and nothing is called under them. That of a
// cipherSocket comes last, and is held while the kernel is asked what it takes.
package transport
