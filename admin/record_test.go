package admin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
)

// view is what a command that goes on yields, line by line.
type view chan string

// open sends a line to the admin socket and waits until what happens is seen.
func (s *shell) open(line string) view {
	s.T.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { c.Close() })
	fmt.Fprintln(c, line)
	v := make(view, 10000)
	go func() {
		defer close(v)
		for in := bufio.NewScanner(c); in.Scan(); {
			v <- strings.TrimSpace(in.Text())
		}
	}()
	eventually(s.T, line, func() bool {
		s.ok("say lobby open")
		return len(v) > 0
	})
	return v
}

// until reads on to a line with a text.
func (v view) until(t testing.TB, part string) string {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case l := <-v:
			if strings.Contains(l, part) {
				return l
			}
		case <-late:
			t.Fatalf("there is no %q", part)
		}
	}
}

// event reads on to an event of a type with a text.
func (v view) event(t testing.TB, kind, text string) (h netsvc.Event) {
	t.Helper()
	for h.Type != kind || !strings.Contains(h.Text, text) {
		l := v.until(t, `"type":"`+kind+`"`)
		if err := json.Unmarshal([]byte(l), &h); err != nil {
			t.Fatal(l, err)
		}
	}
	return h
}

type audited struct {
	UID                            int
	User, From, Door, Line, Result string
}

// audited is the end of the audit.
func (s *shell) audited(n int) (all []audited) {
	s.T.Helper()
	if err := json.Unmarshal([]byte(s.ok(fmt.Sprintf("audit -n %d --json", n))), &all); err != nil || len(all) != n {
		s.T.Fatal(all, err)
	}
	return all
}

// Whatever an operator changes is in the log, for watchers and in the audit, with
// who did it, by which door, and what came of it.
func TestWhoDidIt(t *testing.T) {
	s := startShell(t)
	me := me(t)
	s.ok("create lobby")
	log, events := s.open("watch log --match command="), s.open("watch events --json")
	s.join("lobby")
	for _, c := range []struct{ line, room, result string }{
		{"create dev", "dev", "done"}, {"create dev", "dev", "already exists"}, {"topic dev things", "dev", "done"},
		{"set dev replay 7", "dev", "done"}, {"rename dev ops", "dev", "done"}, {fmt.Sprint("port ops ", s.Options.Ports[1]), "ops", "done"},
		{"say lobby hello", "lobby", "done"}, {"announce hello", "", "done"}, {"mute guest-1", "", "done"}, {"unmute guest-1", "", "done"},
		{"ban 192.0.2.7 --why flooding", "", "done"}, {"unban 2", "", "done"}, {"kick guest-1 --yes", "", "done"}, {"loglevel info", "", "done"},
		{"reload", "", "nothing has changed"}, {"delete ops --yes", "ops", "done"}, {"restore ops", "ops", "done"},
		{"delete ops --yes", "ops", "done"}, {"purge ops --yes", "ops", "done"}, {"rebind lobby", "lobby", "is already bound"}, {"upgrade", "", "begun"},
		{"backup " + filepath.Join(s.dir, "x.db"), "", "done"}, {"stop --yes", "", "done"},
	} {
		s.do(strings.Fields(c.line)...)
		l := log.until(t, c.line)
		for _, part := range []string{" user=" + me + " ", fmt.Sprintf(" uid=%d ", os.Getuid()), ` door="admin socket" `, c.result} {
			if !strings.Contains(l, part) {
				t.Errorf("%s: the log has no %q: %s", c.line, part, l)
			}
		}
		h := events.event(t, "command", c.line)
		if h.By != me || h.Door != "admin socket" || h.Room != c.room || !strings.Contains(h.Cause, c.result) {
			t.Errorf("%s: the event is %+v", c.line, h)
		}
		a := s.audited(1)[0]
		if a.Line != c.line || a.User != me || a.UID != os.Getuid() || a.Door != "admin socket" || !strings.Contains(a.Result, c.result) {
			t.Errorf("%s: the audit has %+v", c.line, a)
		}
	}
}

