package term

import (
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chzyer/readline"
)

// gate is a terminal that takes nothing until it is open.
type gate struct {
	open chan struct{}
	got  strings.Builder
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.got.Write(p)
}

func newGate() (*gate, *display) {
	g := &gate{open: make(chan struct{})}
	return g, newDisplay(g, func() (int, int) { return 80, 24 }, 2, true)
}

// Nobody waits for a terminal that takes nothing, once it is closed, and what
// switches something off there is written when it takes something again.
func TestDisplayThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := newGate()
		waits := make(chan bool)
		go func() {
			defer close(waits)
			for range 100 {
				d.write(item{strings.Repeat("x", 8<<10), false}, false)
			}
		}()
		synctest.Wait()
		select {
		case <-waits:
			t.Fatal("Print does not wait for the terminal")
		default:
		}
		began := time.Now()
		d.close(item{pasteOff, true})
		<-waits
		if took := time.Since(began); took > stallTimeout+time.Second/10 {
			t.Errorf("close took %v", took)
		}
		d.write(item{strings.Repeat("y", 100), false}, true) // is dropped, and not waited for
		d.write(item{"\x1b[?1049l", true}, true)
		d.close()
		if took := time.Since(began); took > 2*stallTimeout {
			t.Errorf("another close took as long: %v", took)
		}
		close(g.open)
		d.close()
		synctest.Wait()
		got := g.got.String()
		if !strings.Contains(got, pasteOff) || !strings.HasSuffix(strings.TrimSuffix(got, wrapOn), "\x1b[?1049l") || strings.Contains(got, "y") {
			t.Errorf("%.100q … %q", got, got[max(0, len(got)-100):])
		}
	})
}

// A line that changes while the terminal is slow is drawn once, as it is then.
func TestDisplayCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, d := newGate()
		for i := range 5000 {
			d.update(func(l *inputState) {
				l.shown, l.prompt, l.text, l.cursor = true, "> ", []rune(strings.Repeat("x", i)), i
			})
		}
		synctest.Wait()
		close(g.open)
		d.flush()
		if n := g.got.Len(); n > 3*80*24 {
			t.Errorf("%d bytes were written", n)
		}
	})
}

// What is printed stands above the line, whole, in whatever width.
func TestDisplayPrintsAbove(t *testing.T) {
	var all strings.Builder
	columns := 0
	d := newDisplay(&all, func() (int, int) { return columns, 5 }, 2, true)
	for columns = range 100 {
		d.update(func(l *inputState) { l.shown, l.prompt, l.text, l.cursor = true, "> ", []rune("typed"), 2 })
		d.write(item{"above", false}, false)
		d.flush()
	}
	if n := strings.Count(all.String(), "above"); n < 90 {
		t.Errorf("%d times", n)
	}
	d.out = io.Discard
	d.close()
}

// Whoever closes an editor last, and may end the process right behind it, finds
// all written that gives the terminal back, and nothing is switched on behind that.
func TestClosedByTwo(t *testing.T) {
	for range 500 {
		var all strings.Builder
		e := &lineEditor{display: newDisplay(&all, func() (int, int) { return 80, 24 }, 2, true), stdin: readline.NewCancelableStdin(strings.NewReader("")), done: make(chan struct{}), history: new(history), started: true}
		e.buffer.editor = e
		e.Write([]byte(pasteOn))
		e.display.flush()
		var others sync.WaitGroup
		others.Go(e.Close)
		others.Go(func() { e.Write([]byte(pasteOn)) }) // as after Ctrl-Z and SIGCONT
		<-e.done
		e.Close()
		e.display.mu.Lock()
		if got := all.String(); e.display.written < e.display.queued || strings.LastIndex(got, pasteOff) < strings.LastIndex(got, pasteOn) {
			t.Fatalf("%q, and something is to be written yet", got)
		}
		e.display.mu.Unlock()
		others.Wait()
		e.display.flush()
		if got := all.String(); strings.LastIndex(got, pasteOff) < strings.LastIndex(got, pasteOn) {
			t.Fatalf("%q", got)
		}
	}
}

// Close leaves the other screen, also if whoever draws there does not come to its
// end; and nobody goes there behind Close.
func TestOtherScreenIsLeft(t *testing.T) {
	var all strings.Builder
	d := newDisplay(&all, func() (int, int) { return 80, 24 }, 2, true)
	d.write(item{alternateScreen + wrapOff, true}, false)
	d.close(item{"bye", false})
	if got := all.String(); !strings.Contains(got, wrapOn+mainScreen) || strings.Index(got, mainScreen) > strings.Index(got, "bye") {
		t.Errorf("%q", got)
	}
	d.write(item{alternateScreen + wrapOff, true}, false)
	d.write(item{wrapOn + mainScreen, true}, false)
	d.close()
	if got := all.String(); strings.Count(got, alternateScreen) != 1 || strings.LastIndex(got, mainScreen) < strings.LastIndex(got, alternateScreen) {
		t.Errorf("%q", got)
	}
}
