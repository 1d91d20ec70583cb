package browsertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
)

// fill says numbered lines in a room, by nc, and returns when all are kept.
func (s *server) fill(port, lines int) {
	s.t.Helper()
	c := s.enter(port, "filler")
	go func() {
		var b strings.Builder
		for i := 1; i <= lines; i++ {
			fmt.Fprintf(&b, "line-%05d of the history\n", i)
		}
		c.Write([]byte(b.String()))
	}()
	c.until(fmt.Sprintf("line-%05d ", lines))
}

// heap is what the page has of JavaScript's memory, in bytes, without garbage.
func (p *person) heap() float64 {
	p.t.Helper()
	call(p, heapprofiler.CollectGarbage, cdp.Empty{})
	return call(p, runtime.GetHeapUsage, cdp.Empty{}).UsedSize
}

// rows is the number of lines that the page has elements for, and the first and the last of them.
func (p *person) rows() (n, first, last int) {
	p.t.Helper()
	r := eval[[]int](p, `(() => { const r = [...document.querySelectorAll("[data-seq]")]; return [r.length, +(r[0]?.dataset.seq ?? 0), +(r.at(-1)?.dataset.seq ?? 0)] })()`)
	return r[0], r[1], r[2]
}

// inView reports whether the line with a number is to be seen.
func (p *person) inView(seq int) bool {
	p.t.Helper()
	return of[bool](p.find("log", "Messages"), `function(seq) {
		const e = this.querySelector('[data-seq="' + seq + '"]')?.getBoundingClientRect(), v = this.getBoundingClientRect()
		return !!e && e.bottom > v.top && e.top < v.bottom }`, seq)
}

// A room opens at its newest line, and stays there while the question for a name comes and goes, the
// window changes, and lines come. An own line is always in view.
func TestOpensAtTheNewest(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("newest", "")
	nc := s.enter(port, "nc")
	for i := range 40 {
		fmt.Fprintf(nc, "line-%d %s\n", i, strings.Repeat("long enough to be more than a line on the screen ", 4))
	}
	nc.until("line-39 ")
	p := s.visit(t, "/r/newest")
	newest := 40
	in := func(when string) {
		t.Helper()
		await(t, func() string {
			if p.inView(newest) {
				return ""
			}
			return fmt.Sprintf("line %d is in view %s", newest, when)
		})
	}
	in("at first")
	p.find("textbox", "What should people call you?")
	in("with the question for a name")
	p.named("abe")
	in("without it")
	p.size(1024, 600)
	in("in a smaller window")
	fmt.Fprintln(nc, "line-40")
	newest++
	in("when it comes")
	p.size(390, 844)
	in("on a phone")
	p.size(1280, 800)
	in("in a large window")
	p.find("log", "Messages").focus()
	p.press("Home")
	p.until(`document.querySelector("#log").scrollTop < 100`)
	fmt.Fprintln(nc, "line-41") // which does not take the reader away
	newest++
	p.sees("line-41")
	if p.inView(newest) {
		t.Error("the reader was taken away by a line")
	}
	p.say("own-1")
	newest++
	in("when it is the own one")
}

// Whoever reads back through 10,000 lines never loses the place: the lines in view stay where they
// are when older ones are put above them. The page holds a part of them, and no more of it at the end.
func TestScrollback(t *testing.T) {
	t.Parallel()
	const lines, mostRows, mostHeap = 10000, 1500, 8 << 20
	s := shared(t)
	port := s.create("scrollback", "")
	s.fill(port, lines)
	p := s.visit(t, "/r/scrollback")
	p.sees(fmt.Sprintf("line-%05d", lines))
	before, most := p.heap(), 0
	log := p.find("log", "Messages")
	loads := 0
	for {
		n, first, _ := p.rows()
		most = max(most, n)
		if first <= 1 {
			break
		}
		// To the top, as one does who drags the bar; then older lines come.
		r := of[struct {
			Seq             int
			Before, After   float64
			Older, NoneLeft bool
		}](log, `async function(oldest) {
			const top = e => e.getBoundingClientRect().top
			const frame = () => new Promise(requestAnimationFrame)
			this.scrollTop = 1; this.scrollTop = 0
			const edge = top(this)
			const rows = () => [...this.querySelectorAll("[data-seq]")]
			// Not the first one: the day and the name above it belong to it, and go.
			let seen = rows().filter(e => e.getBoundingClientRect().bottom > edge)[1], seq = +seen.dataset.seq, before = top(seen)
			for (const end = performance.now() + 10000; performance.now() < end;) {
				await frame()
				if (+rows()[0].dataset.seq < oldest) break
				seen = this.querySelector('[data-seq="' + seq + '"]')
				before = top(seen) // a bar above the lines may come and go
			}
			await frame(); await frame()
			seen = this.querySelector('[data-seq="' + seq + '"]')
			return {Seq: seq, Before: before, After: seen ? top(seen) : -1e6, Older: +rows()[0].dataset.seq < oldest}
		}`, first)
		if !r.Older {
			t.Fatalf("no lines before %d came", first)
		}
		if d := r.After - r.Before; d > 2 || d < -2 {
			t.Fatalf("line %d jumped by %.1f pixels when lines before %d came", r.Seq, d, first)
		}
		loads++
	}
	after := p.heap()
	t.Logf("%d times older lines came; at most %d lines in the page; heap %.1f MB, then %.1f MB", loads, most, before/1e6, after/1e6)
	if most > mostRows {
		t.Errorf("%d lines are in the page, more than %d", most, mostRows)
	}
	if after-before > mostHeap {
		t.Errorf("the heap has grown by %.1f MB", (after-before)/1e6)
	}
	if got := p.found(`line-00001 `); len(got) != 1 {
		t.Error("the first line is not there")
	}
	p.find("button", "Newest").click()
	p.until(fmt.Sprintf(`document.querySelector('[data-seq="%d"]')`, lines))
	await(t, func() string {
		if p.inView(lines) {
			return ""
		}
		return "the newest line is in view"
	})
	// It has no gap and nothing twice.
	seqs := eval[[]int](p, `[...document.querySelectorAll("[data-seq]")].map(e => +e.dataset.seq)`)
	for i, seq := range seqs {
		if seq != seqs[0]+i {
			t.Fatalf("line %d is behind line %d", seq, seqs[i-1])
		}
	}
}

