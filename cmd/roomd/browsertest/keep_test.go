package browsertest

import (
	"fmt"
	"testing"
)

// What the browser keeps may be anything: of an older version, cut off, or somebody's attempt. The page works
// with it, and can be talked from.
func TestKeptIsGarbage(t *testing.T) {
	t.Parallel()
	s := serve(t, `server.create = ["lobby"]`)
	nc := s.enter(s.room, "nc")
	for i, garbage := range []string{`{`, `null`, `7`, `"x y"`, `[7, null, {}]`, `{"name": 7, "items": 7, "length": 1}`, `[{"name": "lobby"}]`, `[{"name": "lobby", "items": [7]}]`} {
		p := s.visit(t, "/9")
		eval[int](p, fmt.Sprintf(`(() => {
			for (const key of ["nick", "keys", "guest", "theme", "bell", "seen", "opened", "muted"]) localStorage.setItem("roomd:/:" + key, %[1]q);
			for (const key of ["token", "drafts", "outbox"]) sessionStorage.setItem("roomd:/:" + key, %[1]q);
			return 0;
		})()`, garbage))
		p.mu.Lock()
		p.faults = nil // there is no room at port 9
		p.mu.Unlock()
		p.open(s.url("/r/lobby"))
		if garbage == `"x y"` { // no nick
			p.find("button", "Stay a guest").click()
		}
		text := fmt.Sprintf("garbage-%d", i)
		p.say(text)
		nc.until(text)
		p.sees(text)
	}
}

// Names of rooms may be words of the language that the page is written in.
func TestRoomsNamedLikeProperties(t *testing.T) {
	t.Parallel()
	s := serve(t, `server.create = ["lobby"]`)
	for _, name := range []string{"constructor", "__proto__", "toString", "ws", "app.js", "r", "9000", "a.b-c"} {
		port := s.create(name, "")
		nc := s.enter(port, "nc")
		p := s.visit(t, "/r/lobby")
		p.open(s.url("/r/" + name))
		p.find("textbox", "Message")
		p.until(`document.querySelector("#input").disabled === false`)
		if text := eval[string](p, `document.querySelector("#input").value`); text != "" {
			t.Errorf("%s: there is a draft %q", name, text)
		}
		p.say("in " + name)
		nc.until("in " + name)
		p.sees("in " + name)
	}
}

// A page that has the storage of another one, which does not answer in time, takes the other one's place. The
// other one may come back, and then both stay.
func TestTokenOfTwoPages(t *testing.T) {
	t.Parallel()
	s := serve(t, `server.create = ["lobby"]`)
	nc := s.enter(s.room, "nc")
	p := s.visit(t, "/r/lobby")
	nc.until("joined")
	token := eval[string](p, `sessionStorage.getItem("roomd:/:token")`)
	two := s.visit(t, "/icon.svg")
	eval[int](two, fmt.Sprintf(`(sessionStorage.setItem("roomd:/:token", %q), 0)`, token))
	two.open(s.url("/r/lobby"))
	again := p.find("button", "Try again")
	eval[int](p, `(dispatchEvent(new Event("online")), 0)`) // no reason to come back by itself
	two.say("zero")
	nc.until("> zero")
	again.click()
	p.say("one")
	nc.until("> one")
	two.sees("one")
	two.say("two")
	nc.until("> two")
	p.sees("two")
}
