package netsvc_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"roomd/netsvc"
)

// nowhere is an address that no machine has (RFC 5737).
var nowhere = netip.MustParseAddr("192.0.2.77")

func addrs(texts ...string) (all []netip.Addr) {
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

// reconfigure changes the options of a running server.
func (s *server) reconfigure(change func(*netsvc.Options)) error {
	next := s.Options
	next.Log = s.Options.Log
	change(&next)
	c, err := s.Service.Prepare(next)
	if err != nil {
		return err
	}
	c.Commit()
	s.Options = next
	return nil
}

// reachable dials a port of an address.
func reachable(addr string, port int) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// An address that the machine does not have keeps the server from nothing: the
// others are listened on, and what is missing is said. A change of options is
// possible meanwhile, and one that adds a missing address is refused.
func TestMissingAddress(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Options.Listen = []netip.Addr{netip.MustParseAddr("127.0.0.1"), nowhere}
		s.Options.Port = int(nextPort.Take(1)) - 1
		s.Start()
		lobby := s.Create("lobby")
		check := func(when string) {
			t.Helper()
			st := s.Service.Status()
			if len(st.Listening) != 1 || st.Listening[0] != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Options.Port)) ||
				len(st.Missing) != 1 || st.Missing[0].Addr != nowhere || st.Missing[0].Cause == "" {
				t.Errorf("%s: %+v", when, st)
			}
			if st.Unbound != 0 || !reachable("127.0.0.1", lobby) || !reachable("127.0.0.1", s.Options.Port) {
				t.Errorf("%s: a port is lost", when)
			}
		}
		check("at the start")
		for range 3 {
			if err := s.reconfigure(func(o *netsvc.Options) { o.Replay++ }); err != nil {
				t.Fatal(err)
			}
		}
		check("after changes of something else")
		if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = append(addrs("192.0.2.78"), o.Listen...) }); err == nil {
			t.Error("an address that is not there can be added")
		}
		check("after a refused change")
		if err := s.reconfigure(func(o *netsvc.Options) { o.Port = int(nextPort.Take(1)) - 1 }); err != nil {
			t.Error(err)
		}
		check("at another port")
		if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs("127.0.0.1") }); err != nil {
			t.Error(err)
		}
		if st := s.Service.Status(); len(st.Missing) != 0 {
			t.Errorf("what is not wanted any more is missing: %+v", st)
		}
	})
}

// Without any address the server starts, and listens as soon as there is one that
// it may have.
func TestNoAddressAtAll(t *testing.T) {
	s := newServer(t)
	s.Options.Listen = []netip.Addr{nowhere}
	s.Options.Port = int(nextPort.Take(1)) - 1
	s.Options.FirstRooms = []string{"lobby"}
	s.Start()
	if st := s.Service.Status(); len(st.Listening) != 0 || len(st.Missing) != 1 {
		t.Fatalf("%+v", st)
	}
	if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs("127.0.0.1") }); err != nil {
		t.Fatal(err)
	}
	if !reachable("127.0.0.1", s.Options.Port) || !reachable("127.0.0.1", s.Service.List()[0].Port) {
		t.Error("a port is not open")
	}
}

// A change between an address and one that covers it comes about or not, and in
// neither case is a port lost: the master's, a room's, or one of a room that is
// made meanwhile.
func TestCoveringAddress(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Options.Port = int(nextPort.Take(1)) - 1
		s.Start()
		lobby, den := s.Create("lobby"), s.Create("den")
		ann := join(t, lobby)
		// One address more, whose port is in use for one room.
		thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.9:%d", den))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs("0.0.0.0") }); err == nil {
				t.Fatal("0.0.0.0 can be had although 127.0.0.9 is in use")
			}
			for _, port := range []int{s.Options.Port, lobby, den} {
				if !reachable("127.0.0.1", port) || reachable("127.0.0.2", port) {
					t.Fatalf("port %d after a refused change", port)
				}
			}
			if st := s.Service.Status(); len(st.Listening) != 1 || st.Listening[0].Addr() != netip.MustParseAddr("127.0.0.1") || len(st.Missing) != 0 {
				t.Fatalf("%+v", st)
			}
		}
		thief.Close()
		for i := range 10 {
			want, other := "0.0.0.0", true
			if i%2 == 1 {
				want, other = "127.0.0.1", false
			}
			made := make(chan int)
			go func() { made <- s.Create(fmt.Sprintf("room-%d", i)) }()
			if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs(want) }); err != nil {
				t.Fatal(err)
			}
			for _, port := range []int{s.Options.Port, lobby, den, <-made} {
				eventually(t, fmt.Sprintf("port %d listens on %s", port, want), func() bool {
					return reachable("127.0.0.1", port) && reachable("127.0.0.2", port) == other
				})
			}
		}
		ann.Send("here")
		ann.Until("<guest-1> here")
	})
}

// The rooms of an empty database are there when the master port opens; a database
// that had rooms gets none.
func TestFirstRooms(t *testing.T) {
	s := newServer(t)
	s.Options.Port = int(nextPort.Take(1)) - 1
	s.Options.FirstRooms = []string{"lobby", "den", "bad name"}
	func() {
		defer func() { s.Options.FirstRooms = s.Options.FirstRooms[:2] }()
		st := s.startFails()
		if n, err := st.Empty(); err != nil || !n {
			t.Errorf("a start that failed has made rooms: %v", err)
		}
		st.Close()
	}()
	answers := make(chan string)
	go func() { // asks as soon as the master port is there
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Options.Port))
			if err != nil {
				<-look.C
				continue
			}
			defer c.Close()
			fmt.Fprintln(c, "LIST")
			b := make([]byte, 100)
			n, _ := c.Read(b)
			answers <- string(b[:n])
			return
		}
	}()
	s.Start()
	if got, want := <-answers, fmt.Sprintf("OK 2\nden %d 0\nlobby %d 0\n", s.Options.Ports[0]+1, s.Options.Ports[0]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := s.Service.Delete("den", ""); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start()
	if got := s.Service.List(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
