// Package term is the line editor of the console and of the chat, and the one
// way by which they write to a terminal.
//
// A decoder makes keys of what is typed, a buffer carries them out, and a display
// draws the line and the cursor after each of them, below all that is printed.
//
// # Goroutines and locks
//
//	lineEditor.edit          one for each line that is read: takes keys, and waits
//	                         a moment for a completion
//	input.Read               one for each read of the keyboard, as that cannot be ended
//	display.run              alone writes to the terminal
//	resized                  has the line drawn again after SIGWINCH
//
// No goroutine waits for the terminal but display.run. The others give it what
// is to be shown. Print waits while too much of that is pending, until Close. So a
// terminal that nobody reads holds up nothing: Close sets the terminal's modes
// back at once, and waits for the rest as long as some of it is taken.
//
// lineEditor.mu and display.mu are held for moments and never together; neither
// is held while a completion is asked for, the terminal is written to or the file
// of past lines is.
package term
