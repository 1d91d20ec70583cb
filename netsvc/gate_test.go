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
	s.t.Helper()
	info, _, err := s.svc.Create(name, netsvc.Creation{Password: password})
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Port
}

// Who waits for ever before the gate is let go, and who is in stays when the
// operator changes the password or takes it away.
func TestPasswordOfTheOperator(t *testing.T) {
	s := startServer(t)
	s.opts.Log = slog.New(slog.DiscardHandler)
	port := s.create("den")
	ann := join(t, port)
	if err := s.svc.SetPassword("den", "a\u0000b"); err == nil {
		t.Error("a control character is no password")
	}
	if err := s.svc.SetPassword("den", "cafe\u0301"); err != nil {
		t.Fatal(err)
	}
	bob := dial(t, port)
	bob.expect("* this room has a password: /pass PASSWORD")
	bob.send("/pass café")
	bob.until("* guest-2 joined")
	ann.until("* guest-2 joined")
	if err := s.svc.SetPassword("DEN", ""); err != nil {
		t.Fatal(err)
	}
	join(t, port)
	ann.send("still here")
	ann.until("<guest-1> still here")
	if err := s.svc.SetPassword("nowhere", "x"); err == nil {
		t.Error("there is no such room")
	}
	db, err := os.ReadFile(s.path)
	if err != nil || bytes.Contains(db, []byte("cafe")) || bytes.Contains(db, []byte("café")) {
		t.Error("the password is on disk", err)
	}
}

// What is said before the gate costs no more than a little memory, and a room
// that closes lets everybody there know.
func TestCrowdBeforeTheGate(t *testing.T) {
	s := startServer(t)
	s.opts.Connections = 5000
	port := s.createLocked("den", "secret")
	var waiting []*peer
	for range 1024 + 10 {
		waiting = append(waiting, dial(t, port))
	}
	for _, p := range waiting[:10] {
		p.expect("* this room has a password: /pass PASSWORD", "* very many are waiting here; try again")
		p.end()
	}
	last := waiting[len(waiting)-1]
	last.expect("* this room has a password: /pass PASSWORD")
	last.send("/pass secret")
	last.until("* den: 1 here")
	if n := s.members("den"); n != 1 {
		t.Errorf("%d members", n)
	}
	if n := s.svc.Counters().Passwords.Crowded; n != 10 {
		t.Errorf("%d had to make room", n)
	}
	if err := s.svc.Delete("den", func(*netsvc.Room) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, p := range waiting[10:20] {
		p.expect("* this room has a password: /pass PASSWORD", "* den: chat room being deleted")
		p.end()
	}
}