// What comes over the network is recorded with its address, and no key or
// password with it.
func TestWhoDeletedIt(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	log, events := s.open("watch log"), s.open("watch events --json")
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Service.Port()))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(c)
	fmt.Fprintln(c, "CREATE den swordfish")
	l := until(t, in, "OK den ")
	key := strings.Fields(l)[3]
	fmt.Fprintf(c, "DELETE den %s\nDELETE nothing\nQUIT\n", key)
	rest, err := io.ReadAll(in)
	if err != nil || !strings.HasPrefix(string(rest), "OK den\nERR no-room ") {
		t.Fatalf("%q, %v", rest, err)
	}
	from := c.LocalAddr().String()
	c.Close()
	for _, part := range []string{"room created", "room deleted"} {
		if l := log.until(t, part); !strings.Contains(l, "room=den ") || !strings.Contains(l, "by="+from) {
			t.Errorf("the log has %q", l)
		}
	}
	for _, kind := range []string{"create", "delete"} {
		if h := events.event(t, kind, ""); h.Room != "den" || h.Remote != from {
			t.Errorf("the event is %+v", h)
		}
	}
	all := s.audited(2)
	for i, line := range []string{"CREATE den", "DELETE den"} {
		if want := (audited{-1, "", from, "master port", line, "done"}); all[i] != want {
			t.Errorf("the audit has %+v, and not %+v", all[i], want)
		}
	}
	host, _, _ := net.SplitHostPort(from)
	if out := s.ok("audit --by " + host); strings.Count(out, " den ") != 2 || strings.Contains(out, key) || strings.Contains(out, "swordfish") {
		t.Error(out)
	}
	if out := s.ok("audit --by " + me(t)); strings.Contains(out, " den ") {
		t.Error(out)
	}
	// Nothing that was logged or shown has them either.
	s.ok("say lobby done")
	for _, v := range []view{log, events} {
		for l := range v {
			if strings.Contains(l, key) || strings.Contains(l, "swordfish") {
				t.Error("a secret is shown:", l)
			}
			if strings.Contains(l, "say lobby done") {
				break
			}
		}
	}
}

func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// Watchers see who is called what, and what the operator says.
func TestWatchNicksAndNotices(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	events, text := s.open("watch lobby --json"), s.open("watch lobby")
	s.speak("lobby", "hello", "/nick ann")
	if h := events.event(t, "nick", "ann"); h.Room != "lobby" || h.Member != "guest-1" || h.Remote == "" {
		t.Errorf("%+v", h)
	}
	text.until(t, "lobby * guest-1 is ann now")
	s.ok("say lobby be quiet")
	if h := events.event(t, "notice", "be quiet"); h.Room != "lobby" {
		t.Errorf("%+v", h)
	}
	text.until(t, "lobby * operator: be quiet")
	s.ok("topic lobby silence")
	if h := events.event(t, "topic", "silence"); h.Member != "operator" {
		t.Errorf("%+v", h)
	}
	s.ok("set lobby replay 3")
	if h := events.event(t, "set", ""); h.Text != `{"replay":3}` {
		t.Errorf("%+v", h)
	}
}

// Times are absolute and have their zone, unless it is asked how long ago they
// were.
func TestTimesOfTables(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.speak("lobby", "hello")
	s.join("lobby")
	s.ok("ban 192.0.2.1 --for 30d --yes")
	s.ok("create dev")
	s.ok("delete dev --yes")
	now := time.Now()
	for _, line := range []string{"rooms", "room lobby", "members", "who guest-2", "bans", "trash", "audit", "status"} {
		shown, relative := s.ok(line), s.ok(line+" --relative")
		for _, zone := range []string{now.Format("2006-01-02 15:04:05 -0700")[:10], now.Format(" -0700")} {
			if !strings.Contains(shown, zone) {
				t.Errorf("%s has no %q: %s", line, zone, shown)
			}
		}
		if strings.Contains(relative, now.Format(" -0700")) || !strings.Contains(relative, "s ago") {
			t.Errorf("%s --relative: %s", line, relative)
		}
	}
	for _, line := range []string{"read lobby", "search lobby hello"} {
		if out := s.ok(line); !strings.Contains(out, now.Format(" -0700 <")) {
			t.Errorf("%s: %s", line, out)
		}
	}
}
