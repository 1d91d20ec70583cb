package admin

import (
	"io"
	"os"

	"roomd/admin/term"
)

// screen draws the frames of a live table in place, on the alternate screen of the terminal,
// so that the earlier content comes back afterwards (private modes 1049 and 7 of xterm; CUP
// and ED of ECMA-48).
type screen struct {
	out  io.Writer // to the terminal
	tty  *os.File
	rows int // of the terminal, read again for each frame
	cols int
	n    int // lines of this frame so far
}

// canDraw reports whether a file is a terminal that can draw in place.
func canDraw(out io.Writer) (tty *os.File, ok bool) {
	tty, ok = out.(*os.File)
	return tty, ok && term.IsTerminal(tty) && !term.IsDumb()
}

// openScreen switches to the alternate screen; out writes to the terminal. close must follow.
func openScreen(tty *os.File, out io.Writer) *screen {
	s := &screen{out: out, tty: tty, rows: 24, cols: 80}
	io.WriteString(out, "\x1b[?1049h\x1b[?7l")
	return s
}

// line draws the next line of a frame; an empty line begins a frame. Lines and columns that do
// not fit are cut off.
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

// close switches back to the main screen.
func (s *screen) close() { io.WriteString(s.out, "\x1b[?7h\x1b[?1049l") }
