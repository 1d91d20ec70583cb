package browsertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A page that is loaded again has what it had not sent: each line arrives once, in its order.
func TestReload(t *testing.T) {
	t.Parallel()
	s := shared(t)
	s.create("reload", "")
	p := s.join(t, "reload", "rita")
	bob := s.speaker(t, "reload", "bob")
	want := numbered("typed", 300) // the server reads twenty in a second: some wait for long, on a busy machine too
	p.find("textbox", "Message").focus()
	p.write(strings.Join(want, "\n"))
	p.press("Enter")
	p.until(`document.querySelectorAll("#outbox li").length`)
	p.away(true)
	var left sync.WaitGroup
	left.Go(func() {
		if err := chromedp.Do(p.ctx, chromedp.Reload()); err != nil {
			t.Error(err)
		}
	})
	await(t, func() string { // the browser asks, as there are lines that are not sent
		_, err := chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		if err != nil {
			return err.Error()
		}
		return ""
	})
	left.Wait()
	if got := bob.hears("rita", len(want)); !slices.Equal(got, want) {
		t.Errorf("arrived: %q", got)
	}
	p.say("typed-end.")
	if got := bob.hears("rita", 1); !slices.Equal(got, []string{"typed-end."}) {
		t.Errorf("then arrived: %q", got)
	}
}

// Whoever comes back to a room where 10,000 lines were said sees the newest at once, and nothing runs
// through the log. What was missed is told from what was read.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	const lines = 10000
	s := shared(t)
	port := s.create("catchup", "")
	nc := s.enter(port, "nc")
	fmt.Fprintln(nc, "read-1")
	w := s.tunnel(t)
	p := visit(t, w.url("/r/catchup"))
	p.sees("read-1")
	p.away(true)
	w.cut(true)
	s.fill(port, lines)
	eval[bool](p, `(window.ends = [], window.look = () => {
		const seq = [...document.querySelectorAll("#rows [data-seq]")].at(-1)?.dataset.seq
		if (seq !== window.ends.at(-1)) window.ends.push(seq)
		requestAnimationFrame(window.look)
	}, window.look(), true)`)
	w.cut(false)
	p.sees(fmt.Sprintf("line-%05d ", lines))
	fmt.Fprintln(nc, "live-1")
	p.sees("live-1")
	if ends := eval[[]string](p, "window.ends"); len(ends) > 4 {
		t.Errorf("the log ran through %d ends: %q…", len(ends), ends[:4])
	}
	if n, first, last := p.rows(); n > 500 || last-first != n-1 || last != lines+2 {
		t.Errorf("%d rows, from %d to %d", n, first, last)
	}
}

// From the log, Enter goes to the last line in view, arrows go from line to line, and c copies the
// link of a line, or shows it where the browser does not let it.
func TestLinesByKeyboard(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("bykeys", "")
	nc := s.enter(port, "nc")
	fmt.Fprintln(nc, "first\nsecond\nthird")
	nc.until("third")
	p := s.visit(t, "/r/bykeys")
	p.sees("third")
	p.find("log", "Messages").focus()
	at := func(seq string) {
		t.Helper()
		p.until(fmt.Sprintf(`document.activeElement.dataset.seq === %q`, seq))
	}
	p.press("Enter")
	at("3")
	p.press("Up", "Up")
	at("1")
	p.press("Down")
	at("2")
	p.press("c")
	await(t, func() string {
		shown := eval[string](p, `document.querySelector("dialog[open] input")?.value ?? ""`)
		if shown == s.url("/r/bykeys#2") || strings.Contains(eval[string](p, `document.querySelector("#toast").innerText`), "Copied") {
			return ""
		}
		return "the link is copied or shown; it is " + shown
	})
}
