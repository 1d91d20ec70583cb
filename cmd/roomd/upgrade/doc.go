// Package upgrade is how a server hands over to a process of another binary: the two
// processes, and the frames between them. It knows no rooms: what is handed over comes as
// functions, and goes as frames of JSON and descriptors (frames.go).
//
//	this process                          its successor
//	starts it, with one end of a pair  →  reads its configuration
//	                                   ←  hello: what it understands
//	freezes the network, closes the database
//	sends descriptors and states       →  opens the database, takes them in
//	                                   ←  adopted
//	tells the manager its PID, go      →
//	                                   ←  serving; begins to
//	lets the connections go, ends
//
// The left column is Successor (successor.go), the right one Predecessor (predecessor.go). Until
// the word "serving" is there the successor has touched no connection: whatever goes
// wrong, it is killed and this process goes on. After it the pair is a Relay (relay.go).
// The process ends if the service manager follows MAINPID, or if another one waits for
// the server already; else it stays, as the parent that waits (wait_linux.go).
//
// Frames and states are read by older and newer binaries: see Version. Program says which
// file may be run at all (program.go).
//
// A Successor has a goroutine that waits for the end of its process, and a lock for
// Abort, which any goroutine may call; everything else is called by the goroutine that
// hands over. A Relay that listens has a goroutine; Forward and SendPID may be called from any.
package upgrade
