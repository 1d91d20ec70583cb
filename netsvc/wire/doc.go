// Package wire is the text protocol: it cuts the bytes of a connection into
// lines, cleans them, parses requests and commands, checks names, and renders
// what is sent. All of it is pure: no goroutines, no locks, no network. The
// contract is docs/protocol.md.
//
// # The way of a line
//
// A Framer takes bytes as they came from the connection and gives lines. A
// line is bytes still: Blank and HTTP look at it as it is. Clean makes text of
// it, which is safe to store, to send and to print. ParseRequest (master port)
// and ParseCommand (a room's port) take that text apart; the names in it are
// raw until ParseName has checked them.
//
// The way out is shorter: an Event renders itself as one line of text or as one
// JSON object. It trusts its fields to be clean.
//
// # Who may call what
//
// A Framer belongs to the goroutine that reads its connection. Everything else
// is a function of its arguments and safe for use by any number of goroutines.
// Errors are *Error, with a code and a sentence that may go to the peer as is.
package wire
