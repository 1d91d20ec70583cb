package netsvc_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
)

// A client that says nothing and is gone within a second makes no noise: no lines in the
// room, nothing for those who watch, nothing in the log.
func TestProbesMakeNoNoise(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		log := new(syncBuffer)
		s.Options.Log = slog.New(slog.NewTextHandler(log, nil))
		s.Start()
		port := s.Create("lobby")
		ann, bot := join(t, port), join(t, port)
		ann.Until("* guest-2 joined")
		bot.Send("/json")
		bot.Until(`{"type":"ok","command":"json"}`)
		w := s.Service.Watch(func(*netsvc.Event) bool { return true })
		defer w.Close()
		for i := range 30 {
			p := dial(t, port)
			p.Until("* lobby: 3 here")
			switch i % 3 {
			case 0:
				p.Conn.Close()
			case 1:
				p.Reset()
			case 2: // asks something, which is no noise either
				p.Send("/nick probe", "/who")
				p.Until("* 3 here")
				p.HalfClose()
				for _, err := p.Next(); err == nil; _, err = p.Next() {
				}
			}
			eventually(t, "it is gone", func() bool { return s.members("lobby") == 2 })
		}
		ann.Send("quiet")
		ann.Expect("<guest-1> quiet")
		if l := bot.Line(); !strings.Contains(l, `"text":"quiet"`) {
			t.Errorf("the bot sees %q", l)
		}
		if h := <-w.C; h.Text != "quiet" {
			t.Errorf("who watches sees %+v", h)
		}
		if text := log.String(); strings.Contains(text, "level=INFO msg=\"member disconnected\"") {
			t.Errorf("the log has\n%s", text)
		}
		ann.HalfClose()
		eventually(t, "the log tells of others", func() bool { return strings.Contains(log.String(), "nick=guest-1") })
	})
}

// A newcomer is there at once, and the room is told when it first speaks, or after
// a second; a nick that it has taken before is the one that it has joined under.
func TestJoinIsTold(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port := s.Create("lobby")
		ann, bot := join(t, port), join(t, port)
		ann.Until("* guest-2 joined")
		bot.Send("/json")
		bot.Until(`{"type":"ok","command":"json"}`)
		w := s.Service.Watch(func(*netsvc.Event) bool { return true })
		defer w.Close()

		bob := dial(t, port)
		bob.Expect("* lobby: 3 here, you are guest-3 (/help)")
		bob.Send("/nick bob", "/ping")
		bob.Expect("* guest-3 is now bob", "* pong 0")
		ann.Send("/nick bob", "/who") // the nick is taken
		ann.Expect("* somebody here is called bob already", "* 3 here")
		for range 3 {
			ann.Line()
		}
		bob.Send("hi all")
		bob.Expect("* bob joined (3 here)", "<bob> hi all")
		ann.Expect("* bob joined (3 here)", "<bob> hi all")
		for _, want := range []string{`"type":"join","from":"bob"`, `"text":"hi all"`} {
			if l := bot.Line(); !strings.Contains(l, want) {
				t.Errorf("the bot sees %q, not %q", l, want)
			}
		}
		for _, want := range []string{"join", "message"} {
			if h := <-w.C; h.Type != want || h.Member != "bob" {
				t.Errorf("who watches sees %+v", h)
			}
		}
		bob.Send("/nick rob") // now it is known
		ann.Expect("* bob is now rob")
		bob.Conn.Close()
		ann.Until("* rob left (2 here)")
		for range 2 {
			bot.Line()
		}

		// JSON has the answer to /nick and then the join, under the new one.
		gus := dial(t, port)
		gus.Send("/json", "/nick gus", "/me waves")
		for _, want := range []string{"* lobby:", "* ", "<bob> hi all", "* end of", `"type":"ok","command":"json"`, `"type":"nick","from":"guest-4","nick":"gus"`,
			`"type":"ok","command":"nick"`, `"type":"join","from":"gus"`, `"type":"action","from":"gus"`} {
			if l := gus.Line(); !strings.Contains(l, want) {
				t.Errorf("got %q, not %q", l, want)
			}
		}
		ann.Expect("* gus joined (3 here)", "<gus> * waves")

		// To be silent for a second is enough, and so is a word to one.
		began := time.Now()
		eve, dan := dial(t, port), dial(t, port)
		dan.Until("* end of earlier lines")
		dan.Send("/msg guest-1 psst")
		ann.Expect("* guest-6 joined (5 here)", "<guest-6 -> guest-1> psst")
		eve.Until("* guest-5 joined (5 here)")
		ann.Expect("* guest-5 joined (5 here)")
		if took := time.Since(began); took < 900*time.Millisecond || took > 3*time.Second {
			t.Errorf("told after %v", took)
		}
		eve.Conn.Close()
		ann.Until("* guest-5 left (4 here)")

		// The operator ends one that nobody has heard of: it is told, and nobody else.
		ivy := dial(t, port)
		ivy.Until("* end of earlier lines")
		if n, err := s.Service.Kick([]uint64{eveID(s)}, ""); n != 1 || err != nil {
			t.Errorf("%d were asked to leave", n)
		}
		ivy.Until("* lobby: you were asked to leave")
		ivy.End()
		ann.Send("the end")
		ann.Expect("<guest-1> the end")
	})
}

// The first word tells of the newcomer also if it is there before the server is
// done with letting it in.
func TestFirstWordAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port := s.Create("lobby")
		for n := range 800 {
			p := dial(t, port)
			p.Send("hi", "/quit")
			nick := fmt.Sprintf("guest-%d", n+1)
			told := false
			for l, err := p.Next(); err == nil && l != "<"+nick+"> hi"; l, err = p.Next() {
				told = told || strings.HasPrefix(l, "* "+nick+" joined")
			}
			if !told {
				t.Fatalf("%s speaks and has not joined", nick)
			}
			p.Conn.Close()
			eventually(t, "it is gone", func() bool { return s.members("lobby") == 0 })
		}
	})
}
