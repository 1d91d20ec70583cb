package irc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// withoutBatch returns a line without the tags of the answer that it comes in.
func withoutBatch(l string) string {
	tags, rest, ok := strings.Cut(strings.TrimPrefix(l, "@"), " ")
	if !ok || !strings.HasPrefix(l, "@") {
		return l
	}
	all := slices.DeleteFunc(strings.Split(tags, ";"), func(tag string) bool {
		return strings.HasPrefix(tag, "batch=") || strings.HasPrefix(tag, "label=")
	})
	if len(all) == 0 {
		return rest
	}
	return "@" + strings.Join(all, ";") + " " + rest
}

// A line of a room is the same, with its tags, as a live one, as an echo, in the replay at JOIN and in
// the history.
func TestLinesAreTheSameEverywhere(t *testing.T) {
	s := newServer(t, nil)
	caps := []string{"message-tags", "server-time", "batch", "echo-message", "labeled-response", "draft/event-playback"}
	ann, bob := s.login("ann", caps...), s.login("bob", caps...)
	ann.send("JOIN #lobby")
	ann.sync()
	bob.send("JOIN #lobby")
	bob.sync()
	ann.sync()
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/nick carl")
	nc.Until("* guest-1 is now carl")
	ann.until("JOIN #lobby")
	bob.until("JOIN #lobby")
	said := []string{
		"PRIVMSG #lobby :hello", "PRIVMSG #lobby :\x01ACTION waves\x01", "NOTICE #lobby :a note", "TOPIC #lobby :a topic", "@label=1 PRIVMSG #lobby :labelled",
		"@label=2 PRIVMSG #lobby :\x01ACTION is labelled\x01", "@label=3 TOPIC #lobby :another topic", "PRIVMSG #lobby :" + strings.Repeat("long ", 96),
		"@label=4 PRIVMSG #lobby :" + strings.Repeat("lang ", 96), "TOPIC #lobby :", "PRIVMSG #lobby ::)",
	}
	ann.send(said...)
	ann.send("PING said")
	nc.Send("from nc", "/me is here", "/notice of nc", strings.Repeat("très ", 600), "the end")
	var views [][]string
	lines := func(c *ircClient, end string) {
		var all []string
		for _, l := range c.until(end) {
			if m, err := ParseMessage([]byte(l)); err != nil {
				t.Fatal(err)
			} else if slices.Contains([]string{"PRIVMSG", "NOTICE", "TOPIC"}, m.Command) {
				all = append(all, withoutBatch(l))
			}
		}
		views = append(views, all)
	}
	lines(ann, ":the end") // echoes of its own
	lines(bob, ":the end")
	dan := s.login("dan", caps...)
	dan.send("JOIN #lobby")
	lines(dan, "the end")
	for range 2 {
		bob.send("CHATHISTORY LATEST #lobby * 100")
		lines(bob, "the end")
	}
	if len(views[0]) < len(said)+10 {
		t.Errorf("there are %d lines", len(views[0]))
	}
	for i, v := range views {
		if !slices.Equal(v, views[0]) {
			t.Errorf("%d\ngot  %q\nwant %q", i, v, views[0])
		}
	}
}

// Who has asked for it gets no list of members unasked.
func TestNoImplicitNames(t *testing.T) {
	s := newServer(t, nil)
	c := s.login("ann", "draft/no-implicit-names")
	c.expect("JOIN #lobby", ":ann!u@irc.test JOIN #lobby")
	c.expect("NAMES #lobby", ":irc.test 353 ann = #lobby :ann", ":irc.test 366 ann #lobby :End of NAMES")
}

// While the server is suspended and goes on, requests for the history are answered as ever.
func TestHistoryWhileSuspended(t *testing.T) {
	s := newServer(t, nil)
	all := pastLines(rand.New(rand.NewPCG(1, 2)), 2000)
	s.importLines(map[string][]pastLine{"lobby": all})
	room, err := s.Service.Room("lobby")
	if err != nil {
		t.Fatal(err)
	}
	c := s.login("ann", append(historyCaps, "draft/event-playback")...)
	c.send("JOIN #lobby")
	c.sync()
	answered := make(chan int, 1)
	go func() {
		defer close(answered)
		for i := range 200 {
			k := 500 + i
			got, failed := c.history(fmt.Sprintf("BEFORE #lobby msgid=%s 100", MsgID(room.ID, all[k].Seq)))
			if failed != "" || len(got) != 100 || got[0] != all[k-100].Seq || got[99] != all[k-1].Seq {
				t.Errorf("%d: %s %d", i, failed, got)
				return
			}
			select {
			case answered <- i:
			default: // suspended
			}
		}
	}()
	for range answered { // and the next request is under way
		ctx, cancel := context.WithTimeout(context.Background(), netsvctest.Patience)
		if err := s.Service.Freeze(ctx); err != nil {
			t.Error(err)
		} else {
			s.Service.Thaw()
		}
		cancel()
	}
}

