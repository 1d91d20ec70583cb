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
	lobby, dev := s.Create("lobby"), s.Create("dev")
	join(t, lobby).Send("kept")
	s.Stop()
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lobby))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	join(t, dev)
	m := dial(t, s.Service.Port())
	m.Send("LIST")
	m.Expect("OK 2", fmt.Sprintf("dev %d 1", dev), fmt.Sprintf("lobby %d 0", lobby))
	m.Send("JOIN lobby", "CREATE LOBBY")
	m.ExpectErrors(wire.CodeBusy, wire.CodeExists)
	thief.Close()
	eventually(t, "the room is bound again", func() bool {
		for _, i := range s.Service.List() {
			if i.Name == "lobby" {
				return i.Unbound == ""
			}
		}
		return false
	})
	p := dial(t, lobby)
	p.Until("<guest-1> kept")
}

// An unbound room can be deleted, and the server stopped, while it waits.
func TestDeleteUnbound(t *testing.T) {
	s := startServer(t)
	lobby := s.Create("lobby")
	other := s.Create("other")
	s.Stop()
	for _, port := range []int{lobby, other} {
		thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer thief.Close()
	}
	s.Start()
	m := dial(t, s.Service.Port())
	m.Send("DELETE lobby", "LIST")
	m.Expect("OK lobby", "OK 1", fmt.Sprintf("other %d 0", other))
}

// Clients that are still in the backlog when a room is deleted get the
// farewell and not a reset.
func TestBacklogAtDelete(t *testing.T) {
	s := startServer(t)
	for round := range 20 {
		port := s.Create("lobby")
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
			dial(t, port).Conn.Close()
		}
		if err := s.Service.Delete("lobby", ""); err != nil {
			t.Fatal(err)
		}
		all.Wait()
	}
}

// stuckMember is a server with a member of the lobby that reads nothing and for which much
// is pending, and one that has read all.
func stuckMember(t *testing.T) (s *server, stuck, ann *peer) {
	s = startServer(t)
	port := s.Create("lobby")
	stuck, ann = join(t, port), join(t, port)
	const lines = 8000
	go func() {
		for i := range lines {
			fmt.Fprintf(ann.Conn, "%d %s\n", i, strings.Repeat("x", 1000))
		}
	}()
	ann.collect(lines)
	return s, stuck, ann
}

// A stuck member does not hold up a deletion for longer than its bound.
func TestDeleteWithStuckMember(t *testing.T) {
	s, stuck, ann := stuckMember(t)
	m := dial(t, s.Service.Port())
	m.Send("DELETE lobby")
	ann.Until("* lobby: chat room being deleted")
	ann.End()
	ann.Conn.Close()
	m.Expect("OK lobby")
	stuck.Conn.Close()
}

// Nor does one that has closed its side and does not take what is pending.
func TestDeleteWithStuckLeaver(t *testing.T) {
	s, stuck, ann := stuckMember(t)
	stuck.HalfClose()
	ann.Until("* guest-1 left")
	m := dial(t, s.Service.Port())
	m.Send("DELETE lobby")
	ann.Until("* lobby: chat room being deleted")
	ann.Conn.Close()
	m.Expect("OK lobby")
}

// Freed ports go to the end of the queue, across restarts.
func TestPortsRest(t *testing.T) {
	s := newServer(t)
	s.Options.Ports[1] = s.Options.Ports[0] + 3
	s.Start()
	first := s.Options.Ports[0]
	remove := func(name string) {
		t.Helper()
		if err := s.Service.Delete(name, ""); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name string, port int) {
		t.Helper()
		if got := s.Create(name); got != port {
			t.Fatalf("%s is on %d, want %d", name, got, port)
		}
	}
	want("a", first)
	want("b", first+1)
	remove("b")
	remove("a")
	want("c", first+2)
	s.Stop()
	s.Start()
	want("d", first+3)
	want("e", first+1) // it has rested longest
	want("f", first)
	_, _, err := s.Service.Create("g", netsvc.Creation{})
	if code, _, _ := netsvc.ClientError(err); code != wire.CodeNoPort {
		t.Fatal(err)
	}
}

