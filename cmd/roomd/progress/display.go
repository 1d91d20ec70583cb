package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"roomd/admin/term"
)

// Display is where a command says how far it is. Its methods may be called from any
// goroutine.
type Display struct {
	// Set by New, then read-only.
	w           io.Writer
	interactive bool // a person looks
	began       time.Time

	mu      sync.Mutex
	shown   bool // a line of progress stands there
	updated time.Time
}

// New makes a Display on w, standard error. Time counts from now.
func New(w io.Writer) *Display {
	return &Display{w: w, interactive: term.IsTerminal(w), began: time.Now()}
}

// Println prints "roomd: " and a line, which has no end in it.
func (d *Display) Println(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wipe()
	fmt.Fprintf(d.w, "roomd: "+format+"\n", args...)
}

// Update shows how far the work is: nothing in the first second, and then five times a
// second at most. text is called only if a person looks and it is time.
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

// Clear takes the progress off the screen.
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

// Elapsed is the time since New.
func (d *Display) Elapsed() time.Duration { return time.Since(d.began) }

// Rate is n, a count since New, for each second.
func (d *Display) Rate(n int) int { return int(float64(n) / d.Elapsed().Seconds()) }
