// Package progress prints the messages of commands that run for long (Display.Println), and
// at a terminal one line that shows the progress (Display.Update).
//
// It has no goroutines. A Display has one mutex, which is held while a line is written. Text
// is printed unchanged: the caller cleans text from the network.
package progress
