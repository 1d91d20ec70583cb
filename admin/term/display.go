package term

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxPending   = 256 << 10 // bytes that wait for the terminal before Print waits
	maxWrite     = 4 << 10   // bytes, of one write
	stallTimeout = time.Second
)

// What is switched on in a terminal, and off (xterm, ctlseqs: DECAWM).
const (
	wrapOff = "\x1b[?7l"
	wrapOn  = "\x1b[?7h"

	alternateScreen = "\x1b[?1049h"
	mainScreen      = "\x1b[?1049l"
)

// display writes to a terminal, or to a file or a pipe. Texts are printed above
// the line that is edited, which is drawn again below them.
type display struct {
	out  io.Writer
	size func() (columns, rows int) // of the terminal; nil: there is none
	// indent is of the rows that a printed line is broken into. negative: lines
	// are not broken.
	indent int
	cursor bool // the terminal can move it

	mu           sync.Mutex
	changed      sync.Cond // something below has changed
	items        []item
	queued       int // bytes so far
	written      int // of them
	line         inputState
	redraw       bool
	running      bool
	forgotten    bool      // what is drawn is not where it was
	closed       bool      // nobody waits for the terminal any more
	pasteMarks   bool      // pasteOn is the last of pasteOn and pasteOff
	alternate    bool      // the terminal shows its other screen
	broken       bool      // the terminal has gone
	stuck        bool      // it took nothing while somebody waited
	lastProgress time.Time // when it took something last, or was given something to do

	drawn drawnState // owned by run
}

// item is something to be written. Text is printed; raw is written as it is.
type item struct {
	text string
	raw  bool
}

// inputState is the line that is edited.
type inputState struct {
	shown    bool
	prompt   string
	question string // stands instead of the prompt
	label    string // stands instead of both
	text     []rune
	cursor   int
	pasted   []pasted
}

// drawnState is what stands on the terminal below all that was printed.
type drawnState struct {
	on      bool
	columns int   // the terminal's
	widths  []int // of the rows
	row     int   // of the cursor
	col     int
	text    string
}

// newDisplay is a display of a file. size is nil if out is no terminal.
func newDisplay(out io.Writer, size func() (columns, rows int), indent int, cursor bool) *display {
	d := &display{out: out, size: size, indent: indent, cursor: cursor, lastProgress: time.Now()}
	d.changed.L = &d.mu
	return d
}

// sizeOf is the size of a terminal. Some do not know it, or say 0.
func sizeOf(f *os.File) func() (columns, rows int) {
	return func() (int, int) {
		c, err := f.SyscallConn()
		if err != nil {
			return 80, 24
		}
		columns, rows := 80, 24
		c.Control(func(fd uintptr) {
			if w, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ); err == nil && w.Col > 0 {
				columns, rows = int(w.Col), max(1, int(w.Row))
			}
		})
		return columns, rows
	}
}

// run writes until there is nothing to be written.
func (d *display) run() {
	defer RestoreOnPanic()
	for {
		d.mu.Lock()
		if len(d.items) == 0 && !d.redraw {
			d.running = false
			d.mu.Unlock()
			return
		}
		items, line, broken, queued := d.items, d.line, d.broken, d.queued
		d.items, d.redraw = nil, false
		line.shown = line.shown && !d.closed
		d.drawn.on = d.drawn.on && !d.forgotten
		d.forgotten = false
		d.mu.Unlock()
		if !broken {
			broken = !d.writeOut(d.compose(items, line))
		}
		d.mu.Lock()
		d.written = queued
		d.broken = broken
		d.lastProgress = time.Now()
		d.changed.Broadcast()
		d.mu.Unlock()
	}
}

// writeOut writes to the terminal and reports whether it is still there.
func (d *display) writeOut(text string) bool {
	for len(text) > 0 {
		n, err := io.WriteString(d.out, text[:min(len(text), maxWrite)])
		if err != nil {
			return false
		}
		text = text[n:]
		d.mu.Lock()
		d.lastProgress, d.stuck = time.Now(), false
		d.mu.Unlock()
	}
	return true
}

// update changes what is to be shown.
func (d *display) update(do func(line *inputState)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(&d.line)
	d.redraw = true
	d.queue(1)
}

