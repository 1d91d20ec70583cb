package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A room with a password asks for it, says so when it is wrong, and remembers it no longer than the tab.
func TestPassword(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("secret-room", "open-sesame")
	nc := s.dial(port)
	fmt.Fprintln(nc, "/pass open-sesame\n/nick nc\nsecret-1")
	nc.until("secret-1")
	p := s.visit(t, "/r/secret-room")
	box := p.find("textbox", "*assword*")
	box.focus()
	p.write("wrong")
	p.press("Enter")
	p.find("alert", "")
	if eval[bool](p, `document.body.innerText.includes("secret-1")`) {
		t.Error("a line was seen without the password")
	}
	box = p.find("textbox", "*assword*")
	box.focus()
	p.press("Ctrl+a")
	p.write("open-sesame")
	p.press("Enter")
	p.sees("secret-1")
	p.say("secret-2")
	nc.until("secret-2")
	if kept := eval[string](p, `JSON.stringify(localStorage) + document.cookie + location.href`); strings.Contains(kept, "open-sesame") {
		t.Errorf("the password is kept: %s", kept)
	}
}

// What the operator does to members and rooms is told to those on the page.
func TestOperator(t *testing.T) {
	t.Parallel()
	s := serve(t, "server.create = [\"lobby\", \"side\"]\nrooms.trash = \"0s\"")
	p, nc := s.join(t, "lobby", "ann"), s.enter(s.room, "nc")
	s.admin("say", "lobby", "notice-1")
	p.sees("notice-1")
	s.admin("announce", "notice-2")
	p.sees("notice-2")
	s.admin("topic", "lobby", "topic-1")
	p.until(`document.body.innerText.includes("topic-1")`)

	s.admin("mute", "ann")
	p.say("unheard-1")
	p.until(`[...document.querySelectorAll("[role=alert], .failed, [data-state=failed]")].some(e => e.innerText.trim())`)
	s.admin("unmute", "ann", "--yes")
	p.say("heard-1")
	if l := nc.until("heard-1"); strings.Contains(l, "unheard") {
		t.Error(l)
	}
	s.admin("set", "lobby", "read-only", "on")
	p.say("unheard-2")
	s.admin("set", "lobby", "read-only", "off")
	p.say("heard-2")
	nc.until("heard-2")

	s.admin("rename", "lobby", "salon")
	p.until(`location.pathname === "/r/salon"`)
	p.find("link", "*salon*")
	p.say("heard-3")
	nc.until("heard-3")

	s.admin("kick", "ann", "--yes")
	nc.until("ann left")
	p.find("button", "Come back").click()
	nc.until("ann joined")
	p.say("heard-4")
	nc.until("heard-4")

	s.admin("delete", "side", "--yes")
	await(t, func() string {
		if len(p.matching("link", "*side*")) == 0 {
			return ""
		}
		return "the room is gone from the list"
	})
	s.admin("delete", "salon", "--yes")
	await(t, func() string {
		if len(p.matching("link", "*salon*")) == 0 {
			return ""
		}
		return "the own room is gone from the list"
	})
}

// Whoever is refused is told why: a full room, a nick that is taken, a ban.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, "server.create = [\"lobby\", \"full\"]")
	nc := s.enter(s.room, "nc")
	s.enter(s.room+1, "nc")
	s.admin("set", "full", "members", "1")
	p := s.visit(t, "/r/lobby")
	name := p.find("textbox", "What should people call you?")
	name.focus()
	p.write("nc")
	p.press("Enter")
	name = p.find("textbox", "*nc is taken*")
	name.focus()
	p.press("Ctrl+a")
	p.write("ann")
	p.press("Enter")
	nc.until("ann")
	p.say("/nick nc")
	p.until(`[...document.querySelectorAll("[role=status], [role=alert], #composer-note")].some(e => / nc /.test(e.innerText))`)
	p.find("textbox", "Message").focus() // where the line has stayed, to be mended
	p.press("Ctrl+a", "Backspace")
	p.say("still-1")
	if l := nc.until("still-1"); !strings.HasPrefix(l, "<ann>") {
		t.Error(l)
	}
	p.open(s.url("/r/full"))
	p.find("main", "").p.until(`document.querySelector("#blank, [role=alert]")?.innerText.trim()`)
	p.open(s.url("/r/no-such-room"))
	p.until(`document.querySelector("#blank, [role=alert]")?.innerText.trim()`)
	p.until(`document.querySelector("#input").disabled`)
	s.create("no-such-room", "") // by somebody else: the page says no more that it is not there
	p.until(`!document.querySelector("#input").disabled`)
	p.open(s.url("/r/lobby"))
	p.sees("still-1")
	p.away(true) // the page does not come back
	s.admin("ban", "127.0.0.1", "--yes")
	await(t, func() string {
		if eval[bool](p, `document.querySelector("#input")?.disabled ?? true`) {
			return ""
		}
		return "nothing can be sent any more"
	})
}

// A page of another site can do nothing with the server, and the server answers to no other name.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	s := shared(t)
	s.create("foreign", "")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>other</title><link rel="icon" href="data:,"><body>`)
	}))
	defer other.Close()
	for _, from := range []string{other.URL, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), strings.Replace(other.URL, "127.0.0.1", "evil.example", 1)} {
		p := visit(t, from+"/")
		p.away(true)
		for _, to := range []string{fmt.Sprintf("ws://localhost:%d/ws", s.port), fmt.Sprintf("ws://127.0.0.1:%d/ws", s.port)} {
			got := eval[string](p, fmt.Sprintf(`new Promise(done => { const w = new WebSocket(%q, "roomd.v1"); w.onopen = () => done("open"); w.onclose = () => done("closed") })`, to))
			if got != "closed" {
				t.Errorf("%s from %s: %s", to, from, got)
			}
		}
		for _, script := range []string{
			`fetch("%s").then(() => "read", () => "refused")`,
			`fetch("%s", {method: "POST", body: "DELETE foreign\n"}).then(() => "read", () => "refused")`,
			`new Promise(done => { const f = document.createElement("iframe"); f.src = "%s"; f.onload = () => { try { f.contentDocument.body.innerText; done("read") } catch { done("refused") } }; document.body.append(f) })`,
			`new Promise(done => { const f = document.createElement("script"); f.src = "%sapp.js"; f.onload = () => done("read"); f.onerror = () => done("refused"); document.body.append(f) })`,
			`new Promise(done => { const f = document.createElement("img"); f.src = "%sicon.svg"; f.onload = () => done("read"); f.onerror = () => done("refused"); document.body.append(f) })`,
		} {
			if got := eval[string](p, fmt.Sprintf(script, s.url("/"))); got != "refused" {
				t.Errorf("%s from %s: %s", script, from, got)
			}
		}
		p.expect("a request to", "issue: ", "log: ", "status 403", "failed: ")
	}
	if got := s.ask("LIST foreign"); got == "OK 0\n" {
		t.Errorf("the room is gone: %q", got)
	}
	// A name that leads here, and is not ours (DNS rebinding).
	p := visit(t, fmt.Sprintf("http://evil.example:%d/", s.port))
	p.expect("status 403", "log: network: Failed to load resource", "Cross-Origin-Opener-Policy header has been ignored")
	if n := eval[int](p, `document.scripts.length`); n > 0 {
		t.Error("the page came by a foreign name")
	}
}
