// Package transport is the sockets of a server: listeners, and connections whose bytes
// go to a Handler. It knows no rooms, no protocol and no limits.
//
// An Engine serves everything. Its Listeners, which are the Endpoint of a port, give
// each connection that they accept to a function as a Socket: that makes a Conn of it,
// or a TCP for a goroutine of its own, or tells it a line and closes it.
//
// # Goroutines
//
//   - a few event loops (Linux), which accept from all listeners, and read all plain
//     conns and have them written to without ever waiting: an idle conn costs no
//     goroutine, no buffer and no timer;
//   - one for each conn whose input has to wait, until it has been handled, and one
//     for each that is at its end;
//   - a reader and a writer for each conn behind TLS, or where there are no event
//     loops, and one for each listener there;
//   - one for each connection that is refused, a second long, 64 at most.
//
// # The read lock and the write lock
//
// Two locks of a conn say which goroutine is at it: the holder of the read lock hands
// its input to the handler, the holder of the write lock writes. Nobody waits for
// them: a goroutine that finds one taken asks the holder to run again and goes away.
// In the end both are kept for good by the goroutine that closes the conn: a
// descriptor is never used after it has become another conn's.
//
// # Freeze
//
// For an upgrade the engine stands still, from Freeze to Thaw, while descriptors are
// handed over: loops and readers stop, goroutines that wait for input park (Parker),
// and whatever changes the state that is handed over passes a gate (Alter), which
// Freeze has then. What can be taken up again in the other process stops where it is;
// what cannot waits, until Thaw, or until Abandon says that it does not come. A handler
// that waits for something else is away (Away): its conn stays behind.
//
// # Locks
//
// The gate comes before every lock, also of users of the package. The lock of a
// listener is held while it accepts, and so comes before whatever its admit takes.
// The others are held for moments, and nothing is called under them but the function
// that Give is given, and a parker's Wake, HungUp and Drop.
package transport
