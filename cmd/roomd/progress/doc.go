// Package progress is for commands that run for long: lines about events on standard
// error (Display.Say), and, if a person looks, one line that changes and says how much
// is done.
//
// It has no goroutine. A Display has one mutex, which is held while a line is written.
// Text is printed as it is given: the caller cleans text from the network.
package progress
