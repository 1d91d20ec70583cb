// Package term is the line editor of the console and of the chat, and the one
// way by which they write to a terminal.
//
// The keys, the raw mode and the buffer of the line are the library's
// (github.com/chzyer/readline); nothing else in the tree imports it. What it
// draws by itself panics or never ends at some widths, and when something is
// printed in the middle of it. So it is told that there is no terminal, and never
// draws: after each key it reports the line and the cursor, and a display draws
// them. It gets no escape sequence and no key that it handles wrongly, either:
// those are edits of our own, which it takes over as if they had been typed.
//
// # Goroutines and locks
//
//	the library's terminal   reads keys (keys.Read), one at a time
//	the library's operation  edits; calls lineEditor.OnChange after each key,
//	                         which may wait a moment for a completion
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
