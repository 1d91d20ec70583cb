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
	maxPending   = 256 << 10 // bytes; Print waits while more are pending
	maxWrite     = 4 << 10   // bytes of one write
	stallTimeout = time.Second
)

// Sequences that switch the terminal (xterm, ctlseqs: DECAWM and the alternate screen).
const (
	wrapOff = "\x1b[?7l"
	wrapOn  = "\x1b[?7h"

	alternateScreen = "\x1b[?1049h"
	mainScreen      = "\x1b[?1049l"
)

// display writes to a terminal, a file or a pipe. On a terminal it prints texts above the
// edited line, and draws the line again below them.
type display struct {
	out  io.Writer
	size func() (columns, rows int) // of the terminal; nil: there is none
	// indent is the indentation of the second and later rows of a long line; negative: lines
	// are not broken.
	indent int
	cursor bool // the terminal can move it

	mu           sync.Mutex
	changed      sync.Cond // a field below has changed
	items        []item
	queued       int // bytes so far
	written      int // bytes so far
	line         inputState
	redraw       bool
	running      bool
	forgotten    bool      // other output has moved what is drawn
	closed       bool      // no goroutine waits for the terminal any more
	pasteMarks   bool      // pasteOn was written after the last pasteOff
	alternate    bool      // the terminal shows the alternate screen
	broken       bool      // writing to the terminal has failed
	stuck        bool      // it took nothing while a goroutine waited
	lastProgress time.Time // the terminal took bytes, or the queue was empty

	drawn drawnState // owned by run
}

// item is one output: a text to print, or raw bytes.
type item struct {
	text string
	raw  bool
}

// inputState is the edited line as it is to be shown.
type inputState struct {
	shown    bool
	prompt   string
	question string // replaces the prompt
	label    string // replaces both
	text     []rune
	cursor   int
	pasted   []pasted
}

// drawnState describes the rows that the edited line has on the terminal.
type drawnState struct {
	on      bool
	columns int   // width of the terminal
	widths  []int // of the rows
	row     int   // of the cursor
	col     int
	text    string
}

// newDisplay returns a display for out. size is nil if out is not a terminal.
func newDisplay(out io.Writer, size func() (columns, rows int), indent int, cursor bool) *display {
	d := &display{out: out, size: size, indent: indent, cursor: cursor, lastProgress: time.Now()}
	d.changed.L = &d.mu
	return d
}

// sizeOf returns a function for the size of a terminal. Some terminals do not know it, or say
// 0.
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

// run writes until the queue is empty.
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

// writeOut writes to the terminal, and returns false after an error.
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

// update changes the edited line and has it drawn.
func (d *display) update(do func(line *inputState)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do(&d.line)
	d.redraw = true
	d.queue(1)
}

// queue counts pending bytes and starts run. mu is held.
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

// forgetDrawn is called after other output to the terminal: the line is drawn from scratch.
func (d *display) forgetDrawn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgotten = true
}

// write queues an output. It waits while too much is pending, and with until it waits until
// this output is written; after close it does not wait.
func (d *display) write(it item, until bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	full := func() bool { return d.queued-d.written > maxPending }
	for full() && !d.closed && !d.broken {
		d.changed.Wait()
	}
	if full() && !(it.raw && len(it.text) <= maxSequence) {
		return // only short sequences, which restore the terminal, are queued nevertheless
	}
	if it.raw && (it.text == pasteOn || it.text == pasteOff) {
		on := it.text == pasteOn
		if on && d.closed {
			return // nothing is switched on after close
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

// close is end and flush. It can be called again, after later output.
func (d *display) close(last ...item) {
	d.end(last...)
	d.flush()
}

// end ends all waiting for the terminal, removes the edited line and switches off the paste
// marks. The last texts are written in any case.
func (d *display) end(last ...item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.alternate { // the goroutine that draws on that screen may be stuck
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

// flush returns when everything is written, or when the terminal takes no more bytes. If the
// terminal was stuck before, it waits only for a moment.
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

// compose returns the bytes to write: the texts, and below them the edited line.
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
			// A terminal for which a character is wider than for us must not break the row by
			// itself.
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

// fold breaks lines to the width of the terminal.
func (d *display) fold(b *strings.Builder, text string, columns int) {
	for l := range strings.SplitSeq(text, "\n") {
		for _, row := range Fold(l, columns, d.indent) {
			b.WriteString(row + "\n")
		}
	}
}

// moveToTop moves the cursor to the beginning of the drawn rows. If the terminal became
// narrower, it has broken these rows again, as most terminals do.
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

// draw draws the edited line over the drawn one.
func (d *display) draw(b *strings.Builder, line inputState, columns, height int) {
	rows, row, left := layOut(line, columns)
	if most := max(1, height-1); len(rows) > most { // only a part of the rows, around the cursor
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
	// The part before the cursor is drawn again: so the cursor is right even if a character is
	// wider for the terminal than for us.
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
		b.WriteString("\r") // other output may have moved the cursor
	}
	b.WriteString(now.text)
	d.drawn = now
}

// layOut breaks the prompt and the line into rows. row is the row of the cursor, left the text
// before it in that row.
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
			if p.overflows(w) {
				p.newRow()
			}
			if i == l.cursor && j == 0 {
				here()
			}
			p.put(shown, w)
			j += len(piece)
		}
	}
	if l.cursor >= len(l.text) {
		if p.overflows(1) {
			p.newRow()
		}
		here()
	}
	return p.finish(), row, left
}

// Output is a display for a program that draws, without an edited line.
type Output struct{ display *display }

// NewOutput returns an Output for a terminal. Close must follow.
func NewOutput(f *os.File) Output { return Output{newDisplay(f, sizeOf(f), 0, true)} }

// Write writes to the terminal. It waits while too much is pending, but not after Close. It
// never fails.
func (o Output) Write(p []byte) (int, error) {
	o.display.write(item{string(p), true}, false)
	return len(p), nil
}

// Close returns when everything is written, or when the terminal takes no more bytes. It may
// be called more than once, from any goroutine.
func (o Output) Close() { o.display.close() }

// Size returns the columns and rows of a terminal.
func Size(f *os.File) (columns, rows int) { return sizeOf(f)() }

// FoldFor returns a line as it is printed to out. For a terminal it is broken into rows, so
// that the text of a member cannot look like other lines.
func FoldFor(out io.Writer, line string, indent int) string {
	f, ok := out.(*os.File)
	if !ok || !IsTerminal(f) {
		return line
	}
	columns, _ := Size(f)
	return strings.Join(Fold(line, columns, indent), "\n")
}