// FuzzSession sends anything to a live server. It must stay consistent, and whatever it answers is a
// line.
func FuzzSession(f *testing.F) {
	for _, in := range []string{
		"JOIN #lobby,#dev\r\nPRIVMSG #lobby,#dev :hello\r\n@label=1 CHATHISTORY LATEST #lobby * 10\r\nPART #lobby :bye\r\nQUIT :x\r\n",
		"@label=a JOIN #lobby\r\n@label=b NAMES #lobby\r\n@label=c TOPIC #lobby :x\r\nCHATHISTORY TARGETS timestamp=2020-01-01T00:00:00.000Z timestamp=2030-01-01T00:00:00.000Z 9\r\n",
		"CAP REQ :-batch -message-tags\r\nJOIN #lobby\r\nNICK bob\r\nPRIVMSG bob :\x01VERSION\x01\r\nCAP LIST\r\nJOIN 0\r\n",
		"CAP LS 302\r\nJOIN :\r\nNICK x\r\nUSER x 0 * :x\r\nCAP END\r\nWHO #lobby %tcuhnfdar,743\r\nMODE #lobby b\r\nLIST\r\nWHOIS x\r\n",
		"\x00\xff\r\nPRIVMSG #lobby :\xff\r\n" + strings.Repeat("x", 9000) + "\r\n\n\n@;;=;label= PING :\r\nGET / HTTP/1.1\r\n",
		"JOIN #new\r\nTOPIC #new\r\nPRIVMSG #new :\x01ACTION \x02b\x03\x0f\x01\r\nCHATHISTORY BEFORE #new msgid=1-1 0\r\nCHATHISTORY AROUND #new msgid=3-1 5\r\nAWAY :x\r\nMONITOR + a,b\r\n",
	} {
		f.Add(true, []byte(in))
		f.Add(false, []byte(in))
	}
	s := newServer(f, func(o *netsvc.Options, _ *Options) { o.MaxRooms = 16 })
	watcher := s.login("watcher", "message-tags", "batch", "server-time")
	watcher.send("JOIN #lobby,#dev")
	watcher.sync()
	nick := 0
	f.Fuzz(func(t *testing.T, registered bool, in []byte) {
		if len(in) > 16<<10 {
			return
		}
		conn, err := net.Dial("tcp", s.Service.Doors()[0].Listening[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(netsvctest.Patience))
		if registered {
			nick++
			fmt.Fprintf(conn, "CAP REQ :message-tags batch server-time labeled-response echo-message draft/chathistory standard-replies\r\nNICK f%d\r\nUSER f 0 * :f\r\nCAP END\r\n", nick)
		}
		var sent sync.WaitGroup
		sent.Go(func() {
			conn.Write(in)
			conn.(*net.TCPConn).CloseWrite()
		})
		defer sent.Wait() // the fuzzer uses the bytes again
		out, err := io.ReadAll(conn)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatal(err)
		}
		for l := range bytes.Lines(out) {
			m, err := ParseMessage(bytes.TrimSuffix(l, []byte("\r\n")))
			rest := l
			if l[0] == '@' {
				_, rest, _ = bytes.Cut(l, []byte(" "))
			}
			if err != nil || !bytes.HasSuffix(l, []byte("\r\n")) || len(rest) > MaxLine || m.Command == "" || !utf8.Valid(l) && utf8.Valid(in) {
				t.Errorf("%v: %q", err, l)
			}
		}
		watcher.t = t
		watcher.SetDeadline(time.Now().Add(netsvctest.Patience))
		watcher.sync()
		netsvctest.Eventually(t, "the server is consistent", func() bool { return s.Service.Inconsistencies() == nil })
	})
}

// Each target of a message costs what a line costs, and a message that has only tags is for nobody.
func TestTargetsCost(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.LinesPerSecond, o.Burst = 40, 8 })
	ann := s.login("ann", "message-tags", "batch", "labeled-response")
	ann.send("JOIN #lobby")
	ann.sync()
	ann.expect("@label=1;+typing=active TAGMSG #lobby", "@label=1 :irc.test ACK")
	began := time.Now()
	for range 12 {
		ann.expect("NOTICE x1,x2,x3,x4 :hello")
	}
	// 48 lines; 12 would take less than 200 ms.
	if took := time.Since(began); took < 800*time.Millisecond {
		t.Errorf("they took %v", took)
	}
}

// A NOTICE has no answer, also where nobody may write.
func TestNoticeHasNoAnswer(t *testing.T) {
	s := newServer(t, nil)
	ann, bob := s.login("ann", "echo-message"), s.login("bob", "echo-message", "batch", "labeled-response")
	for _, c := range []*ircClient{ann, bob} {
		c.send("JOIN #lobby")
		c.sync()
	}
	ann.sync()
	bob.expect("@label=1 NOTICE #lobby :404 hello", "@label=1 :bob!u@irc.test NOTICE #lobby :404 hello")
	ann.expect("NOTICE #lobby :hello", ":bob!u@irc.test NOTICE #lobby :404 hello", ":ann!u@irc.test NOTICE #lobby :hello")
	if _, err := s.Service.Set("lobby", func(o *store.Settings) { o.ReadOnly = true }); err != nil {
		t.Fatal(err)
	}
	ann.sync()
	bob.sync()
	ann.expect("NOTICE #lobby :hello")
	bob.expect("@label=2 NOTICE #lobby :hello", "@label=2 :irc.test ACK")
	if got := ann.lines("PRIVMSG #lobby :hello"); len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test 404 ann #lobby :") {
		t.Errorf("got %q", got)
	}
}
