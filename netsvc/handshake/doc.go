// Package handshake is what a connection has to do before its first line: to send a header of the
// PROXY protocol, if it comes from a proxy in front of the server, and to agree on TLS. Which of
// them it has to do, the limits, and what a client is told are the caller's.
//
// A Handshake is carried out by one goroutine, the caller's. Other goroutines may end it, and ask for
// its address. There are no locks here, and no goroutine is started.
package handshake
