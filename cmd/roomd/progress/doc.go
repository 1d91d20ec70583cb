// Package progress is what a command that runs for long prints on standard error:
// lines about what happens (Display.Say), and, if a person looks, a line that changes
// and says how far it is.
//
// It has no goroutine. A Display has one mutex, which makes each call whole; it is held
// while a line is written. Text is printed as it is given: whoever has text from the
// network cleans it first.
package progress
