package browsertest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
)

// theme makes the page light or dark, by what the person has set for all pages.
func (p *person) theme(name string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// axe looks for what keeps people with disabilities from using the page.
func (p *person) axe(view string) {
	p.t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "..", "bin", "axe.min.js"))
	if err != nil {
		lacks(p.t, "axe-core is not there: make axe gets it")
	}
	if !eval[bool](p, `"axe" in globalThis`) {
		eval[bool](p, string(script)+"; true")
	}
	// A colour on its way to another one is neither.
	eval[bool](p, `Promise.race([new Promise(done => setTimeout(done, 1000)), Promise.all(document.getAnimations()
		.filter(a => a.effect.getTiming().iterations < 10).map(a => a.finished.catch(() => 0)))]).then(() => true)`)
	found := eval[string](p, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({
		id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 5).map(n => n.html.slice(0, 160) + " — " + (n.any[0] ?? n.all[0] ?? n.none[0])?.message) }))))`)
	var all []struct {
		ID, Impact string
		Nodes      []string
	}
	if err := json.Unmarshal([]byte(found), &all); err != nil {
		p.t.Fatal(err)
	}
	for _, v := range all {
		p.t.Errorf("%s: %s (%s):\n  %s", view, v.ID, v.Impact, strings.Join(v.Nodes, "\n  "))
	}
}

// No view has a violation of axe-core's rules, in either theme.
func TestAxe(t *testing.T) {
	t.Parallel()
	s := serve(t, "server.create = [\"lobby\", \"dev\"]")
	s.create("den", "secret")
	nc := s.enter(s.room, "bob")
	fmt.Fprintln(nc, "hello\nsee https://example.org/ and `make run`\n/me waves\nann: there you are\n/topic what this is about")
	nc.until("topic")
	for _, theme := range []string{"light", "dark"} {
		t.Run(theme, func(t *testing.T) {
			s := *s
			s.t = t
			p := s.visit(t, "/")
			p.theme(theme)
			p.find("link", "*lobby*")
			p.axe("start")
			p.open(s.url("/r/lobby"))
			p.sees("there you are")
			p.axe("room, without a name")
			p.named("ann-" + theme)
			fmt.Fprintf(nc, "ann-%s: a mention\n", theme)
			p.sees("a mention")
			p.axe("room")
			p.press("Ctrl+k")
			p.find("dialog", "")
			p.axe("switcher")
			p.press("Esc")
			p.find("log", "Messages").focus()
			p.press("?")
			p.find("dialog", "")
			p.axe("keys")
			p.press("Esc")
			p.find("button", "Create a room").click()
			p.find("dialog", "")
			p.axe("a new room")
			p.press("Esc")
			p.press("Ctrl+Shift+f")
			p.find("searchbox", "Search").focus()
			p.write("hello")
			p.press("Enter")
			p.find("link", "*hello*")
			p.axe("search")
			p.press("Esc")
			p.size(390, 844)
			p.axe("phone")
			p.size(1280, 800)
			p.open(s.url("/r/den"))
			p.find("textbox", "*assword*")
			p.axe("password")
			p.open(s.url("/r/lobby"))
			p.sees("there you are")
		})
	}
	// Last, as the server is gone then.
	p := s.join(t, "lobby", "eve")
	p.away(true)
	s.kill()
	p.find("button", "Try now")
	for _, theme := range []string{"light", "dark"} {
		p.theme(theme)
		p.axe("offline, " + theme)
	}
}