// A link to a line shows it, with what was said around it; the port's number leads to the room.
func TestLinkToLine(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("links", "")
	s.fill(port, 3000)
	p := s.visit(t, "/r/links#1500")
	await(t, func() string {
		if n, _, _ := p.rows(); n > 0 && p.inView(1500) && p.inView(1499) && p.inView(1501) {
			return ""
		}
		return "line 1500 and its neighbours are in view"
	})
	// A line has its own link.
	link := eval[string](p, `document.querySelector('[data-seq="1500"] a[href*="#1500"]')?.href ?? ""`)
	if link != s.url("/r/links#1500") {
		t.Errorf("the link of the line is %q", link)
	}
	// Another line, in the same page, and back.
	p.open(s.url("/r/links#40"))
	await(t, func() string {
		if p.inView(40) {
			return ""
		}
		return "line 40 is in view"
	})
	// Lines that are not there, or no longer, and what is no number.
	for _, bad := range []string{"#99999999", "#0", "#-1", "#x", "#1e3", "#" + strings.Repeat("9", 40)} {
		p.open(s.url("/r/links" + bad))
		p.find("log", "Messages")
		await(t, func() string {
			if n, _, _ := p.rows(); n > 0 {
				return ""
			}
			return "lines for " + bad
		})
	}
	p.open(s.url(fmt.Sprint("/", port)))
	p.until(`location.pathname === "/r/links"`)
	p.sees("line-03000")
}

// A search finds lines of any age, and a hit opens where it was said.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("search", "")
	c := s.enter(port, "ann")
	fmt.Fprintln(c, "the needle-1 is here")
	s.fill(port, 3000)
	fmt.Fprintln(c, "another needle-2\n<b>needle-3</b>")
	c.until("needle-3")
	p := s.visit(t, "/r/search")
	p.sees("needle-3")
	p.press("Ctrl+Shift+f")
	box := p.find("searchbox", "Search")
	await(t, func() string {
		if box.focused() {
			return ""
		}
		return "the box for searching has the focus"
	})
	p.write("needle")
	p.press("Enter")
	hit := p.find("link", "*needle-1*")
	if got := len(p.matching("link", "*needle-*")); got != 3 {
		t.Errorf("%d hits", got)
	}
	hit.click()
	await(t, func() string {
		if p.inView(1) {
			return ""
		}
		return "the hit is in view"
	})
	p.until(`location.hash === "#1"`)
	// Nothing found, and a text that looks like a pattern.
	for _, text := range []string{"no such thing", "[a-", "%", `\`, "*"} {
		p.press("Ctrl+Shift+f")
		box = p.find("searchbox", "Search")
		box.focus()
		p.press("Ctrl+a")
		p.write(text)
		p.press("Enter")
		await(t, func() string {
			if n := len(p.matching("link", "*needle-*")); n == 0 && strings.TrimSpace(eval[string](p, `[...document.querySelectorAll("[role=status]")].map(e => e.innerText).join("")`)) != "" {
				return ""
			}
			return "that nothing is found for " + text
		})
	}
	p.press("Esc")
	await(t, func() string {
		if len(p.all("searchbox", "Search")) == 0 {
			return ""
		}
		return "the search is closed"
	})
}
