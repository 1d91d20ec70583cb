// Package output prints the output and the log of the process: whole lines, to readers that
// may hang or have exited (Writer), and the log as text or JSON, with priorities for the
// journal (Log).
//
// A Writer has one mutex, and one goroutine while there is something to write; no caller
// waits longer than 20 ms. A Log has no lock of its own.
package output
