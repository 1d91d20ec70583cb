// Package upgrade hands a running server over to a process of another binary. It contains
// the two processes and the frames between them, and knows no rooms: the state of the server
// is frames of JSON and descriptors (frames.go) that the caller sends and receives.
//
//	this process                          its successor
//	starts it, with one end of a pair  →  reads its configuration
//	                                   ←  hello: its versions and its database
//	freezes the network, closes the database
//	sends descriptors and states       →  opens the database, adopts them
//	                                   ←  adopted
//	tells the service manager its PID, go →
//	                                   ←  serving; the successor serves
//	closes its connections, exits
//
// The left column is Successor (successor.go), the right one Predecessor (predecessor.go).
// Before the frame "serving" the successor touches no connection: after any error it is
// killed, and this process continues. After that frame the pair is a Relay (relay.go). This
// process exits if the service manager follows MAINPID, or if another process already waits
// for the server; otherwise it stays as the parent that waits (wait_linux.go).
//
// Older and newer binaries read the frames and states: see Version. Program checks the file
// that an upgrade runs (program.go).
//
// A Successor has a goroutine that waits for the exit of its process, and a lock for Abort,
// which any goroutine may call; the goroutine that hands over calls everything else. A Relay
// that listens has a goroutine; any goroutine may call Forward and SendPID.
package upgrade
