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
	next := s.opts
	next.Log = s.opts.Log
	change(&next)
	c, err := s.svc.Prepare(next)
	if err != nil {
		return err
	}
	c.Commit()
	s.opts = next
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
		s.opts.Listen = []netip.Addr{netip.MustParseAddr("127.0.0.1"), nowhere}
		s.opts.Port = int(nextPort.Add(1)) - 1
		s.start()
		lobby := s.create("lobby")
		check := func(when string) {
			t.Helper()
			st := s.svc.Status()
			if len(st.Listening) != 1 || st.Listening[0] != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.opts.Port)) ||
				len(st.Missing) != 1 || st.Missing[0].Addr != nowhere || st.Missing[0].Cause == "" {
				t.Errorf("%s: %+v", when, st)
			}
			if st.Unbound != 0 || !reachable("127.0.0.1", lobby) || !reachable("127.0.0.1", s.opts.Port) {
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
		if err := s.reconfigure(func(o *netsvc.Options) { o.Port = int(nextPort.Add(1)) - 1 }); err != nil {
			t.Error(err)
		}
		check("at another port")
		if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs("127.0.0.1") }); err != nil {
			t.Error(err)
		}
		if st := s.svc.Status(); len(st.Missing) != 0 {
			t.Errorf("what is not wanted any more is missing: %+v", st)
		}
	})
}

// Without any address the server starts, and listens as soon as there is one that
// it may have.
func TestNoAddressAtAll(t *testing.T) {
	s := newServer(t)
	s.opts.Listen = []netip.Addr{nowhere}
	s.opts.Port = int(nextPort.Add(1)) - 1
	s.opts.First = []string{"lobby"}
	s.start()
	if st := s.svc.Status(); len(st.Listening) != 0 || len(st.Missing) != 1 {
		t.Fatalf("%+v", st)
	}
	if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs("127.0.0.1") }); err != nil {
		t.Fatal(err)
	}
	if !reachable("127.0.0.1", s.opts.Port) || !reachable("127.0.0.1", s.svc.List()[0].Port) {
		t.Error("a port is not open")
	}
}

// A change between an address and one that covers it comes about or not, and in
// neither case is a port lost: the master's, a room's, or one of a room that is
// made meanwhile.
func TestCoveringAddress(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.opts.Port = int(nextPort.Add(1)) - 1
		s.start()
		lobby, den := s.create("lobby"), s.create("den")
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
			for _, port := range []int{s.opts.Port, lobby, den} {
				if !reachable("127.0.0.1", port) || reachable("127.0.0.2", port) {
					t.Fatalf("port %d after a refused change", port)
				}
			}
			if st := s.svc.Status(); len(st.Listening) != 1 || st.Listening[0].Addr() != netip.MustParseAddr("127.0.0.1") || len(st.Missing) != 0 {
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
			go func() { made <- s.create(fmt.Sprintf("room-%d", i)) }()
			if err := s.reconfigure(func(o *netsvc.Options) { o.Listen = addrs(want) }); err != nil {
				t.Fatal(err)
			}
			for _, port := range []int{s.opts.Port, lobby, den, <-made} {
				eventually(t, fmt.Sprintf("port %d listens on %s", port, want), func() bool {
					return reachable("127.0.0.1", port) && reachable("127.0.0.2", port) == other
				})
			}
		}
		ann.send("here")
		ann.until("<guest-1> here")
	})
}

// The rooms of an empty database are there when the master port opens; a database
// that had rooms gets none.
func TestFirstRooms(t *testing.T) {
	s := newServer(t)
	s.opts.Port = int(nextPort.Add(1)) - 1
	s.opts.First = []string{"lobby", "den", "bad name"}
	func() {
		defer func() { s.opts.First = s.opts.First[:2] }()
		st := s.startFails()
		if n, err := st.Virgin(); err != nil || !n {
			t.Errorf("a start that failed has made rooms: %v", err)
		}
		st.Close()
	}()
	answers := make(chan string)
	go func() { // asks as soon as the master port is there
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.opts.Port))
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
	s.start()
	if got, want := <-answers, fmt.Sprintf("OK 2\nden %d 0\nlobby %d 0\n", s.opts.Ports[0]+1, s.opts.Ports[0]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := s.svc.Delete("den", func(*netsvc.Room) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start()
	if got := s.svc.List(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
