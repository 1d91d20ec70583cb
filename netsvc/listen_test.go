package netsvc_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// A port that another program took meanwhile: the room waits, the others serve,
// and it comes back by itself.
func TestStolenPort(t *testing.T) {
	s := startServer(t)
	lobby, dev := s.create("lobby"), s.create("dev")
	join(t, lobby).send("kept")
	s.stop()
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lobby))
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	join(t, dev)
	m := dial(t, s.svc.Port())
	m.send("LIST")
	m.expect("OK 2", fmt.Sprintf("dev %d 1", dev), fmt.Sprintf("lobby %d 0", lobby))
	m.send("JOIN lobby", "CREATE LOBBY")
	m.expect(fmt.Sprintf("ERR busy lobby is not reachable at the moment: port %d is in use by another program; the server keeps trying", lobby))
	m.expect("ERR exists a room named lobby is already there")
	thief.Close()
	eventually(t, "the room is bound again", func() bool {
		for _, i := range s.svc.List() {
			if i.Name == "lobby" {
				return i.Unbound == ""
			}
		}
		return false
	})
	p := dial(t, lobby)
	p.until("<guest-1> kept")
}

// An unbound room can be deleted, and the server stopped, while it waits.
func TestDeleteUnbound(t *testing.T) {
	s := startServer(t)
	lobby := s.create("lobby")
	other := s.create("other")
	s.stop()
	for _, port := range []int{lobby, other} {
		thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer thief.Close()
	}
	s.start()
	m := dial(t, s.svc.Port())
	m.send("DELETE lobby", "LIST")
	m.expect("OK lobby", "OK 1", fmt.Sprintf("other %d 0", other))
}

// Clients that are still in the backlog when a room is deleted get the
// farewell and not a reset.
func TestBacklogAtDelete(t *testing.T) {
	s := startServer(t)
	for round := range 20 {
		port := s.create("lobby")
		var all sync.WaitGroup
		start := make(chan bool)
		for range 10 {
			all.Go(func() {
				<-start
				c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					return // it came too late
				}
				defer c.Close()
				c.SetReadDeadline(time.Now().Add(patience))
				text, err := io.ReadAll(c)
				if err != nil || !strings.HasSuffix(string(text), "* lobby: chat room being deleted\n") {
					t.Errorf("round %d: %q, %v", round, text, err)
				}
			})
		}
		close(start)
		for i := 0; i < round; i++ {
			dial(t, port).conn.Close()
		}
		if err := s.svc.Delete("lobby", func(*netsvc.Room) error { return nil }); err != nil {
			t.Fatal(err)
		}
		all.Wait()
	}
}

// A stuck member does not hold up a deletion for longer than its bound.
func TestDeleteWithStuckMember(t *testing.T) {
	s := startServer(t)
	port := s.create("lobby")
	stuck, ann := join(t, port), join(t, port)
	const lines = 8000
	go func() {
		for i := range lines {
			fmt.Fprintf(ann.conn, "%d %s\n", i, strings.Repeat("x", 1000))
		}
	}()
	ann.collect(lines)
	m := dial(t, s.svc.Port())
	m.send("DELETE lobby")
	ann.until("* lobby: chat room being deleted")
	ann.end()
	ann.conn.Close()
	m.expect("OK lobby")
	stuck.conn.Close()
}

// Nor does one that has closed its side and does not take what is pending.
func TestDeleteWithStuckLeaver(t *testing.T) {
	s := startServer(t)
	port := s.create("lobby")
	stuck, ann := join(t, port), join(t, port)
	const lines = 8000
	go func() {
		for i := range lines {
			fmt.Fprintf(ann.conn, "%d %s\n", i, strings.Repeat("x", 1000))
		}
	}()
	ann.collect(lines)
	stuck.halfClose()
	ann.until("* guest-1 left")
	m := dial(t, s.svc.Port())
	m.send("DELETE lobby")
	ann.until("* lobby: chat room being deleted")
	ann.conn.Close()
	m.expect("OK lobby")
}

