package netsvc_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// A thousand wrong passwords from one address: the room goes on as if nothing
// was, most of them are not even looked at, and the right one from another
// address gets in at once.
func TestGuessing(t *testing.T) {
	s := startServer(t)
	port := s.createLocked("den", "secret")
	s.stop()
	s.start() // now nothing but the hash is known
	const guesses = 1000
	var left atomic.Int64
	left.Store(guesses)
	var all sync.WaitGroup
	defer all.Wait()
	for range 20 {
		all.Go(func() {
			for left.Load() > 0 {
				c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				for i := range 3 {
					fmt.Fprintf(c, "/pass wrong%d\n", i)
					left.Add(-1)
				}
				if text, _ := io.ReadAll(c); strings.Contains(string(text), "you are") {
					t.Errorf("a wrong password let in: %q", text)
				}
				c.Close()
			}
		})
	}
	enter := func() (*peer, time.Duration) {
		began := time.Now()
		p := dial(t, port)
		p.send("/pass secret")
		p.until("* den: ")
		return p, time.Since(began)
	}
	ann, first := enter()
	var took []time.Duration
	var echo []time.Duration
	for left.Load() > 0 || len(took) < 5 {
		p, d := enter()
		took = append(took, d)
		p.conn.Close()
		began := time.Now()
		ann.send(fmt.Sprint("line ", len(echo)))
		ann.until(fmt.Sprint("<guest-1> line ", len(echo)))
		echo = append(echo, time.Since(began))
	}
	slices.Sort(took)
	slices.Sort(echo)
	t.Logf("in for the first time in %v; %d times during the attack, in %v at best, %v in the middle, %v at worst; a line in %v in the middle, %v at worst",
		first, len(took), took[0], took[len(took)/2], took[len(took)-1], echo[len(echo)/2], echo[len(echo)-1])
	if took[len(took)/2] > 100*time.Millisecond {
		t.Errorf("the right password took %v at first, and later %v", first, took)
	}
	all.Wait()
	p := s.svc.Counters().Passwords
	if p.Wrong+p.Held < guesses || p.Wrong > 20 || p.Right < 6 {
		t.Errorf("counted: %+v", p)
	}
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
