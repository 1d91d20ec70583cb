// Package remote connects the client commands to a server: its address, TLS, a member of one
// of its rooms, and advice for the person when the server cannot be reached.
//
// A Server resolves its address once: Addr, or the result of Find, which the caller takes
// from the environment or the configuration. Join waits while the server starts or the room
// has no port, and fails at once for any other reason. After Join, netsvc/client connects
// again by itself; an Outage reports lost and new connections, and gives up after a timeout.
//
// Errors of this package say what to do, in place of the words of the resolver and of TLS,
// and are clean, because they may repeat text of the server.
//
// The only goroutine is the timer of an Outage, and there are no locks: one goroutine each
// uses a Server and an Outage.
package remote
