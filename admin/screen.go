package admin

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// screen draws the frames of a live table in place, on the terminal's other
// screen, so that what was there before comes back (xterm's private modes 1049
// and 7; CUP, ED of ECMA-48).
type screen struct {
	out  *os.File
	rows int // lines that fit, looked at with each frame
	n    int // lines of the frame so far
}

// openScreen takes over a terminal; nil: the file is none, or cannot do it.
// close must follow.
func openScreen(out io.Writer) *screen {
	f, ok := out.(*os.File)
	if !ok || !IsTerminal(f) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	s := &screen{out: f, rows: 24}
	io.WriteString(out, "\x1b[?1049h\x1b[?7l")
	return s
}

// line draws the next line of a frame; an empty one begins another. What does
// not fit is left out.
func (s *screen) line(l string) {
	if l == "" {
		s.n = 0
		if w, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ); err == nil && w.Row > 1 {
			s.rows = int(w.Row)
		}
		io.WriteString(s.out, "\x1b[H\x1b[J")
		return
	}
	if s.n++; s.n < s.rows {
		io.WriteString(s.out, l+"\n")
	}
}

// close gives the terminal back.
func (s *screen) close() { io.WriteString(s.out, "\x1b[?7h\x1b[?1049l") }
