package admin

import (
	"io"
	"os"

	"roomd/admin/term"
)

// screen draws the frames of a live table in place, on the terminal's other
// screen, so that what was there before comes back (xterm's private modes 1049
// and 7; CUP, ED of ECMA-48).
type screen struct {
	out  io.Writer // to the terminal
	tty  *os.File
	rows int // lines that fit, looked at with each frame
	cols int
	n    int // lines of the frame so far
}

// canDraw reports whether a file is a terminal that can draw in place.
func canDraw(out io.Writer) (tty *os.File, ok bool) {
	tty, ok = out.(*os.File)
	return tty, ok && term.IsTerminal(tty) && !term.IsDumb()
}

// openScreen takes over a terminal, to which out writes. close must follow.
func openScreen(tty *os.File, out io.Writer) *screen {
	s := &screen{out: out, tty: tty, rows: 24, cols: 80}
	io.WriteString(out, "\x1b[?1049h\x1b[?7l")
	return s
}

// line draws the next line of a frame; an empty one begins another. What does
// not fit is left out.
func (s *screen) line(l string) {
	if l == "" {
		s.n = 0
		s.cols, s.rows = term.Size(s.tty)
		s.rows = max(2, s.rows)
		io.WriteString(s.out, "\x1b[H\x1b[J")
		return
	}
	if s.n++; s.n < s.rows {
		io.WriteString(s.out, term.Clip(l, s.cols)+"\n")
	}
}

// close gives the terminal back.
func (s *screen) close() { io.WriteString(s.out, "\x1b[?7h\x1b[?1049l") }