// queue counts what is to be written, and has it written. mu is held.
func (d *display) queue(bytes int) {
	if d.queued == d.written {
		d.lastProgress = time.Now()
	}
	d.queued += bytes
	if !d.running {
		d.running = true
		go d.run()
	}
}

// forgetDrawn has what is drawn left as it is: something else has written to the
// terminal.
func (d *display) forgetDrawn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgotten = true
}

// write has something written. It waits while too much is pending, or, if that is
// asked for, until it has been written; but not after close.
func (d *display) write(it item, until bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	full := func() bool { return d.queued-d.written > maxPending }
	for full() && !d.closed && !d.broken {
		d.changed.Wait()
	}
	if full() && !(it.raw && len(it.text) <= maxSequence) {
		return // nobody reads; but what switches something off in the terminal is short, and kept
	}
	if it.raw && (it.text == pasteOn || it.text == pasteOff) {
		on := it.text == pasteOn
		if on && d.closed {
			return // nothing is switched on behind close
		}
		d.pasteMarks = on
	}
	if it.raw && (strings.Contains(it.text, alternateScreen) || strings.Contains(it.text, mainScreen)) {
		on := strings.Contains(it.text, alternateScreen)
		if on && d.closed {
			return
		}
		d.alternate = on
	}
	d.items = append(d.items, it)
	d.queue(len(it.text) + 1)
	for mine := d.queued; until && d.written < mine && !d.closed; {
		d.changed.Wait()
	}
}

// close is end and flush. It can be called again, for what was printed since.
func (d *display) close(last ...item) {
	d.end(last...)
	d.flush()
}

// end ends all waiting for the terminal, takes the line off it and switches off
// the marks of pastes. The last texts are written in any case.
func (d *display) end(last ...item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.alternate { // whoever draws there may not come to its end
		last = append([]item{{wrapOn + mainScreen, true}}, last...)
	}
	if d.pasteMarks {
		last = append(last, item{pasteOff, true})
	}
	d.closed, d.pasteMarks, d.alternate = true, false, false
	d.line.shown = false
	d.redraw = true
	d.items = append(d.items, last...)
	d.queue(1)
}

// flush returns when everything has been written, or the terminal takes no more
// of it. If that was so before, it looks for a moment only.
func (d *display) flush() {
	look := time.AfterFunc(stallTimeout, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changed.Broadcast()
	})
	defer look.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	began, bound := time.Now(), stallTimeout
	if d.stuck {
		bound = stallTimeout / 10
	}
	for d.written < d.queued && !d.broken {
		left := bound - min(time.Since(d.lastProgress), time.Since(began))
		if left <= 0 {
			d.stuck = true
			return
		}
		look.Reset(left)
		d.changed.Wait()
	}
}

// compose makes what is written: texts, and below them the line.
func (d *display) compose(items []item, line inputState) string {
	var b strings.Builder
	columns, height := 0, 0
	if d.size != nil {
		columns, height = d.size()
	}
	if d.drawn.on && (len(items) > 0 || !line.shown) {
		d.moveToTop(&b, columns)
		b.WriteString("\x1b[J")
		d.drawn.on = false
	}
	for i, it := range items {
		switch {
		case it.raw:
			b.WriteString(it.text)
		case columns == 0 || d.indent < 0:
			b.WriteString(it.text + "\n")
		case d.cursor:
			// A terminal that takes a character for wider than we do must not
			// break the row by itself.
			if i == 0 || items[i-1].raw {
				b.WriteString(wrapOff)
			}
			d.fold(&b, it.text, columns)
			if i == len(items)-1 || items[i+1].raw {
				b.WriteString(wrapOn)
			}
		default:
			d.fold(&b, it.text, columns-1)
		}
	}
	if line.shown {
		d.draw(&b, line, columns, height)
	}
	return b.String()
}

// fold prints lines, broken to the terminal's width.
func (d *display) fold(b *strings.Builder, text string, columns int) {
	for l := range strings.SplitSeq(text, "\n") {
		for _, row := range Fold(l, columns, d.indent) {
			b.WriteString(row + "\n")
		}
	}
}

