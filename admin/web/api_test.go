package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/admin/web"
	"roomd/netsvc/netsvctest"
)

// A room is deleted after the question, and restored. The audit has who did it, and that the page
// was the way.
func TestDeleteAndRestore(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	b.ok("create lobby --topic kept")
	member := netsvctest.Join(t, o.Room("lobby").Port)
	ask := b.run("delete lobby")
	if ask.Verdict != "ASK" || !strings.Contains(ask.Text, "lobby: 1 member") || len(o.Service.List()) != 1 {
		t.Fatalf("%+v", ask)
	}
	if a := b.run("delete lobby", "token", "00000000"); a.Verdict != "ERR" || a.Code != "changed" {
		t.Errorf("%+v", a)
	}
	b.ok("delete lobby", "token", ask.Code)
	member.Until("* lobby: chat room being deleted")
	if len(o.Service.List()) != 0 {
		t.Error(o.Service.List())
	}
	b.ok("restore lobby")
	if o.Room("lobby").Topic != "kept" {
		t.Error(o.Service.List())
	}
	if a := b.run("set lobby password"); a.Verdict != "SECRET" {
		t.Errorf("%+v", a)
	}
	b.ok("set lobby password", "secret", "hunter2")
	var audit []struct{ Door, Line, User string }
	a := b.ok("audit --json")
	if err := json.Unmarshal([]byte(strings.Join(a.Lines, "\n")), &audit); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"create", "delete", "restore", "set"} {
		found := false
		for _, e := range audit {
			found = found || strings.HasPrefix(e.Line, name+" ") && e.Door == "admin web" && e.User != ""
			if strings.Contains(e.Line, "hunter2") {
				t.Error(e)
			}
		}
		if !found {
			t.Errorf("the audit lacks %s: %+v", name, audit)
		}
	}
}

// Commands that cannot be run say so by their codes.
func TestRefusedCommands(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	for line, code := range map[string]string{
		"": "usage", "nothing": "usage", "delete": "usage", "delete none": "no-room", "quit": "usage", "watch log": "stream", "backup -": "usage",
	} {
		if a := b.run(line); a.Verdict != "ERR" || a.Code != code {
			t.Errorf("%s: %+v", line, a)
		}
	}
	for _, line := range []string{"rooms", "create x", "nothing", ""} {
		if res, _ := b.get(b.path+"watch?line="+url.QueryEscape(line), nil); res.StatusCode != http.StatusBadRequest {
			t.Error(line, res.Status)
		}
	}
	if len(o.Service.List()) != 0 {
		t.Error(o.Service.List())
	}
}

// With --read-only the process refuses every command that changes something, and runs the others.
func TestReadOnly(t *testing.T) {
	o := startServer(t)
	o.open(web.Options{ReadOnly: true})
	o.Create("lobby")
	b := o.enter()
	var table []struct {
		Name, Example            string
		Changes, Stream, Console bool
	}
	if err := json.Unmarshal([]byte(b.ok("help --json").Lines[0]), &table); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, c := range table {
		if !c.Changes {
			continue
		}
		for _, line := range []string{c.Example, c.Example + " --yes", c.Example + " --dry-run", "--json " + c.Example} {
			if a := b.run(line); a.Verdict != "ERR" || a.Code != "read-only" && a.Code != "usage" {
				t.Errorf("%s: %+v", line, a)
			} else if a.Code == "read-only" {
				refused++
			}
		}
	}
	if refused < 40 {
		t.Error(refused)
	}
	for _, line := range []string{"rooms", "topic lobby", "set lobby", "loglevel", "doctor", "audit", "complete 'room lo'"} {
		b.ok(line)
	}
	if m := b.follow("live").until("hello", func(m message) bool { return m.Kind == "hello" }); !m.Hello.ReadOnly || m.Hello.User == "" {
		t.Errorf("%+v", m)
	}
	if a, err := o.Store.Rooms(); err != nil || len(a) != 1 {
		t.Error(a, err)
	}
}

