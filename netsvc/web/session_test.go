package web

import (
	"fmt"
	"strings"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
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
