package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"roomd/admin/english"
	"roomd/admin/term"
)

// Display prints the messages and the progress of a command. Its methods may be called from
// any goroutine.
type Display struct {
	// Set by New, then read-only.
	w           io.Writer
	interactive bool // w is a terminal
	began       time.Time

	mu      sync.Mutex
	shown   bool // a progress line is on the screen
	updated time.Time
}

// New makes a Display on w, which is standard error. Elapsed and Rate count from now.
func New(w io.Writer) *Display {
	return &Display{w: w, interactive: term.IsTerminal(w), began: time.Now()}
}

// Println prints "roomd: " and a line, without a line end in it.
func (d *Display) Println(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wipe()
	fmt.Fprintf(d.w, "roomd: "+format+"\n", args...)
}

// Update shows a progress line at a terminal, after the first second and five times a second
// at most. text is called only for a line that is shown.
func (d *Display) Update(text func() string) {
	if !d.interactive {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Sub(d.began) < time.Second || now.Sub(d.updated) < 200*time.Millisecond {
		return
	}
	d.wipe()
	d.updated, d.shown = now, true
	io.WriteString(d.w, text())
}

// Clear removes the progress line.
func (d *Display) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wipe()
}

func (d *Display) wipe() {
	if d.shown {
		d.shown = false
		io.WriteString(d.w, "\r\x1b[K")
	}
}

// Lines returns a function that shows how many lines are done: "12 lines exported".
func (d *Display) Lines(done string) func(lines uint64) {
	return func(lines uint64) {
		d.Update(func() string { return english.Plural(lines, "line") + " " + done })
	}
}

// Bytes returns a function that shows the progress of a copy: "compacting: 12 %".
func (d *Display) Bytes(doing string) func(done, total int64) {
	return func(done, total int64) {
		d.Update(func() string { return fmt.Sprintf("%s: %d %%", doing, Percent(done, total)) })
	}
}

// Percent returns the progress of unfinished work: 0 to 99.
func Percent(done, total int64) int64 { return min(99, 100*done/max(1, total)) }

// Elapsed returns the time since New.
func (d *Display) Elapsed() time.Duration { return time.Since(d.began) }

// Rate returns a count since New for each second.
func (d *Display) Rate(n int) int { return int(float64(n) / d.Elapsed().Seconds()) }
