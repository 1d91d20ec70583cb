package netsvc_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"

	"roomd/netsvc"
)

// dialFrom is dial from another address of this machine.
func dialFrom(t testing.TB, from string, port int) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newPeer(t, c.(*net.TCPConn))
}

func (s *server) createLocked(name, password string) int {
	s.T.Helper()
	info, _, err := s.Service.Create(name, netsvc.Creation{Password: password})
	if err != nil {
		s.T.Fatal(err)
	}
	return info.Port
}

// A client that gives no password is disconnected, and members stay when the operator changes the
// password or removes it.
func TestPasswordOfTheOperator(t *testing.T) {
	s := startServer(t)
	s.Options.Log = slog.New(slog.DiscardHandler)
	port := s.Create("den")
	ann := join(t, port)
	if err := s.Service.SetPassword("den", "a\u0000b"); err == nil {
		t.Error("a control character is no password")
	}
	if err := s.Service.SetPassword("den", "cafe\u0301"); err != nil {
		t.Fatal(err)
	}
	bob := dial(t, port)
	bob.Expect("* this room has a password: /pass PASSWORD")
	bob.Send("/pass café")
	bob.Until("* guest-2 joined")
	ann.Until("* guest-2 joined")
	if err := s.Service.SetPassword("DEN", ""); err != nil {
		t.Fatal(err)
	}
	join(t, port)
	ann.Send("still here")
	ann.Until("<guest-1> still here")
	if err := s.Service.SetPassword("nowhere", "x"); err == nil {
		t.Error("there is no such room")
	}
	db, err := os.ReadFile(s.Path)
	if err != nil || bytes.Contains(db, []byte("cafe")) || bytes.Contains(db, []byte("café")) {
		t.Error("the password is on disk", err)
	}
}

// Input before the password takes little memory, and a room that closes tells the clients that wait.
func TestCrowdBeforeTheGate(t *testing.T) {
	s := startServer(t)
	s.Options.MaxConnections = 5000
	port := s.createLocked("den", "secret")
	var waiting []*peer
	for range 1024 + 10 {
		waiting = append(waiting, dial(t, port))
	}
	for _, p := range waiting[:10] {
		p.Expect("* this room has a password: /pass PASSWORD", "* very many are waiting here; try again")
		p.End()
	}
	last := waiting[len(waiting)-1]
	last.Expect("* this room has a password: /pass PASSWORD")
	last.Send("/pass secret")
	last.Until("* den: 1 here")
	if n := s.members("den"); n != 1 {
		t.Errorf("%d members", n)
	}
	if n := s.Service.Counters().Passwords.Evicted; n != 10 {
		t.Errorf("%d had to make room", n)
	}
	if err := s.Service.Delete("den", ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range waiting[10:20] {
		p.Expect("* this room has a password: /pass PASSWORD", "* den: chat room being deleted")
		p.End()
	}
}

// A password that is taken away keeps no waiting connection out. When it is replaced, a
// waiting connection gives the new one.
func TestWaitingForAPasswordThatGoes(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port := s.createLocked("den", "secret")
		var all []*peer
		for range 3 {
			p := dial(t, port)
			p.Expect("* this room has a password: /pass PASSWORD")
			all = append(all, p)
		}
		if err := s.Service.SetPassword("den", "sesame"); err != nil {
			t.Fatal(err)
		}
		all[0].Send("/pass sesame")
		all[0].Until("* den: 1 here")
		if err := s.Service.SetPassword("den", ""); err != nil {
			t.Fatal(err)
		}
		for _, p := range all[1:] {
			p.Expect("* the room has no password any more; connect again")
			p.End()
		}
		join(t, port)
		if found := s.Service.Inconsistencies(); len(found) > 0 {
			t.Error(found)
		}
	})
}
