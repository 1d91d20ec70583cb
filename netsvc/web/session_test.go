package web

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// TestConversation has a page and a client of the room's port talk.
func TestConversation(t *testing.T) {
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%v", portable), func(t *testing.T) { converse(t, portable) })
	}
}

func converse(t *testing.T, portable bool) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.Portable = portable })
	ann := s.dial()
	bob := netsvctest.Join(t, s.Room("lobby").Port)
	ann.send("", "NICK ann")
	if l := ann.until("", "ok", "nick"); l.ev.Nick != "ann" {
		t.Errorf("got %+v", l)
	}
	ann.send("lobby")
	if l := ann.next(); l.room != "lobby" || l.ev.Command != "enter" || l.ev.Nick != "ann" || l.ev.Name != "lobby" || l.ev.RoomID == "" || l.ev.Epoch == "" || l.ev.LineBytes != 4096 {
		t.Errorf("got %+v", l)
	}
	bob.Expect("* ann joined (2 here)")
	ann.send("lobby", "hello", "//x", "/me waves")
	bob.Expect("<ann> hello", "<ann> /x", "<ann> * waves")
	one := ann.until("lobby", "message", "hello")
	ann.until("lobby", "action", "waves")
	ann.until("lobby", "ok", "me")
	bob.Send("hi")
	ann.until("lobby", "message", "hi")
	ann.send("lobby", "/who", "/since 0", "/ping")
	if l := ann.until("lobby", "ok", "who"); l.ev.Count != 2 {
		t.Errorf("got %+v", l)
	}
	ann.until("lobby", "ok", "since")
	if l := ann.until("lobby", "message", "hello"); l.ev.Seq != one.ev.Seq {
		t.Errorf("got %+v", l)
	}
	ann.until("lobby", "pong", "")
	bob.Send("/who")
	if l := bob.Until("* ann, here since "); !strings.HasSuffix(l, ", by web") {
		t.Errorf("got %q", l)
	}
	ann.send("dev", "in dev")
	ann.until("dev", "ok", "enter")
	ann.until("dev", "message", "in dev")
	ann.send("lobby", "/nick anna")
	ann.until("lobby", "ok", "nick")
	bob.Until("* ann is now anna")
	ann.send("lobby", "/quit")
	ann.until("lobby", "ok", "quit")
	ann.until("lobby", "end", "left")
	bob.Until("* anna left (1 here)")
	ann.send("nowhere", "x")
	if l := ann.next(); l.room != "nowhere" || l.ev.Type != "error" || l.ev.Command != "enter" || l.ev.Code != "no-room" {
		t.Errorf("got %+v", l)
	}
	ann.send("", "LIST")
	if l := ann.until("", "ok", "list"); l.ev.Count != 2 {
		t.Errorf("got %+v", l)
	}
	ann.until("", "room", "dev")
	ann.until("", "room", "lobby")
}

// TestAudit creates and deletes a room: the audit names the door, by which the store knows a client
// from an operator.
func TestAudit(t *testing.T) {
	s := serve(t, nil)
	ann := s.dial()
	ann.send("", "CREATE den", "DELETE den")
	ann.until("", "ok", "create")
	ann.until("", "ok", "delete")
	all, _, err := s.Store.Audits(t.Context(), time.Time{}, 2, nil)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for i, line := range []string{"CREATE den", "DELETE den"} {
		if a := all[i]; a.Door != store.DoorWeb || a.Line != line || a.UID != -1 || a.From == "" {
			t.Errorf("got %+v", a)
		}
	}
}

// TestResumeStorm has many connections say RESUME with the same token at once: one of them stays.
func TestResumeStorm(t *testing.T) {
	s := serve(t, nil)
	for range 5 {
		all := make([]*tester, 16)
		for i := range all {
			all[i] = s.dial()
		}
		var asked sync.WaitGroup
		for _, p := range all {
			asked.Go(func() {
				_ = p.Write(patience(t), websocket.MessageText, []byte("\nRESUME storm\nNICK ann\n"))
				_ = p.Write(patience(t), websocket.MessageText, []byte("lobby\n/ping"))
			})
		}
		asked.Wait()
		sessions := func() int { return s.Service.Doors()[0].Sessions }
		netsvctest.Eventually(t, "one session", func() bool { return sessions() == 1 })
	}
}

// TestClientsMakeNoMarks sends what would end a line of telnet, and then is like a mark of the socket.
func TestClientsMakeNoMarks(t *testing.T) {
	s := serve(t, nil)
	dev := netsvctest.Join(t, s.Room("dev").Port)
	ann := s.enter("ann", "lobby")
	for _, text := range []string{"a\r\x00\a>dev\nb\rc", "b\r\a>dev\nb", "\b\a>dev\nd", "\r\x00\a.\nd"} {
		ann.sendRaw("lobby\n" + text + "\nend")
		ann.until("lobby", "message", "end")
	}
	ann.send("dev", "mine")
	dev.Expect("* ann joined (2 here)", "<ann> mine")
}