// repeat runs a command until seen returns: nobody says when a stream has begun to follow events.
func (b *browser) repeat(line string, seen func()) {
	end := make(chan struct{})
	var commands sync.WaitGroup
	defer commands.Wait()
	defer close(end)
	commands.Go(func() {
		for {
			b.run(line)
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	seen()
}

// A stream runs until the browser ends it.
func TestWatch(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	b.ok("create lobby")
	s := b.follow("watch?line=" + url.QueryEscape("watch lobby --json"))
	b.repeat("say lobby ready", func() {
		s.until("the notice", func(m message) bool { return strings.Contains(m.Line, "ready") })
	})
	c := netsvctest.Join(t, o.Room("lobby").Port)
	s.until("the join", func(m message) bool { return strings.Contains(m.Line, `"type":"join"`) })
	c.Send("<img src=x onerror=alert(1)>")
	m := s.until("the line", func(m message) bool { return strings.Contains(m.Line, "onerror") })
	var v struct{ Text string }
	if err := json.Unmarshal([]byte(m.Line), &v); err != nil || v.Text != "<img src=x onerror=alert(1)>" {
		t.Error(m.Line, err)
	}
	s = b.follow("watch?line=" + url.QueryEscape("watch nowhere"))
	s.until("the refusal", func(m message) bool { return m.Verdict == "ERR" })
}

// The charts move, and a browser that comes back gets what was before. Events and the log come as
// they happen.
func TestLive(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	s := b.follow("live")
	b.ok("create lobby")
	b.repeat("loglevel info", func() {
		s.until("the event", func(m message) bool {
			return m.Kind == "events" && len(m.Values) == 1 && m.Values[0]["type"] == "command"
		})
	})
	c := netsvctest.Join(t, o.Room("lobby").Port)
	c.Send("one", "two", "three")
	s.until("lines in a sample", func(m message) bool {
		return m.Kind == "samples" && len(m.Samples) == 1 && m.Samples[0]["lines"].(float64) > 0 && m.Samples[0]["members"] == 1.0 && m.Samples[0]["commit"].(float64) > 0
	})
	s.stop()
	s = b.follow("live")
	m := s.until("the samples", func(m message) bool { return m.Kind == "samples" })
	if len(m.Samples) == 0 {
		t.Error("nothing was kept")
	}
	s.until("the kept event", func(m message) bool {
		return m.Kind == "events" && len(m.Values) > 0
	})
	s.until("the log", func(m message) bool { return m.Kind == "log" && len(m.Values) > 0 })
}

// A server that goes away and comes back is waited for. If it does not come back, the page ends and
// says so.
func TestServerGoes(t *testing.T) {
	o := start(t, web.Options{Wait: 3 * time.Second})
	b := o.enter()
	b.ok("create lobby")
	s := b.follow("live")
	s.until("a server", func(m message) bool { return m.Kind == "state" && m.Here })
	o.Stop()
	s.until("no server", func(m message) bool { return m.Kind == "state" && !m.Here })
	if a := b.run("rooms"); a.Code != "unreachable" {
		t.Errorf("%+v", a)
	}
	o.serve()
	s.until("the server again", func(m message) bool { return m.Kind == "state" && m.Here })
	if a := b.ok("rooms"); !strings.Contains(strings.Join(a.Lines, "\n"), "lobby") {
		t.Errorf("%+v", a)
	}
	s.until("samples of the new server", func(m message) bool { return m.Kind == "samples" })
	o.Stop()
	end := s.until("the end", func(m message) bool { return m.Kind == "end" })
	err := <-o.ended
	if err == nil || end.Text != err.Error() {
		t.Errorf("%q, %v", end.Text, err)
	}
	o.ended <- nil
}

// The page ends at once when it is told to, also while a browser shows it.
func TestEnd(t *testing.T) {
	o := start(t, web.Options{})
	b := o.enter()
	s := b.follow("live")
	s.until("hello", func(m message) bool { return m.Kind == "hello" })
	began := time.Now()
	o.stop()
	s.until("the end", func(m message) bool { return m.Kind == "end" && m.Text != "" })
	if err := <-o.ended; err != nil || time.Since(began) > 5*time.Second {
		t.Error(err, time.Since(began))
	}
	o.ended <- nil
	if _, err := http.Get(o.at); err == nil {
		t.Error("the page still answers")
	}
}

// A port that is in use is an error; a chosen port is taken.
func TestPort(t *testing.T) {
	o := start(t, web.Options{})
	var port int
	fmt.Sscanf(o.at, "http://127.0.0.1:%d", &port)
	if _, err := web.Open(web.Options{Socket: o.socket, Port: port}); err == nil {
		t.Error("the port is open twice")
	}
}
