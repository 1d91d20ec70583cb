// Package admin is the operator's console: one table of commands. A command writes
// values, which are shown as an aligned table for people or as JSON for programs. The
// table describes the arguments of a command and the values of its flags once, for
// usage, completion and parsing (param.go). The same line works at the prompt of the
// console, as "roomd admin LINE", and through "nc -U" on the unix socket.
//
// # The socket
//
// A client sends lines. The answer to a line is lines that begin with a space, which
// is not part of them, and then a verdict, which does not:
//
//	OK                    done
//	ERR code sentence     refused
//	ASK token sentence    the command is destructive; send it again with --yes, or
//	                      with --token and the token
//	SECRET - sentence     the command needs a password, which is never in the line:
//	                      send it again behind --secret= and the password in
//	                      base64url, which is neither in the log nor in the audit
//
// The text of members is always behind the space and never contains a line end, so
// that it cannot look like a verdict. A stream (watch) ends when the client sends
// another line or closes. Only root, the server's own user and members of admin.group
// are served.
//
// # Goroutines and locks
//
// One goroutine accepts, one serves each connection, and during a stream one more reads
// ahead, so that the client can end the stream. Each plan (delete --in, stop --in) has a
// goroutine that waits until the plan is due; plans.mu guards the plans, and a plan is
// changed on disk first. tapHub.mu guards the watchers of the log. The console has one
// goroutine that reads the prompt, one that watches the server, and one for each watch,
// which prints whole lines above the prompt.
package admin
