package browsertest

import (
	"fmt"
	"strings"
	"testing"
)

// onPage is what the navigation says of a room.
func (p *person) onPage(room string) string {
	p.t.Helper()
	for _, n := range p.matching("link", "*"+room+"*") {
		if of[bool](n, `function() { return !!this.closest('nav[aria-label="Rooms"]') }`) {
			return n.name
		}
	}
	return ""
}

// tells waits until the navigation says something of a room.
func (p *person) tells(room, text string, is bool) {
	p.t.Helper()
	await(p.t, func() string {
		if got := p.onPage(room); got != "" && strings.Contains(got, text) == is {
			return ""
		}
		return fmt.Sprintf("the navigation has %q with %q (%v)", p.onPage(room), text, is)
	})
}

// Lines in a room that is not in view are counted, mentions of the own name apart; what is new is
// marked when the room is opened, and counted no more.
func TestUnread(t *testing.T) {
	t.Parallel()
	s := shared(t)
	one, two := s.create("unread-one", ""), s.create("unread-two", "")
	s.fill(two, 3)
	p := s.join(t, "unread-two", "ada")
	p.sees("line-00003")
	p.open(s.url("/r/unread-one"))
	s.fill(one, 1)
	p.sees("line-00001")
	bob := s.enter(two, "bob")
	for i := range 7 {
		fmt.Fprintf(bob, "unread-%d\n", i)
	}
	p.tells("unread-two", "7", true)
	fmt.Fprintln(bob, "ada: mention-1")
	p.tells("unread-two", "8", true)
	p.tells("unread-two", "mention", true)
	p.find("link", "*unread-two*").click()
	p.sees("mention-1")
	p.until(`location.pathname === "/r/unread-two"`)
	// The divider stands before the first new line.
	if first := eval[string](p, `document.querySelector("[data-new]")?.innerText ?? ""`); !strings.Contains(first, "unread-0") {
		t.Errorf("marked as new: %q", first)
	}
	p.tells("unread-two", "8", false)
	// Nothing is forgotten by loading the page again.
	p.open(s.url("/r/unread-one"))
	fmt.Fprintln(bob, "unread-8\nunread-9")
	p.tells("unread-two", "2", true)
	p.do(reload)
	p.tells("unread-two", "2", true)
}

// A guest that has taken a name bears it in the rooms where it was a guest, too.
func TestNameInEarlierRooms(t *testing.T) {
	t.Parallel()
	s := shared(t)
	s.enter(s.create("names-one", ""), "first")
	s.create("names-two", "")
	p := s.visit(t, "/r/names-one")
	p.named("zoe")
	p.find("link", "*names-two*").click()
	p.until(`location.pathname === "/r/names-two" && !document.querySelector("[data-nick=first]")`)
	p.find("link", "*names-one*").click()
	p.find("button", "*first*") // the members are shown when the room is
	if len(p.matching("button", "*zoe , you*")) == 0 || len(p.matching("button", "*zoe , change*")) == 0 {
		t.Error("the page does not know its own name")
	}
}

// Names of members, rooms and commands are completed.
func TestCompletion(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("complete", "")
	nc := s.enter(port, "barbara")
	p := s.join(t, "complete", "ali")
	p.find("textbox", "Message").focus()
	p.write("barb")
	p.press("Tab")
	p.until(`document.activeElement.value.startsWith("barbara")`)
	p.write("complete-1")
	p.press("Enter")
	if l := nc.until("complete-1"); !strings.HasPrefix(l, "<ali> barbara") {
		t.Error(l)
	}
	p.write("ask @barb")
	p.press("Tab")
	p.until(`document.activeElement.value.includes("barbara")`)
	p.press("Ctrl+a", "Backspace")
	p.write("/top")
	p.press("Tab")
	p.until(`document.activeElement.value.startsWith("/topic")`)
}

