package netsvc_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/wire"
	"roomd/store"
)

// code is the code of a refusal; "" for none.
func code(err error) string {
	c, _, _ := netsvc.ClientError(err)
	if c == "" && err != nil {
		return err.Error()
	}
	return c
}

// A room is renamed and moved while its members stay, and has its new name and port after a restart.
func TestRenameAndMove(t *testing.T) {
	s := startServer(t)
	old, _ := s.Create("Lobby"), s.Create("dev")
	ann := join(t, old)
	if _, err := s.Service.Rename("lobby", "dev"); code(err) != wire.CodeExists {
		t.Errorf("the name of another room: %v", err)
	}
	if _, err := s.Service.Rename("lobby", "a b"); code(err) != wire.CodeBadName {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := s.Service.Rename("lobby", "LOBBY"); err != nil {
		t.Errorf("another spelling: %v", err)
	}
	ann.Expect("* the operator renamed this room: Lobby is LOBBY now")
	if _, err := s.Service.Rename("lobby", "hall"); err != nil {
		t.Fatal(err)
	}
	ann.Expect("* the operator renamed this room: LOBBY is hall now")
	if _, err := s.Service.Move("hall", s.Options.Ports[0]+1); code(err) != wire.CodeExists {
		t.Errorf("the port of another room: %v", err)
	}
	if _, err := s.Service.Move("hall", s.Service.Port()); code(err) != wire.CodeExists {
		t.Errorf("the master port: %v", err)
	}
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.Options.Ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := s.Service.Move("hall", s.Options.Ports[1]); code(err) != wire.CodeNoPort {
		t.Errorf("a port of another program: %v", err)
	}
	port := s.Options.Ports[1] - 1
	if info, err := s.Service.Move("hall", port); err != nil || info.Port != port {
		t.Fatal(info, err)
	}
	ann.Expect(fmt.Sprintf("* the operator moved this room: it is on port %d from now on; members who are here stay", port))
	bob := join(t, port)
	ann.Until("* guest-2 joined")
	bob.Send("found it")
	ann.Expect("<guest-2> found it")
	eventually(t, "the old port is left", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", old))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if p := s.Service.Ports(); len(p.Resting) != 2 || p.Resting[1] != old { // the other one is busy
		t.Errorf("%+v", p)
	}
	if got := s.Service.Inconsistencies(); got != nil {
		t.Error(got)
	}
	s.Stop()
	s.Start()
	join(t, port).Send("/quit")
	if r, err := s.Service.Room("hall"); err != nil || r.Port != port || r.Lines != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := s.Service.Room("lobby"); code(err) != wire.CodeNoRoom {
		t.Error(err)
	}
}

// A room with a chosen port, within the range and outside of it.
func TestCreateAtPort(t *testing.T) {
	s := startServer(t)
	within, outside := s.Options.Ports[1], s.Options.Ports[1]+1
	for name, port := range map[string]int{"in": within, "out": outside} {
		if info, _, err := s.Service.Create(name, netsvc.Creation{Port: port}); err != nil || info.Port != port {
			t.Fatal(info, err)
		}
		join(t, port)
		if _, _, err := s.Service.Create("again", netsvc.Creation{Port: port}); code(err) != wire.CodeExists {
			t.Errorf("a port that has a room: %v", err)
		}
	}
	if _, _, err := s.Service.Create("again", netsvc.Creation{Port: 70000}); code(err) != wire.CodeBadRequest {
		t.Error(err)
	}
}

// An operator that renames, moves and sets a room while others delete it: the
// room is gone or there, and memory and disk agree.
func TestAlterAndDelete(t *testing.T) {
	s := startServer(t)
	for i := range 20 {
		s.Create("lobby")
		var all sync.WaitGroup
		all.Go(func() { s.Service.Rename("lobby", "hall") })
		all.Go(func() { s.Service.Move("lobby", s.Options.Ports[1]-i%3) })
		all.Go(func() { s.Service.Set("lobby", func(o *store.Settings) { o.ReadOnly = true }) })
		all.Go(func() { s.Service.Delete("lobby", "") })
		all.Wait()
		for _, r := range s.Service.List() {
			if err := s.Service.Delete(r.Name, ""); err != nil {
				t.Fatal(err)
			}
		}
		if p := s.Service.Ports(); p.Free != p.Last-p.First+1 || p.Bound != 0 {
			t.Fatalf("%+v", p)
		}
	}
}

// What the operator sets for one room holds for that room, at once and after a
// restart.
func TestSettings(t *testing.T) {
	s := startServer(t)
	lobby, dev := s.Create("lobby"), s.Create("dev")
	ann := join(t, lobby)
	ann.Send("one", "two", "three")
	ann.Until("<guest-1> three")
	set := func(fn func(*store.Settings)) {
		t.Helper()
		if _, err := s.Service.Set("lobby", fn); err != nil {
			t.Fatal(err)
		}
	}
	one := 1
	set(func(o *store.Settings) { o.Members, o.Replay = &one, &one })
	dial(t, lobby).Expect("* lobby: the room is full: it has 1 member, which is the limit")
	set(func(o *store.Settings) { o.Members = nil })
	bob := dial(t, lobby)
	bob.Until("* 1 earlier line")
	bob.Expect("<guest-1> three", "* end of earlier lines")
	ann.Until("* guest-2 joined")

	set(func(o *store.Settings) { o.ReadOnly = true })
	ann.Expect("* the operator made this room read-only")
	ann.Send("heard?", "/me tries", "/topic x", "/ping")
	ann.Expect("* not sent: the room is read-only", "* not sent: the room is read-only", "* not sent: the room is read-only")
	ann.Until("* pong ")
	bob.Until("* the operator made this room read-only")

	zero := 0
	set(func(o *store.Settings) { o.Quiet = &zero })
	cid := dial(t, lobby)
	cid.Until("* end of earlier lines")
	if _, err := s.Service.Say("lobby", "marker"); err != nil {
		t.Fatal(err)
	}
	bob.Expect("* operator: marker")
	s.Stop()
	s.Start()
	ann = dial(t, lobby)
	ann.Send("again")
	ann.Until("* not sent: the room is read-only")
	dan := join(t, dev)
	dan.Send("here one may speak")
	dan.Expect("<guest-1> here one may speak")
	set(func(o *store.Settings) { *o = store.Settings{} })
	ann.Expect("* this room is open for writing again")
	ann.Send("at last")
	ann.Until("<guest-1> at last")
}

// An operator need not wait for the server's next try.
func TestRebind(t *testing.T) {
	s := startServer(t)
	lobby := s.Create("lobby")
	if _, err := s.Service.Rebind("lobby"); code(err) != wire.CodeExists {
		t.Error(err)
	}
	s.Stop()
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lobby))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if p := s.Service.Ports(); len(p.Unbound) != 1 || p.Unbound[0].Room != "lobby" || !strings.Contains(p.Unbound[0].Cause, "another program") {
		t.Errorf("%+v", p)
	}
	if n := s.Service.States(); n["unbound"] != 1 || n["open"] != 0 {
		t.Error(n)
	}
	if _, err := s.Service.Rebind("lobby"); code(err) != wire.CodeNoPort {
		t.Error(err)
	}
	thief.Close()
	if _, err := s.Service.Rebind("lobby"); err != nil && code(err) != wire.CodeExists { // the server may have been faster
		t.Error(err)
	}
	join(t, lobby)
	var refusal *wire.Error
	if _, err := s.Service.Rebind("lobby"); !errors.As(err, &refusal) {
		t.Error(err)
	}
}
