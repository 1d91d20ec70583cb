package irc

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

var eventually = netsvctest.Eventually

func (s *testServer) hasRoom(name string) bool {
	_, err := s.Service.RoomInfo(name)
	return err == nil
}

// isGone waits until nothing is left of a room.
func (s *testServer) isGone(name string) {
	s.T.Helper()
	eventually(s.T, name+" stays", func() bool { // also as one that is being closed
		return !slices.ContainsFunc(s.Service.Rooms(), func(d netsvc.RoomDetail) bool { return d.Name == name })
	})
	if all, err := s.Service.Trash(); err != nil || len(all) > 0 {
		s.T.Error(all, err)
	}
}

// A room that JOIN has made is kept from its first line or topic on: a typing error leaves nothing.
func TestProvisionalRoom(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	join := func(room string) int {
		t.Helper()
		ann.send("JOIN #" + room)
		ann.until(" 366 ann #" + room)
		return s.port(room)
	}
	port := join("typo")
	ann.send("PART #typo")
	s.isGone("typo")
	if again := join("other"); again != port {
		t.Errorf("port %d is not given out again, but %d", port, again)
	}
	ann.send("PART #other", "JOIN #other", "PART #other", "JOIN #other", "PING x")
	ann.until(" PONG ")
	ann.expect("PART #other", ":ann!u@irc.test PART #other")
	s.isGone("other")

	join("said")
	ann.send("PRIVMSG #said :hello", "PART #said")
	join("topic")
	ann.send("TOPIC #topic :it is kept", "PART #topic")
	join("set")
	if _, err := s.Service.Set("set", func(o *store.Settings) { o.ReadOnly = true }); err != nil {
		t.Fatal(err)
	}
	join("renamed")
	if _, err := s.Service.Rename("renamed", "kept"); err != nil {
		t.Fatal(err)
	}
	ann.send("PART #set", "PART #kept")
	ann.sync()

	// A client of the room's port is a member like others.
	nc := netsvctest.Join(t, join("mixed"))
	ann.send("PART #mixed")
	nc.Until("* ann left")
	if !s.hasRoom("mixed") {
		t.Error("a room with a member is deleted")
	}
	nc.Conn.Close()
	s.isGone("mixed")
	nc = netsvctest.Join(t, join("talk"))
	nc.Send("hello")
	nc.Until("<guest-1> hello")
	nc.Conn.Close()
	port = join("crash")
	s.Stop()
	s.Start() // the room was left by a server that has ended
	for _, name := range []string{"lobby", "dev", "said", "topic", "set", "kept", "talk"} {
		if !s.hasRoom(name) {
			t.Error(name, "is not kept")
		}
	}
	if s.hasRoom("crash") {
		t.Error("an unused room is kept")
	}
	ann = s.login("ann")
	if again := join("next"); again != port {
		t.Errorf("port %d is not given out again, but %d", port, again)
	}
}

// The rules for CREATE hold for JOIN.
func TestJoinMayNotCreate(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.MaxRooms = 3 })
	ann := s.login("ann")
	ann.send("JOIN #new")
	ann.until(" 366 ann #new")
	ann.expect("JOIN #more", ":irc.test 437 ann #more :the server has 3 rooms, which is the limit")
	o := s.Options
	o.CreateAnyone = false
	s.Stop()
	s.Options = o
	s.Start()
	ann = s.login("ann")
	ann.expect("JOIN #more", ":irc.test 403 ann #more :there is no room of that name, and only the operator creates rooms")
}

// A line and the last leave race: the room is kept exactly if the line is.
func TestProvisionalRace(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.MaxPerAddress = 0 })
	ann, bob := s.login("ann"), s.login("bob")
	for i := range 40 {
		room := fmt.Sprintf("r%d", i%3)
		var both sync.WaitGroup
		both.Go(func() { ann.send("JOIN #"+room, "PART #"+room, "JOIN #"+room, "PART #"+room) })
		both.Go(func() {
			if i%4 == 3 {
				bob.send("JOIN #"+room, "PRIVMSG #"+room+" :"+room, "PART #"+room)
			} else {
				bob.send("JOIN #"+room, "PART #"+room)
			}
		})
		both.Wait()
		ann.sync()
		got := bob.sync()
		if i%4 != 3 {
			continue
		}
		if d, err := s.Service.Room(room); err != nil || d.Lines == 0 {
			t.Fatalf("%v, %v, %q", d, err, got)
		}
		if err := s.Service.Delete(room, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		eventually(t, "a room stays", func() bool { return !s.hasRoom(fmt.Sprintf("r%d", i)) })
	}
}