// Ports that others use are passed over and keep their place; the master port
// may lie in the range.
func TestPortsInUse(t *testing.T) {
	s := newServer(t)
	first := s.Options.Ports[0]
	s.Options.Port = first
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+1))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if got := s.Create("a"); got != first+2 {
		t.Fatalf("a is on %d", got)
	}
	thief.Close()
	if got := s.Create("b"); got != first+1 {
		t.Fatalf("b is on %d", got)
	}
}

func TestLimits(t *testing.T) {
	s := newServer(t)
	s.Options.MaxConnections, s.Options.MaxPerAddress, s.Options.MaxRooms = 3, 2, 1
	s.Start()
	port := s.Create("lobby")
	a, b := join(t, port), join(t, port)
	c := dial(t, port)
	c.Expect("* lobby: your address has 2 connections here, which is the limit")
	c.End()
	m := dial(t, s.Service.Port())
	m.ExpectErrors(wire.CodeBusy)
	m.End()
	if n := s.Service.Counters().Refused["address"]; n != 2 {
		t.Errorf("%d connections are refused because of their address", n)
	}
	a.Reset()
	b.Until("* guest-1 left")
	var after *peer
	eventually(t, "there is room again", func() bool {
		after = dial(t, s.Service.Port())
		after.Send("CREATE another")
		l, _ := after.Next()
		return strings.HasPrefix(l, "ERR full ")
	})
}

// Requests of many clients at once, pipelined, while one says nothing at all.
func TestMasterManyAtOnce(t *testing.T) {
	s := startServer(t)
	quiet := dial(t, s.Service.Port())
	half := dial(t, s.Service.Port())
	io.WriteString(half.Conn, "LIS")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			p := dial(t, s.Service.Port())
			name := fmt.Sprintf("room%d", i)
			p.Send("CREATE "+name, "LIST "+name, "CREATE "+name, "HELP", "DELETE "+name, "QUIT")
			if l := p.Line(); !strings.HasPrefix(l, "OK "+name+" ") {
				t.Errorf("%s: %q", name, l)
			}
			p.Until("ERR exists")
			p.Until("OK " + name)
			p.Expect("OK bye")
			p.End()
		})
	}
	all.Wait()
	quiet.Send("LIST")
	quiet.Expect("OK 0")
	half.Send("T")
	half.Expect("OK 0")
}

// An idle connection to the master port is closed.
func TestMasterIdle(t *testing.T) {
	s := newServer(t)
	s.Options.MasterIdle = 50 * time.Millisecond
	s.Start()
	dial(t, s.Service.Port()).End()
}

// Who may delete.
func TestCreatorMayDelete(t *testing.T) {
	s := newServer(t)
	s.Options.Delete = netsvc.Creator
	s.Start()
	ann, bob := dial(t, s.Service.Port()), dial(t, s.Service.Port())
	key := func(p *peer, name string) string {
		p.Send("CREATE " + name)
		f := strings.Fields(p.Line())
		return f[len(f)-1]
	}
	key(ann, "one")
	two := key(ann, "two")
	bob.Send("DELETE one", "DELETE one "+two, "DELETE two "+two)
	bob.ExpectErrors("denied", "denied")
	bob.Expect("OK two")
	ann.Send("DELETE one")
	ann.Expect("OK one")
	three := key(ann, "three")
	s.Stop()
	s.Start()
	ann = dial(t, s.Service.Port())
	ann.Send("DELETE three", "DELETE three "+three)
	ann.ExpectErrors("denied")
	ann.Expect("OK three")
}

// When no port is free CREATE says so, whoever has them, the rest goes on, and it
// works again as soon as one is.
func TestNoFreePort(t *testing.T) {
	s := newServer(t)
	s.Options.Ports[1] = s.Options.Ports[0] + 1
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.Options.Ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.Start()
	ann := join(t, s.Create("a"))
	m := dial(t, s.Service.Port())
	none := "ERR " + wire.CodeNoPort + " "
	m.Send("CREATE b")
	m.Until(none)
	other.Close()
	m.Send("CREATE b", "CREATE c", "LIST c")
	m.Until("OK b")
	m.Until(none)
	m.Until("OK 0")
	ann.Send("still here")
	ann.Until("<guest-1> still here")
	m.Send("DELETE b", "CREATE c")
	m.Until("OK b")
	m.Until("OK c")
}
