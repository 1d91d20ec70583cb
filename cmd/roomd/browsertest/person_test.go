package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// person is somebody at the page: a tab with cookies and a storage of its own.
type person struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	origin   string   // of the page: nothing else is asked
	outage   bool     // the server is away: requests may fail
	faults   []string // that fail the test
	requests []string // addresses that were asked
	frames   []string // the newest of the WebSocket
}

// visit opens a page for somebody new.
func (s *server) visit(t testing.TB, path string) *person {
	t.Helper()
	return visit(t, s.url(path))
}

func visit(t testing.TB, address string) *person {
	t.Helper()
	needs(t)
	p := &person{t: t}
	ctx, _ := chromedp.NewContext(tools.chrome, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.notice))
	p.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() && ctx.Err() == nil {
			p.mu.Lock()
			frames := strings.Join(p.frames, "\n")
			p.mu.Unlock()
			t.Logf("the page at the end: %s\nits last messages:\n%s", p.tree(), frames)
		}
		p.mu.Lock()
		for _, f := range p.faults {
			t.Error("in the browser: ", f)
		}
		p.mu.Unlock()
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	p.size(1280, 800)
	call(p, audits.Enable, cdp.Empty{})
	call(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}) // all of them at once
	p.open(address)
	return p
}

// size makes the page this large. Up to 500 pixels it is a phone.
func (p *person) size(width, height int64) {
	p.t.Helper()
	if width <= 500 {
		p.do(chromedp.EmulateViewport(width, height, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)))
		return
	}
	p.do(chromedp.EmulateViewport(width, height))
}

// open goes to an address.
func (p *person) open(address string) {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.origin = u.Host
	p.mu.Unlock()
	p.do(chromedp.Navigate(address))
}

// notice gathers what is wrong. It runs in the loop of the tab.
func (p *person) notice(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fault := func(format string, args ...any) { p.faults = append(p.faults, fmt.Sprintf(format, args...)) }
	request := func(address string) {
		p.requests = append(p.requests, address)
		if u, err := url.Parse(address); err != nil || u.Host != p.origin && u.Scheme != "data" && u.Scheme != "blob" {
			fault("a request to %s", address)
		}
	}
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			var words []string
			for _, a := range e.Args {
				words = append(words, string(a.Value)+a.Description)
			}
			fault("console: %s", strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		fault("exception: %s", text)
	case *log.EventEntryAdded:
		failed := e.Entry.Source == "network" || strings.HasPrefix(e.Entry.Text, "WebSocket connection to ")
		if (e.Entry.Level == "error" || e.Entry.Source == "security") && !(failed && p.outage) {
			fault("log: %s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		if code := string(e.Issue.Code); code != "HeavyAdIssue" && code != "PerformanceIssue" {
			details, _ := json.Marshal(e.Issue.Details)
			fault("issue: %s %s", code, details)
		}
	case *network.EventRequestWillBeSent:
		request(e.Request.URL)
	case *network.EventWebSocketCreated:
		request(e.URL)
	case *network.EventWebSocketFrameSent:
		p.frame("> ", e.Response.PayloadData)
	case *network.EventWebSocketFrameReceived:
		p.frame("< ", e.Response.PayloadData)
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 && !p.outage {
			fault("status %d of %s", e.Response.Status, e.Response.URL)
		}
	case *network.EventLoadingFailed:
		if !p.outage && !e.Canceled {
			fault("failed: %s %s", e.Type, e.ErrorText)
		}
	}
}

// frame keeps a message, for a test that fails.
func (p *person) frame(way string, payload []byte) {
	const most = 40
	text := string(payload)
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	if p.frames = append(p.frames, way+strconv.Quote(text)); len(p.frames) > most {
		p.frames = p.frames[1:]
	}
}

// away says that the server is away from here on, or that it is back.
func (p *person) away(is bool) {
	p.mu.Lock()
	p.outage = is
	p.mu.Unlock()
}

// expect takes the faults away that hold one of the texts: the test has brought them about.
func (p *person) expect(texts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []string
	for _, f := range p.faults {
		known := false
		for _, text := range texts {
			known = known || strings.Contains(f, text)
		}
		if !known {
			rest = append(rest, f)
		}
	}
	p.faults = rest
}

func (p *person) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

func call[P, R any](p *person, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	r, err := chromedp.Call(p.ctx, command, params)
	if err != nil {
		p.t.Fatalf("%T: %v", params, err)
	}
	return r
}

// eval is the value of an expression in the page.
func eval[T any](p *person, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true, in this page or in the one that comes instead.
func (p *person) until(expression string) {
	p.t.Helper()
	await(p.t, func() string {
		ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if ok {
			return ""
		}
		return fmt.Sprint(expression, " ", err)
	})
}

// node is an element of the page.
type node struct {
	p    *person
	id   runtime.RemoteObjectID
	name string // for a screen reader
}

// all are the elements that have a role and a name for a screen reader. "" is any name.
func (p *person) all(role, name string) (found []node) {
	p.t.Helper()
	document, err := chromedp.Call(p.ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: "document"})
	if err != nil || document.Result == nil {
		return nil // the page is being left
	}
	q := accessibility.QueryAXTreeParams{ObjectID: document.Result.ObjectID, Role: role, AccessibleName: name}
	r, err := chromedp.Call(p.ctx, accessibility.QueryAXTree, q)
	if err != nil {
		return nil
	}
	for _, n := range r.Nodes {
		if n.Ignored {
			continue
		}
		o, err := chromedp.Call(p.ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: n.BackendDOMNodeID})
		if err == nil {
			var name string
			if n.Name != nil {
				json.Unmarshal(n.Name.Value, &name)
			}
			found = append(found, node{p, o.Object.ObjectID, name})
		}
	}
	return found
}

