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
		s.opts.Log = slog.New(slog.NewTextHandler(log, nil))
		s.start()
		port := s.create("lobby")
		ann, bot := join(t, port), join(t, port)
		ann.until("* guest-2 joined")
		bot.send("/json")
		bot.until(`{"type":"ok","command":"json"}`)
		w := s.svc.Watch(func(*netsvc.Happening) bool { return true })
		defer w.Close()
		for i := range 30 {
			p := dial(t, port)
			p.until("* lobby: 3 here")
			switch i % 3 {
			case 0:
				p.conn.Close()
			case 1:
				p.reset()
			case 2: // asks something, which is no noise either
				p.send("/nick probe", "/who")
				p.until("* 3 here")
				p.halfClose()
				for _, err := p.next(); err == nil; _, err = p.next() {
				}
			}
			eventually(t, "it is gone", func() bool { return s.members("lobby") == 2 })
		}
		ann.send("quiet")
		ann.expect("<guest-1> quiet")
		if l := bot.line(); !strings.Contains(l, `"text":"quiet"`) {
			t.Errorf("the bot sees %q", l)
		}
		if h := <-w.C; h.Text != "quiet" {
			t.Errorf("who watches sees %+v", h)
		}
		if text := log.String(); strings.Contains(text, "level=INFO msg=\"member gone\"") {
			t.Errorf("the log has\n%s", text)
		}
		ann.halfClose()
		eventually(t, "the log tells of others", func() bool { return strings.Contains(log.String(), "member=guest-1") })
	})
}

// A newcomer is there at once, and the room is told when it first speaks, or after
// a second; a nick that it has taken before is the one that it has joined under.
func TestJoinIsTold(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.start()
		port := s.create("lobby")
		ann, bot := join(t, port), join(t, port)
		ann.until("* guest-2 joined")
		bot.send("/json")
		bot.until(`{"type":"ok","command":"json"}`)
		w := s.svc.Watch(func(*netsvc.Happening) bool { return true })
		defer w.Close()

		bob := dial(t, port)
		bob.expect("* lobby: 3 here, you are guest-3 (/help)")
		bob.send("/nick bob", "/ping")
		bob.expect("* guest-3 is now bob", "* pong 0")
		ann.send("/nick bob", "/who") // the nick is taken
		ann.expect("* somebody here is called bob already", "* 3 here")
		for range 3 {
			ann.line()
		}
		bob.send("hi all")
		bob.expect("* bob joined (3 here)", "<bob> hi all")
		ann.expect("* bob joined (3 here)", "<bob> hi all")
		for _, want := range []string{`"type":"join","from":"bob"`, `"text":"hi all"`} {
			if l := bot.line(); !strings.Contains(l, want) {
				t.Errorf("the bot sees %q, not %q", l, want)
			}
		}
		for _, want := range []string{"join", "message"} {
			if h := <-w.C; h.Type != want || h.Member != "bob" {
				t.Errorf("who watches sees %+v", h)
			}
		}
		bob.send("/nick rob") // now it is known
		ann.expect("* bob is now rob")
		bob.conn.Close()
		ann.until("* rob left (2 here)")
		for range 2 {
			bot.line()
		}

		// JSON has the answer to /nick and then the join, under the new one.
		gus := dial(t, port)
		gus.send("/json", "/nick gus", "/me waves")
		for _, want := range []string{"* lobby:", "* ", "<bob> hi all", "* end of", `"type":"ok","command":"json"`, `"type":"nick","from":"guest-4","nick":"gus"`,
			`"type":"ok","command":"nick"`, `"type":"join","from":"gus"`, `"type":"action","from":"gus"`} {
			if l := gus.line(); !strings.Contains(l, want) {
				t.Errorf("got %q, not %q", l, want)
			}
		}
		ann.expect("* gus joined (3 here)", "<gus> * waves")

		// To be silent for a second is enough, and so is a word to one.
		began := time.Now()
		eve, dan := dial(t, port), dial(t, port)
		dan.until("* end of earlier lines")
		dan.send("/msg guest-1 psst")
		ann.expect("* guest-6 joined (5 here)", "<guest-6 -> guest-1> psst")
		eve.until("* guest-5 joined (5 here)")
		ann.expect("* guest-5 joined (5 here)")
		if took := time.Since(began); took < 900*time.Millisecond || took > 3*time.Second {
			t.Errorf("told after %v", took)
		}
		eve.conn.Close()
		ann.until("* guest-5 left (4 here)")

		// The operator ends one that nobody has heard of: it is told, and nobody else.
		ivy := dial(t, port)
		ivy.until("* end of earlier lines")
		if n, err := s.svc.Kick([]uint64{eveID(s)}, ""); n != 1 || err != nil {
			t.Errorf("%d were asked to leave", n)
		}
		ivy.until("* lobby: you were asked to leave")
		ivy.end()
		ann.send("the end")
		ann.expect("<guest-1> the end")
	})
}

// The first word tells of the newcomer also if it is there before the server is
// done with letting it in.
func TestFirstWordAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.start()
		port := s.create("lobby")
		for n := range 800 {
			p := dial(t, port)
			p.send("hi", "/quit")
			nick := fmt.Sprintf("guest-%d", n+1)
			told := false
			for l, err := p.next(); err == nil && l != "<"+nick+"> hi"; l, err = p.next() {
				told = told || strings.HasPrefix(l, "* "+nick+" joined")
			}
			if !told {
				t.Fatalf("%s speaks and has not joined", nick)
			}
			p.conn.Close()
			eventually(t, "it is gone", func() bool { return s.members("lobby") == 0 })
		}
	})
}
