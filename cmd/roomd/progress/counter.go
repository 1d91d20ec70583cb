package progress

import (
	"fmt"
	"io"
	"time"

	"roomd/admin/english"
	"roomd/admin/term"
)

// Lines returns a function that shows how many lines are done, twice a second at most:
// "12 lines exported". It is nil if nobody looks at w.
func Lines(w io.Writer, done string) func(lines uint64) {
	if !term.IsTerminal(w) {
		return nil
	}
	shown := time.Now()
	return func(lines uint64) {
		if time.Since(shown) < time.Second/2 {
			return
		}
		shown = time.Now()
		fmt.Fprintf(w, "\r%s %s", english.Plural(lines, "line"), done)
	}
}

// Bytes returns a function that shows once a second how far something is that takes
// longer than that, "copying: 12 %", and one that takes it away again. The first is
// nil if nobody looks at w.
func Bytes(w io.Writer, doing string) (show func(done, total int64), clear func()) {
	if !term.IsTerminal(w) {
		return nil, func() {}
	}
	shown, told := time.Now(), false
	show = func(done, total int64) {
		if time.Since(shown) >= time.Second {
			shown, told = time.Now(), true
			fmt.Fprintf(w, "\r%s: %d %%", doing, Percent(done, total))
		}
	}
	return show, func() {
		if told {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}

// Percent is how far something is that is not over: 0 to 99.
func Percent(done, total int64) int64 { return min(99, 100*done/max(1, total)) }
