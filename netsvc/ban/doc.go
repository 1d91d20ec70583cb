// Package ban decides which clients bans and mutes are for: by address, nick and room. A List is all
// bans and mutes of a server, and is never written to, so that it needs no lock: a change of the
// bans makes a new List.
//
// The package is pure: it knows no socket, no room and no clock. The caller passes the time, and
// says of a client what it knows. The store keeps the bans (store.Ban), and package netsvc has them
// take effect.
//
// There are no goroutines here, and all functions may be called from any goroutine.
package ban