// moveToTop moves the cursor to the first place of what is drawn. A terminal that has
// become narrower has broken the rows in the meantime, as most do.
func (d *display) moveToTop(b *strings.Builder, columns int) {
	up := d.drawn.row
	if columns < d.drawn.columns && columns > 0 {
		up = d.drawn.col / columns
		for _, w := range d.drawn.widths[:d.drawn.row] {
			up += max(1, (w+columns-1)/columns)
		}
	}
	if up > 0 {
		fmt.Fprintf(b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
}

// draw draws the line in the place of what is drawn.
func (d *display) draw(b *strings.Builder, line inputState, columns, height int) {
	rows, row, left := layOut(line, columns)
	if most := max(1, height-1); len(rows) > most { // a part of it, with the cursor
		first := min(row, len(rows)-most)
		rows, row = rows[first:first+most], row-first
	}
	var text strings.Builder
	text.WriteString(wrapOff)
	for i, r := range rows {
		switch {
		case i < len(rows)-1:
			text.WriteString("\x1b[2K" + r + "\r\n")
		default:
			text.WriteString("\x1b[J" + r)
		}
	}
	// What is left of the cursor is drawn once more: so the cursor is where the
	// terminal has that character, however wide it takes it for.
	if row < len(rows)-1 || left != rows[row] {
		if up := len(rows) - 1 - row; up > 0 {
			fmt.Fprintf(&text, "\x1b[%dA", up)
		}
		text.WriteString("\r" + left)
	}
	text.WriteString(wrapOn)
	now := drawnState{on: true, columns: columns, row: row, col: Width(left), text: text.String()}
	for _, r := range rows {
		now.widths = append(now.widths, Width(r))
	}
	if d.drawn.on && d.drawn.text == now.text && slices.Equal(d.drawn.widths, now.widths) && d.drawn.columns == columns {
		return
	}
	if d.drawn.on {
		d.moveToTop(b, columns)
	} else {
		b.WriteString("\r") // something else may have written there
	}
	b.WriteString(now.text)
	d.drawn = now
}

// layOut breaks the prompt and the line into rows. row is that of the cursor, and
// left what stands to its left in it.
func layOut(l inputState, columns int) (rows []string, row int, left string) {
	p := newRowWriter(columns, 0)
	for rest := cmp.Or(l.label, l.question, l.prompt); rest != ""; {
		piece, shown, w := cutCluster(rest)
		p.put(shown, w)
		rest = rest[len(piece):]
	}
	here := func() { row, left = len(p.rows), p.current.String() }
	for i, r := range l.text {
		text := string(r)
		if n := int(r - firstPasted); n >= 0 && n < len(l.pasted) {
			text = l.pasted[n].label
		}
		for j := 0; j < len(text); {
			piece, shown, w := cutCluster(text[j:])
			if p.full(w) {
				p.turn()
			}
			if i == l.cursor && j == 0 {
				here()
			}
			p.put(shown, w)
			j += len(piece)
		}
	}
	if l.cursor >= len(l.text) {
		if p.full(1) {
			p.turn()
		}
		here()
	}
	return p.end(), row, left
}

// Output writes to a terminal as a display does, without a line that is edited.
type Output struct{ display *display }

// NewOutput is for a program that draws. Close must follow.
func NewOutput(f *os.File) Output { return Output{newDisplay(f, sizeOf(f), 0, true)} }

// Write writes to the terminal. It waits while too much is pending, but not after
// Close, and never fails.
func (o Output) Write(p []byte) (int, error) {
	o.display.write(item{string(p), true}, false)
	return len(p), nil
}

// Close returns when all has been written, or the terminal takes no more of it. It
// can be called more than once, from any goroutine.
func (o Output) Close() { o.display.close() }

// Size is how many columns and rows a terminal has.
func Size(f *os.File) (columns, rows int) { return sizeOf(f)() }

// FoldFor is a line as it is printed to a file: on a terminal it is broken into
// rows that no text of a chatter can make look like other lines.
func FoldFor(out io.Writer, line string, indent int) string {
	f, ok := out.(*os.File)
	if !ok || !IsTerminal(f) {
		return line
	}
	columns, _ := Size(f)
	return strings.Join(Fold(line, columns, indent), "\n")
}