// find waits for an element with a role and a name, or one in whose name is what stands between two
// stars.
func (p *person) find(role, name string) (n node) {
	p.t.Helper()
	await(p.t, func() string {
		all := []node(nil)
		if strings.HasPrefix(name, "*") {
			all = p.matching(role, name)
		} else {
			all = p.all(role, name)
		}
		if len(all) > 0 {
			n = all[0]
			return ""
		}
		return fmt.Sprintf("%s %q", role, name)
	})
	return n
}

// of is the value of a function of the element.
func of[T any](n node, function string, args ...any) T {
	n.p.t.Helper()
	v, err := chromedp.Run(n.p.ctx, chromedp.CallFunctionOn[T](function, func(c *runtime.CallFunctionOnParams) { c.ObjectID, c.AwaitPromise = n.id, new(true) }, args...))
	if err != nil {
		n.p.t.Fatalf("%s: %v", function, err)
	}
	return v
}

func (n node) text() string {
	n.p.t.Helper()
	return of[string](n, "function() { return this.innerText }")
}

func (n node) focus() {
	n.p.t.Helper()
	of[bool](n, "function() { this.focus(); return true }")
}

func (n node) focused() bool {
	n.p.t.Helper()
	return of[bool](n, "function() { return document.activeElement === this }")
}

// click moves the pointer there and presses it.
func (n node) click() {
	n.p.t.Helper()
	call(n.p, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{ObjectID: n.id})
	r := call(n.p, dom.GetContentQuads, dom.GetContentQuadsParams{ObjectID: n.id})
	if len(r.Quads) == 0 {
		n.p.t.Fatal("it is not to be seen, and cannot be clicked")
	}
	q := r.Quads[0]
	n.p.do(chromedp.MouseClickXY((q[0]+q[4])/2, (q[1]+q[5])/2))
}

// write types text where the focus is.
func (p *person) write(text string) {
	p.t.Helper()
	call(p, input.InsertText, input.InsertTextParams{Text: text})
}

// keys are those with a name of more than a letter.
var keys = map[string]string{
	"Enter": kb.Enter, "Esc": kb.Escape, "Tab": kb.Tab, "Up": kb.ArrowUp, "Down": kb.ArrowDown, "Home": kb.Home, "End": kb.End,
	"PageUp": kb.PageUp, "PageDown": kb.PageDown, "Backspace": kb.Backspace, "Space": " ",
}

// press presses keys one after the other, as "Enter" or "Ctrl+Shift+f". As with a keyboard, a key
// writes nothing if the page has taken it.
func (p *person) press(all ...string) {
	p.t.Helper()
	for _, name := range all {
		words := strings.Split(name, "+")
		key := words[len(words)-1]
		if k, ok := keys[key]; ok {
			key = k
		}
		var with chromedp.Modifier
		for _, w := range words[:len(words)-1] {
			with |= map[string]chromedp.Modifier{"Ctrl": chromedp.ModifierCtrl, "Alt": chromedp.ModifierAlt, "Shift": chromedp.ModifierShift}[w]
		}
		for _, r := range key {
			events := kb.Encode(r)
			for _, e := range events {
				e.Modifiers |= int64(with)
				switch {
				case e.Type == kb.KeyChar:
					continue
				case e.Type != kb.KeyUp && len(events) > 2 && with&^chromedp.ModifierShift == 0:
					e.Type, e.Text = "keyDown", events[1].Text
				}
				call(p, input.DispatchKeyEvent, *e)
			}
		}
	}
}

// say sends a line by the textbox.
func (p *person) say(text string) {
	p.t.Helper()
	p.find("textbox", "Message").focus()
	p.write(text)
	p.press("Enter")
}

// sees waits until the log shows a text.
func (p *person) sees(text string) {
	p.t.Helper()
	box := p.find("log", "Messages")
	await(p.t, func() string {
		if strings.Contains(box.text(), text) {
			return ""
		}
		return fmt.Sprintf("the log shows %q; it has %q", text, box.text())
	})
}

// tree is the page as a screen reader has it.
func (p *person) tree() string {
	r, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, n := range r.Nodes {
		if n.Ignored || n.Role == nil || n.Name == nil || len(n.Name.Value) <= 2 || string(n.Role.Value) == `"InlineTextBox"` {
			continue
		}
		fmt.Fprintf(&b, "\n  %s %s", n.Role.Value, n.Name.Value)
		if b.Len() > 8000 {
			b.WriteString("\n  …")
			break
		}
	}
	return b.String()
}

// matching are the elements with a role in whose name is what stands between two stars.
func (p *person) matching(role, pattern string) (found []node) {
	p.t.Helper()
	for _, n := range p.all(role, "") {
		if strings.Contains(n.name, strings.Trim(pattern, "*")) {
			found = append(found, n)
		}
	}
	return found
}
