// Package term is the line editor of the console and of the chat, and the only
// way by which they write to a terminal.
//
// Keys, raw mode and the buffer of the line are those of the library
// (github.com/chzyer/readline); no other package of the tree imports it. Its own
// drawing panics or never ends at some widths, and fails when other goroutines
// print. So the library is told that there is no terminal and never draws: after
// each key it reports the line and the cursor, and a display draws them. Escape
// sequences, and keys that the library handles wrongly, do not reach it: they are
// edits of this package, and the library takes the edited line over.
//
// # Goroutines and locks
//
//	terminal of the library   reads keys (keys.Read), one at a time
//	operation of the library  edits; calls lineEditor.OnChange after each key,
//	                          which may wait a moment for a completion
//	display.run               the only one that writes to the terminal
//	resized                   has the line drawn again after SIGWINCH
//
// Only display.run waits for the terminal; the other goroutines queue their output.
// Print waits while too much is pending, until Close. So a terminal that nobody reads
// blocks nothing: Close restores the terminal's modes at once, and waits for the
// pending output only while the terminal takes some of it.
//
// lineEditor.mu and display.mu are held for moments and never together. Neither is
// held during a completion, a write to the terminal or a write of the history file.
package term