// Freed ports go to the end of the queue, across restarts.
func TestPortsRest(t *testing.T) {
	s := newServer(t)
	s.opts.Ports[1] = s.opts.Ports[0] + 3
	s.start()
	first := s.opts.Ports[0]
	remove := func(name string) {
		t.Helper()
		if err := s.svc.Delete(name, func(*netsvc.Room) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name string, port int) {
		t.Helper()
		if got := s.create(name); got != port {
			t.Fatalf("%s is on %d, want %d", name, got, port)
		}
	}
	want("a", first)
	want("b", first+1)
	remove("b")
	remove("a")
	want("c", first+2)
	s.stop()
	s.start()
	want("d", first+3)
	want("e", first+1) // it has rested longest
	want("f", first)
	_, _, err := s.svc.Create("g", netsvc.Creation{})
	if err == nil || err.Error() != fmt.Sprintf("all ports between %d and %d have a room", first, first+3) {
		t.Fatal(err)
	}
}

// Ports that others use are passed over and keep their place; the master port
// may lie in the range.
func TestPortsInUse(t *testing.T) {
	s := newServer(t)
	first := s.opts.Ports[0]
	s.opts.Port = first
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+1))
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	if got := s.create("a"); got != first+2 {
		t.Fatalf("a is on %d", got)
	}
	thief.Close()
	if got := s.create("b"); got != first+1 {
		t.Fatalf("b is on %d", got)
	}
}

func TestLimits(t *testing.T) {
	s := newServer(t)
	s.opts.Connections, s.opts.PerAddress, s.opts.Rooms = 3, 2, 1
	s.start()
	port := s.create("lobby")
	a, b := join(t, port), join(t, port)
	c := dial(t, port)
	c.expect("* lobby: your address has 2 connections here, which is the limit")
	c.end()
	m := dial(t, s.svc.Port())
	m.expect("ERR busy your address has 2 connections here, which is the limit")
	m.end()
	a.reset()
	b.until("* guest-1 left")
	var after *peer
	eventually(t, "there is room again", func() bool {
		after = dial(t, s.svc.Port())
		after.send("CREATE another")
		l, _ := after.next()
		return l == "ERR full the server has 1 room, which is the limit"
	})
}

// Requests of many clients at once, pipelined, while one says nothing at all.
func TestMasterManyAtOnce(t *testing.T) {
	s := startServer(t)
	quiet := dial(t, s.svc.Port())
	half := dial(t, s.svc.Port())
	io.WriteString(half.conn, "LIS")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			p := dial(t, s.svc.Port())
			name := fmt.Sprintf("room%d", i)
			p.send("CREATE "+name, "LIST "+name, "CREATE "+name, "HELP", "DELETE "+name, "QUIT")
			if l := p.line(); !strings.HasPrefix(l, "OK "+name+" ") {
				t.Errorf("%s: %q", name, l)
			}
			p.until("ERR exists")
			p.until("OK " + name)
			p.expect("OK bye")
			p.end()
		})
	}
	all.Wait()
	quiet.send("LIST")
	quiet.expect("OK 0")
	half.send("T")
	half.expect("OK 0")
}

// An idle connection to the master port is closed.
func TestMasterIdle(t *testing.T) {
	s := newServer(t)
	s.opts.MasterIdle = 50 * time.Millisecond
	s.start()
	dial(t, s.svc.Port()).end()
}

// Who may delete.
func TestCreatorMayDelete(t *testing.T) {
	s := newServer(t)
	s.opts.Delete = netsvc.Creator
	s.start()
	ann, bob := dial(t, s.svc.Port()), dial(t, s.svc.Port())
	key := func(p *peer, name string) string {
		p.send("CREATE " + name)
		f := strings.Fields(p.line())
		return f[len(f)-1]
	}
	key(ann, "one")
	two := key(ann, "two")
	bob.send("DELETE one", "DELETE one "+two, "DELETE two "+two)
	bob.expect("ERR denied only who created one may delete it: DELETE one KEY, with the key that CREATE answered",
		"ERR denied that is not the key of one", "OK two")
	ann.send("DELETE one")
	ann.expect("OK one")
	three := key(ann, "three")
	s.stop()
	s.start()
	ann = dial(t, s.svc.Port())
	ann.send("DELETE three", "DELETE three "+three)
	ann.expect("ERR denied only who created three may delete it: DELETE three KEY, with the key that CREATE answered", "OK three")
}

// When no port is free CREATE says so, whoever has them, the rest goes on, and it
// works again as soon as one is.
func TestNoFreePort(t *testing.T) {
	s := newServer(t)
	s.opts.Ports[1] = s.opts.Ports[0] + 1
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.opts.Ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.start()
	ann := join(t, s.create("a"))
	m := dial(t, s.svc.Port())
	none := "ERR " + wire.CodeNoPort + " "
	m.send("CREATE b")
	m.until(none)
	other.Close()
	m.send("CREATE b", "CREATE c", "LIST c")
	m.until("OK b")
	m.until(none)
	m.until("OK 0")
	ann.send("still here")
	ann.until("<guest-1> still here")
	m.send("DELETE b", "CREATE c")
	m.until("OK b")
	m.until("OK c")
}
