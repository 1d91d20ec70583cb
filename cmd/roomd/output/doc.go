// Package output is what the process prints: whole lines, to readers that may hang or be
// gone (Writer), and the log, as text or JSON, with the priorities of the journal where it
// leads there (Log).
//
// A Writer has one mutex, and one goroutine while there is something to write; no caller
// waits for it longer than 20 ms. A Log has no lock of its own.
package output
