// Package ports is the order in which rooms are given ports: Queue. A client that still knows the
// port of a deleted room must not get into a room of strangers, so a port that was released is in
// quarantine: it is given out last.
//
// The package is pure: it binds nothing. A Queue has no lock, and starts no goroutine.
package ports
