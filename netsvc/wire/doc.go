// Package wire is the text protocol: it cuts the bytes of a connection into lines, cleans
// them, parses requests and commands, checks names, and renders events. It is pure: no
// goroutines, no locks, no network. The contract is docs/protocol.md.
//
// # The way of a line
//
// A Framer takes the bytes of a connection and returns lines, which are bytes still: IsBlank
// and DetectProtocol take them as they are. Clean makes text of a line, which is safe to
// store, to send and to print. ParseRequest (master port) and ParseCommand (a room's port)
// parse that text; the names in it are unchecked until ParseName.
//
// On the way out an Event renders itself as one line of text or as one JSON object. It trusts
// its fields to be clean.
//
// # Goroutines
//
// A Framer belongs to the goroutine that reads its connection. All other functions may be
// called by any number of goroutines. Errors are *Error: a code, and a sentence that may go
// to the peer as it is.
package wire
