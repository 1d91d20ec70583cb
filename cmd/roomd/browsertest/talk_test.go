package browsertest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// join is somebody in a room, with a nick.
func (s *server) join(t testing.TB, room, nick string) *person {
	t.Helper()
	p := s.visit(t, "/r/"+room)
	p.named(nick)
	return p
}

// named answers the question for a name.
func (p *person) named(nick string) {
	p.t.Helper()
	p.find("textbox", "What should people call you?").focus()
	p.write(nick)
	p.press("Enter")
	p.find("list", "Members")
	await(p.t, func() string {
		if strings.Contains(p.find("list", "Members").text(), nick) {
			return ""
		}
		return nick + " among the members"
	})
}

// found are the parts of the log that match, in their order on the screen. The log has the lines
// that the page keeps, not only those in view.
func (p *person) found(pattern string) []string {
	p.t.Helper()
	return regexp.MustCompile(pattern).FindAllString(p.find("log", "Messages").text(), -1)
}

// Two browsers and nc in one room see the same lines in the same order.
func TestTwoBrowsersAndNetcat(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("order", "")
	const each = 20
	ann, bob, nc := s.join(t, "order", "ann"), s.join(t, "order", "bob"), s.enter(port, "nc")
	var all sync.WaitGroup
	all.Go(func() {
		for i := range each {
			fmt.Fprintf(nc, "said-nc-%d\n", i)
		}
	})
	for i := range each {
		ann.say(fmt.Sprint("said-ann-", i))
		bob.say(fmt.Sprint("said-bob-", i))
	}
	all.Wait()
	var want []string
	for len(want) < 3*each {
		l := nc.until("said-")
		want = append(want, l[strings.Index(l, "said-"):len(l)-1])
	}
	for name, p := range map[string]*person{"ann": ann, "bob": bob} {
		await(t, func() string {
			if got := p.found(`said-\w+-\d+`); !slices.Equal(got, want) {
				return fmt.Sprintf("%s sees %q, nc %q", name, got, want)
			}
			return ""
		})
	}
	// Somebody who comes later sees them too.
	eve := s.visit(t, "/r/order")
	await(t, func() string {
		if got := eve.found(`said-\w+-\d+`); !slices.Equal(got, want) {
			return fmt.Sprintf("the latecomer sees %q", got)
		}
		return ""
	})
	// Commands of the ports are there too.
	ann.say("/me waves-1")
	nc.until("* waves-1")
	bob.sees("waves-1")
	ann.say("/topic the-topic-1")
	bob.until(`document.body.innerText.includes("the-topic-1")`)
	ann.say("/msg bob only-you-1")
	bob.sees("only-you-1")
	ann.say("after-it-1")
	eve.sees("after-it-1")
	if len(eve.found(`only-you-1`)) > 0 {
		t.Error("a private line was seen by another member")
	}
}

// Text of other people stays text: it is no script, no markup, and turns nothing around.
func TestHostileText(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("hostile", "")
	bad := s.enter(port, "bad")
	ann := s.join(t, "hostile", "amy")
	texts := []string{
		`<img src=x onerror="document.title='owned'">`, `<script>document.title="owned"</script>`, `"><svg/onload=document.title='owned'>`,
		`javascript:document.title='owned'`, `http://x.example/"onmouseover="document.title='owned'`, `data:text/html,<script>1</script>`,
		"`<b>code</b>`", "`unclosed", "**bold** _x_ [a](javascript:1)", "{{7*7}} ${7*7}", "&lt;b&gt;", "</textarea></div>",
		"left \u202eright\u202c and \u2066isolate\u2069", "a\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308 marks", "العربية then english", "\U0001F468\u200d\U0001F469\u200d\U0001F467 family",
		strings.Repeat("W", 4000), strings.Repeat("wide words and ", 270), "https://" + strings.Repeat("long", 900) + ".example/", strings.Repeat("🙂", 1000),
	}
	for i, text := range texts {
		fmt.Fprintf(bad, "text-%d %s\n", i, text)
	}
	fmt.Fprintf(bad, "/topic <img src=x onerror=\"document.title='owned'\">\nlast-text\n")
	ann.sees("last-text")
	if got := ann.found(`text-\d+`); len(got) != len(texts) {
		t.Errorf("%d texts of %d: %q", len(got), len(texts), got)
	}
	log := ann.find("log", "Messages")
	for _, i := range []int{0, 1, 2, 3, 8, 9, 10, 11, 16} {
		if !strings.Contains(log.text(), texts[i]) {
			t.Errorf("not as it was said: %q", texts[i])
		}
	}
	if title := eval[string](ann, "document.title"); strings.Contains(title, "owned") {
		t.Error(title)
	}
	// What is a link leads to the web, and nowhere else.
	if bad := of[[]string](log, `function() { return [...this.querySelectorAll("a")].filter(a =>
		!(a.origin === location.origin && a.pathname.includes("/r/")) &&
		!((a.protocol === "http:" || a.protocol === "https:") && /noopener/.test(a.rel) && /noreferrer/.test(a.rel) && a.target === "_blank")).map(a => a.outerHTML.slice(0, 200)) }`); len(bad) > 0 {
		t.Errorf("links: %q", bad)
	}
	if n := of[int](log, `function() { return this.querySelectorAll("img, script, iframe, object, embed, style, link, form").length }`); n != 0 {
		t.Errorf("%d elements that a text has made", n)
	}
	// A line turns itself around, and not the next one.
	if n := of[int](log, `function() { return [...this.querySelectorAll("[data-seq]")].filter(e => e.innerText.includes("text-") && !e.querySelector("[dir=auto], bdi")).length }`); n != 0 {
		t.Errorf("%d texts that are not apart from what is around them", n)
	}
	// Nothing is wider than the log, on a phone too.
	for _, width := range []int64{1280, 390} {
		ann.size(width, 800)
		if over := of[int](log, `function() { return this.scrollWidth - this.clientWidth }`); over > 0 {
			t.Errorf("at %d pixels the log is %d pixels too wide: %q", width, over, of[[]string](log, `function() { const edge = this.getBoundingClientRect().left + this.clientWidth
				return [...this.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > edge).map(e => e.outerHTML.slice(0, 100)).slice(0, 3) }`))
		}
		if over := eval[int](ann, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("at %d pixels the page is %d pixels too wide", width, over)
		}
	}
	// What a person pastes arrives as it is; 4,096 bytes are a line.
	ann.size(1280, 800)
	long := strings.Repeat("é", 2040) + "end-of-it"
	ann.say(long)
	if got := bad.until("end-of-it"); !strings.Contains(got, long) {
		t.Errorf("%d bytes arrived of %d", len(got), len(long))
	}
}
