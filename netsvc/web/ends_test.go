package web

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// TestOperator kicks, mutes, bans, renames and deletes under a page that is in two rooms: what happens in one
// of them leaves the other alone.
func TestOperator(t *testing.T) {
	s := serve(t, nil)
	ann := s.enter("ann", "lobby", "dev")
	bob := netsvctest.Join(t, s.Room("lobby").Port)
	ann.until("lobby", "join", "")
	kick := func(room string) {
		t.Helper()
		for _, m := range s.Service.FindMembers("ann") {
			if m.Room == room {
				if n, err := s.Service.Kick([]uint64{m.ID}, ""); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
		}
	}
	kick("lobby")
	ann.until("lobby", "notice", "kicked")
	ann.until("lobby", "end", "kicked")
	bob.Until("* ann left (1 here)")
	ann.send("dev", "still here")
	ann.until("dev", "message", "still here")
	ann.send("lobby", "again")
	ann.until("lobby", "ok", "enter")
	ann.until("lobby", "message", "again")

	mutes, _, err := s.Service.Ban(store.Ban{Mute: true, Nick: "ann", Room: s.Room("lobby").ID})
	if err != nil {
		t.Fatal(err)
	}
	ann.send("lobby", "mm", "/me mm", "/nick anna")
	for range 3 {
		ann.until("lobby", "error", "denied")
	}
	ann.send("", "NICK anna")
	ann.until("", "error", "denied")
	ann.send("dev", "loud")
	ann.until("dev", "message", "loud")
	if err := s.Service.Unban(mutes[0].ID); err != nil {
		t.Fatal(err)
	}

	if _, err := s.Service.Rename("lobby", "hall"); err != nil {
		t.Fatal(err)
	}
	if l := ann.until("hall", "renamed", "hall"); l.ev.Was != "lobby" || l.ev.ID != s.Room("hall").ID {
		t.Errorf("%+v", l)
	}
	ann.send("lobby", "by the old name")
	ann.until("hall", "message", "by the old name")
	ann.send("hall", "by the new name")
	ann.until("hall", "message", "by the new name")
	if _, err := s.Service.Rename("hall", "court"); err != nil {
		t.Fatal(err)
	}
	ann.send("lobby", "by the oldest name")
	ann.until("court", "message", "by the oldest name")

	if n, err := s.Service.Say("dev", "look"); n != 1 || err != nil {
		t.Error(n, err)
	}
	ann.until("dev", "notice", "operator: look")

	if _, _, err := s.Service.Ban(store.Ban{Nick: "ann", Room: s.Room("dev").ID}); err != nil {
		t.Fatal(err)
	}
	ann.until("dev", "end", "kicked")
	ann.send("dev", "x")
	if l := ann.until("dev", "error", ""); l.ev.Code != "denied" || l.ev.Command != "enter" {
		t.Errorf("%+v", l)
	}
	ann.send("", "DELETE court")
	ann.until("court", "deleted", "")
	ann.until("court", "end", "deleted")
	if l := ann.until("", "ok", "delete"); l.ev.Name != "court" {
		t.Errorf("%+v", l)
	}
	ann.send("court")
	ann.until("court", "error", "no-room")
}

// TestPassword is asked for and tried as at the room's port.
func TestPassword(t *testing.T) {
	s := serve(t, nil)
	ann := s.dial()
	ann.send("", "CREATE den secret")
	if l := ann.until("", "ok", "create"); l.ev.Name != "den" || l.ev.Port == 0 || l.ev.Key == "" {
		t.Errorf("%+v", l)
	}
	ann.send("den", "hello")
	ann.until("den", "error", "password")
	ann.send("den", "/pass sesame", "hello")
	ann.until("den", "error", "password")
	netsvctest.Eventually(t, "the password", func() bool {
		ann.send("den", "/pass secret", "hello")
		l := ann.next()
		return l.ev.Type == "ok"
	})
	ann.until("den", "message", "hello")
	ann.send("den", "/pass secret")
	ann.until("den", "ok", "pass")
	ann.send("", "LIST den*", "JOIN den")
	if l := ann.until("", "room", "den"); !l.ev.Locked || l.ev.Members != 0 || l.ev.Newest != 0 {
		t.Errorf("%+v", l)
	}
	if l := ann.until("", "ok", "join"); l.ev.Port != s.Room("den").Port || l.ev.Members != 0 {
		t.Errorf("%+v", l)
	}
}

// TestNicks are one for all rooms, or none.
func TestNicks(t *testing.T) {
	s := serve(t, nil)
	bob := netsvctest.Join(t, s.Room("dev").Port)
	bob.Send("/nick bob")
	bob.Until("* guest-1 is now bob")
	ann := s.dial()
	ann.send("lobby", "hi")
	guest := ann.until("lobby", "ok", "enter").ev.Nick
	if !strings.HasPrefix(guest, "guest-") {
		t.Error(guest)
	}
	eve := netsvctest.Join(t, s.Room("dev").Port) // guest-2, and the next one there
	eve.Send("/quit")
	other := s.dial()
	other.send("dev")
	other.until("dev", "ok", "enter")
	ann.send("dev")
	if l := ann.until("dev", "ok", "enter"); !strings.HasPrefix(l.ev.Nick, "guest-") {
		t.Errorf("%+v", l)
	}
	ann.send("lobby", "/nick bob")
	ann.until("lobby", "error", "exists")
	ann.send("", "NICK guest-7", "NICK a b", "NICK bob", "NICK ann")
	ann.until("", "error", "bad-name")
	ann.until("", "error", "bad-request")
	ann.until("", "error", "exists")
	if l := ann.until("", "ok", "nick"); l.ev.Nick != "ann" {
		t.Errorf("%+v", l)
	}
	for _, room := range []string{"lobby", "dev"} {
		if m, err := s.Service.Members(room); err != nil || !strings.Contains(fmt.Sprint(m), " ann ") {
			t.Error(room, m)
		}
	}
	bob.Until("* guest")
	third := s.dial()
	third.send("", "NICK ann")
	third.until("", "ok", "nick")
	third.send("lobby")
	third.until("lobby", "error", "exists")
}

// TestResume has a page come back while its earlier connection is still there, with everything that it
// has said and heard.
func TestResume(t *testing.T) {
	s := serve(t, nil)
	ghost := s.dial()
	ghost.send("", "RESUME t-1", "NICK ann")
	ghost.until("", "ok", "nick")
	ghost.send("lobby")
	ghost.until("lobby", "ok", "enter")
	const lines = 30
	for i := range lines {
		ghost.send("lobby", fmt.Sprintf("line %d", i))
	}
	first := ghost.until("lobby", "message", "line 0").ev.Seq
	back := s.dial()
	back.send("", "RESUME !", "RESUME")
	back.until("", "error", "bad-request")
	back.until("", "error", "bad-request")
	back.send("", "RESUME t-1", "NICK ann")
	back.until("", "ok", "resume")
	back.until("", "ok", "nick")
	back.send("lobby", fmt.Sprintf("/since %d", first), "/ping")
	back.until("lobby", "ok", "since")
	heard := 1
	for {
		l := back.next()
		if l.ev.Type == "pong" {
			break
		}
		if l.ev.Text == fmt.Sprintf("line %d", heard) {
			heard++
		}
	}
	kept := heard
	if code := ghost.closed(); code != websocket.StatusPolicyViolation {
		t.Error(code)
	}
	back.send("lobby", "/history 100", "/ping")
	back.until("lobby", "pong", "")
	if n := s.Room("lobby").Newest - first + 1; n != uint64(kept) {
		t.Errorf("%d lines are in the room, %d were there after RESUME", n, kept)
	}
}

// TestStop closes with 1001.
func TestStop(t *testing.T) {
	s := serve(t, nil)
	ann, idle := s.enter("ann", "lobby"), s.dial()
	done := make(chan bool)
	go func() { s.Stop(); close(done) }()
	ann.until("lobby", "notice", "lobby: the server is stopping")
	for _, p := range []*tester{ann, idle} {
		if code := p.closed(); code != websocket.StatusGoingAway {
			t.Error(code)
		}
	}
	<-done
}

// TestUpgrade leaves pages behind with 1012: until then they go on, and after a failure too.
func TestUpgrade(t *testing.T) {
	s := serve(t, nil)
	if s.Service.Freeze(t.Context()) != nil {
		t.Skip("connections cannot be handed over here")
	}
	s.Service.Thaw()
	nc := netsvctest.Join(t, s.Room("lobby").Port)
	ann, idle := s.enter("ann", "lobby", "dev"), s.dial()
	half := netsvctest.Dial(t, s.Service.Port())
	half.Send("GET / HTTP/1.1\r")
	ctx, cancel := context.WithTimeout(t.Context(), netsvctest.Patience)
	defer cancel()
	frozen := func() {
		if err := s.Service.Freeze(ctx); err != nil {
			t.Fatal(err)
		}
		ann.send("lobby", "into the void", "/ping")
		if _, err := s.Service.HandOver(func(string, any, ...int) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	frozen()
	s.Service.Thaw()
	ann.until("lobby", "message", "into the void")
	newest := ann.until("lobby", "pong", "").ev.Seq
	nc.Until("<ann> into the void")
	frozen()
	gone := make(chan bool)
	go func() { s.Service.Abandon(netsvctest.Patience); close(gone) }()
	for _, p := range []*tester{ann, idle} {
		if code := p.closed(); code != websocket.StatusServiceRestart {
			t.Error(code)
		}
	}
	<-gone
	if ctx.Err() != nil {
		t.Error("the old process was needed for too long")
	}
	if n := s.Room("lobby").Newest; n != newest {
		t.Errorf("a line was taken while the server was frozen: %d, %d", n, newest)
	}
	s.Service.Thaw() // for the stop
}
