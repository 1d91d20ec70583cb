// Package remote is a server as the commands of a client reach it: its address, TLS, a
// member of one of its rooms, and advice for the person when it cannot be reached.
//
// A Server finds its address once: the one that was named, else the one of Find, which
// the caller takes from the environment or the configuration. Join waits while the
// server is being started or the room has no port, and fails at once for any other
// reason. Once a room was joined netsvc/client connects again by itself; an Outage says
// when the connection breaks and when it is back, and gives up in time.
//
// An error that leaves the package tells the person what to do, in place of the words
// of the resolver and of TLS, and is clean: it may repeat text from the server.
//
// There is no goroutine but the timer of an Outage, and no lock: a Server and an
// Outage belong to one goroutine each.
package remote
