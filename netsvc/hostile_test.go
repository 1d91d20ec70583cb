package netsvc_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"roomd/netsvc"
	"roomd/store"
)

// syncBuffer is a log that goroutines write and a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

// hostileText is text as it is sent, without a line end, and as others get it.
// The whole table is that of package wire: this one goes through every door.
var hostileText = []struct{ in, out string }{
	{"\x1b[2J\x1b]0;x\x07", "\ufffd[2J\ufffd]0;x\ufffd"},
	{"\u009b31m \x9b31m", "\ufffd31m \ufffd31m"},
	{"a\u202eb\u2066c\u200bd\ufeff", "a\ufffdb\ufffdc\ufffdd\ufffd"},
	{"a\u2028* lobby: no", "a\ufffd* lobby: no"},
	{"a\rb\vc\fd\x00e\x7f", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"},
	{"\xff\xff\xc0\x8a\xe2\x82", "\ufffd\ufffd\ufffd\ufffd\ufffd"}, // IAC IAC is one byte of 255
	{"Z" + strings.Repeat("\u0301", 20), "Z" + strings.Repeat("\u0301", 8) + strings.Repeat("\ufffd", 12)},
	{"<bob> no", "<bob> no"},
	{"* lobby: chat room being deleted", "* lobby: chat room being deleted"},
}

// Hostile text in messages, actions, topics, private messages, nicks, names of
// rooms, passwords, reasons and notices, as other members, the master port, the
// operator and the log get it.
func TestHostileTextEverywhere(t *testing.T) {
	s := newServer(t)
	log := new(syncBuffer)
	s.Options.Log = slog.New(slog.NewTextHandler(log, nil))
	s.Start()
	port := s.Create("lobby")
	ann, bob := join(t, port), join(t, port)
	ann.Until("* guest-2 joined")
	ann.Send("/nick ann")
	bob.Until("* guest-1 is now ann")
	w := s.Service.Watch(func(*netsvc.Event) bool { return true })
	defer w.Close()
	for i, h := range hostileText {
		ann.Send("x" + h.in)
		bob.Expect("<ann> x" + h.out)
		if got := <-w.C; got.Text != "x"+h.out {
			t.Errorf("the operator sees %q", got.Text)
		}
		ann.Send("/me " + h.in)
		bob.Expect("<ann> * " + h.out)
		<-w.C
		ann.Send("/topic " + h.in)
		bob.Expect("* ann set the topic: " + h.out)
		<-w.C
		ann.Send("/msg guest-2 " + h.in)
		bob.Expect("<ann -> guest-2> " + h.out)
		ann.Until("<ann -> guest-2> ")
		ann.Send("/nick "+strings.ReplaceAll(h.in, " ", ""), "/"+h.in)
		for range 2 {
			if l := ann.Line(); !strings.HasPrefix(l, "* ") || !safe(l) {
				t.Errorf("%q is answered %q", h.in, l)
			}
		}
		m := dial(t, s.Service.Port())
		m.Send("CREATE "+h.in, "CREATE r"+fmt.Sprint(i)+" "+strings.ReplaceAll(h.in, " ", ""), h.in)
		for range 3 {
			if l := m.Line(); !safe(l) {
				t.Errorf("%q is answered %q", h.in, l)
			}
		}
		m.Send("LIST lobby")
		m.Until("lobby " + fmt.Sprint(port) + " 2 " + h.out)
		if _, err := s.Service.Say("lobby", h.in); err != nil {
			t.Error(err)
		}
		if l := bob.Line(); !strings.HasPrefix(l, "* operator: ") || !safe(l) {
			t.Errorf("the operator's %q is %q", h.in, l)
		}
		ann.Line()
		eve := join(t, port)
		if n, err := s.Service.Kick([]uint64{eveID(s)}, h.in); n != 1 || err != nil {
			t.Error("eve is not kicked")
		}
		if l := eve.Until("* lobby: "); !safe(l) {
			t.Errorf("the reason %q is %q", h.in, l)
		}
		eve.Conn.Close()
		for _, p := range []*peer{ann, bob} {
			p.Until("* guest-" + fmt.Sprint(i+3) + " left")
		}
		b, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.9", Reason: h.in})
		if err != nil {
			t.Fatal(err)
		}
		banned := dialFrom(t, "127.0.0.9", port)
		if l := banned.Line(); !strings.HasPrefix(l, "* lobby: you are banned") || !safe(l) {
			t.Errorf("the reason %q is %q", h.in, l)
		}
		banned.Conn.Close()
		if err := s.Service.Unban(b[0].ID); err != nil {
			t.Error(err)
		}
		drain(w)
	}
	s.Stop()
	for l := range strings.Lines(log.String()) {
		if !safe(strings.TrimSuffix(l, "\n")) || !strings.HasPrefix(l, "time=") {
			t.Errorf("the log has %q", l)
		}
	}
}

func drain(w *netsvc.Watcher) {
	for {
		select {
		case <-w.C:
		default:
			return
		}
	}
}

// eveID is who came last.
func eveID(s *server) (id uint64) {
	all, err := s.Service.Members("lobby")
	if err != nil {
		s.T.Fatal(err)
	}
	for _, m := range all {
		id = max(id, m.ID)
	}
	return id
}

// safe reports whether a line can be shown by any terminal as what it is.
func safe(line string) bool {
	return utf8.ValidString(line) && !strings.ContainsFunc(line, func(r rune) bool {
		return r < ' ' && r != '\t' || r >= 0x7f && r <= 0x9f || r == 0x200b || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff
	}) && !strings.Contains(line, strings.Repeat("\u0301", 9))
}