// Everything goes with the keyboard alone, from the first load on.
func TestKeyboardOnly(t *testing.T) {
	t.Parallel()
	s := shared(t)
	s.create("keys-one", "")
	port := s.create("keys-two", "")
	nc := s.enter(port, "nc")
	p := s.visit(t, "/")
	// By Tab to a room, as one does who knows no other key.
	p.find("link", "*keys-one*")
	for i := 0; ; i++ {
		if eval[bool](p, `document.activeElement.matches("a[href$='keys-one']")`) {
			break
		}
		if i > 200 {
			t.Fatal("the room is not reached by Tab")
		}
		p.press("Tab")
		// Where the focus is can be seen.
		if !eval[bool](p, `(() => { const e = document.activeElement; if (e === document.body) return true
			const s = getComputedStyle(e), w = getComputedStyle(e.parentElement)
			return s.outlineStyle !== "none" || s.boxShadow !== "none" || w.outlineStyle !== "none" || w.boxShadow !== "none" })()`) {
			t.Errorf("the focus cannot be seen on %s", eval[string](p, `document.activeElement.outerHTML.slice(0, 200)`))
		}
	}
	p.press("Enter")
	p.until(`location.pathname === "/r/keys-one"`)
	p.named("ava")
	// Another room, by the switcher.
	p.press("Ctrl+k")
	p.find("dialog", "")
	p.write("keys-two")
	p.press("Enter")
	p.until(`location.pathname === "/r/keys-two"`)
	nc.until("ava joined")
	p.until(`document.activeElement.getAttribute("aria-label") === "Message"`)
	p.write("typed-1")
	p.press("Enter")
	nc.until("typed-1")
	p.write("typed-2")
	p.press("Shift+Enter")
	p.press("Backspace", "Enter")
	nc.until("typed-2")
	// Rooms beside each other.
	p.press("Alt+Up")
	p.until(`location.pathname !== "/r/keys-two"`)
	p.press("Alt+Down")
	p.until(`location.pathname === "/r/keys-two"`)
	// A search, and back.
	p.press("Ctrl+Shift+f")
	p.find("searchbox", "Search")
	p.write("typed-1")
	p.press("Enter")
	hit := p.find("link", "*typed-1*")
	hit.focus()
	p.press("Enter")
	p.press("Esc", "Esc")
	// What the keys are.
	p.find("textbox", "Message").focus()
	p.press("Esc")
	p.find("log", "Messages").focus()
	p.press("?")
	p.find("dialog", "")
	p.press("Esc")
	await(t, func() string {
		if len(p.all("dialog", "")) == 0 {
			return ""
		}
		return "Esc closes the dialog"
	})
	// Out of the room.
	p.find("textbox", "Message").focus()
	p.write("/quit")
	p.press("Enter")
	nc.until("ava left")
}

// A screen reader is told of new lines, and of those alone.
func TestAnnouncements(t *testing.T) {
	t.Parallel()
	s := shared(t)
	port := s.create("aloud", "")
	s.fill(port, 50)
	nc := s.enter(port, "nc")
	p := s.visit(t, "/r/aloud")
	p.sees("line-00050")
	p.named("art")
	eval[bool](p, `(() => { globalThis.told = []; new MutationObserver(all => { for (const m of all) for (const n of m.addedNodes) told.push(n.textContent) })
		.observe(document.querySelector("[aria-live=polite]:not([role=log])"), {childList: true, subtree: true, characterData: true}); return true })()`)
	fmt.Fprintln(nc, "aloud-1")
	p.until(`told.join(" ").includes("aloud-1")`)
	if told := eval[string](p, `told.join(" ")`); strings.Contains(told, "line-") {
		t.Errorf("told: %q", told)
	}
	if live := eval[int](p, `[...document.querySelectorAll("[aria-live]")].filter(e => e.getAttribute("aria-live") !== "off" && e.innerText.includes("line-")).length`); live > 0 {
		t.Errorf("%d live regions have old lines", live)
	}
}
