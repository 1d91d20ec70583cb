// Package admin is the operator's shell: one table of commands, each of which
// yields values that are rendered as an aligned table for people or as JSON for
// programs. What its arguments and the values of its flags are is said where the
// table names them, once for usage, completion and reading (param.go). The same
// line works at the console's prompt, as "roomd admin LINE", and through "nc -U"
// on the unix socket.
//
// # The socket
//
// A client sends lines. The answer to each is lines that begin with a space
// (what the command yields, the space is not part of it) and then one that does
// not:
//
//	OK                    done
//	ERR code sentence     refused
//	ASK token sentence    the line destroys something; it is done if it comes
//	                      again with --token and the token, or with --yes
//	SECRET - sentence     a password is wanted, and is not to be in the line: it
//	                      must come again behind --secret= and the password in
//	                      base64url, which no log and no audit shows
//
// What a chatter typed is always behind the space and never holds a line end:
// it cannot look like an answer. A stream (watch) goes on until the client
// sends another line or closes. Only root, the server's own user and members of
// admin.group are served.
//
// # Goroutines and locks
//
// One goroutine accepts, one serves each connection, and while a stream runs one
// more reads ahead, so that the client can end it. One for each plan (delete --in,
// stop --in) waits until it is due; plans.mu guards which there are, and a plan is
// changed on disk first. Tap's mutex guards the log's
// watchers. The console has one goroutine that reads the prompt and one for each
// watch, which prints whole lines above it.
package admin
