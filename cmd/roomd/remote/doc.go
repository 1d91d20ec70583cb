// Package remote is a server as a client on the command line reaches it: which
// server that is, how to speak with it, a member of one of its rooms, and what to
// tell the person when it is out of reach.
//
// A Server is found once: the address that was named, else the one that Find knows,
// which asks the environment and the configuration. Join waits for what passes (a
// server that is being started, a room without a port) and fails of the rest at once.
// Once a room was joined netsvc/client connects again by itself; an Outage says when
// that begins and when it is over, and gives up in time.
//
// Errors for people come from here: advice says what to do in place of what the
// resolver and TLS say. What a server said may be in them, so they are cleaned
// (CleanError) before they leave the package.
//
// There is no goroutine but the timer of an Outage, and no lock: a Server and an
// Outage belong to one goroutine each.
package remote
