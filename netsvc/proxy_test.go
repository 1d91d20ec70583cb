package netsvc_test

import (
	"crypto/tls"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/store"
)

// behindProxy has the server trust this machine's proxies.
func (s *server) behindProxy() {
	s.Options.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

const proxyV1 = "PROXY TCP4 192.0.2.7 127.0.0.1 51234 9000\r\n"

// through connects as a proxy does for a client at 192.0.2.7.
func through(t *testing.T, port int) *peer {
	t.Helper()
	p := dial(t, port)
	if _, err := p.Conn.Write([]byte(proxyV1)); err != nil {
		t.Fatal(err)
	}
	return p
}

// A member and a client of the master port are seen with the address that the proxy names;
// both live in the event loops, and limits and bans are about them.
func TestProxy(t *testing.T) {
	s := newServer(t)
	s.behindProxy()
	s.Options.MaxPerAddress = 2
	s.Start()
	master := through(t, s.Service.Port())
	master.Send("CREATE lobby")
	if l := master.Line(); !strings.HasPrefix(l, "OK lobby ") {
		t.Fatal(l)
	}
	port := s.Room("lobby").Port
	ann := through(t, port)
	ann.Until("* guest-1 joined")
	members, err := s.Service.Members("lobby")
	if err != nil || len(members) != 1 || members[0].Remote != "192.0.2.7:51234" {
		t.Fatalf("%+v, %v", members, err)
	}
	third := through(t, port)
	third.Until("* lobby: your address has 2 connections here")
	other := dial(t, port)
	other.Conn.Write([]byte("PROXY TCP4 192.0.2.8 127.0.0.1 51234 9000\r\nhello\r\n"))
	other.Until("<guest-2> hello")
	ann.Until("<guest-2> hello")
	if _, _, err := s.Service.Ban(store.Ban{Addr: "192.0.2.8"}); err != nil {
		t.Fatal(err)
	}
	other.Until("* lobby: you are banned")
	for _, to := range []int{port, s.Service.Port()} {
		again := dial(t, to)
		again.Conn.Write([]byte("PROXY TCP4 192.0.2.8 127.0.0.1 51234 9000\r\nLIST\n"))
		if l := again.Line(); !strings.Contains(l, "banned") {
			t.Errorf("port %d: %q", to, l)
		}
	}
	ann.HalfClose()
	master.HalfClose()
	eventually(t, "all connections are given back", func() bool { return s.Service.Connections() == 0 })
}

// What comes from a listed proxy without a header is refused; what a proxy does for itself is
// no refusal.
func TestProxyHeaderComesFirst(t *testing.T) {
	s := newServer(t)
	s.behindProxy()
	s.Start()
	port := s.Create("lobby")
	for _, first := range []string{"hello, is anybody there?\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PROXY TCP4 nonsense and more\r\n"} {
		for to, want := range map[int]string{port: "* lobby: ", s.Service.Port(): "ERR bad-request "} {
			p := dial(t, to)
			p.Conn.Write([]byte(first))
			if l := p.Line(); !strings.HasPrefix(l, want) || !strings.Contains(l, "PROXY header") {
				t.Errorf("%q to %d: %q", first, to, l)
			}
		}
	}
	if n := s.Service.Counters().Refused["proxy"]; n != 6 {
		t.Errorf("%d are counted", n)
	}
	probe := dial(t, port)
	probe.HalfClose()
	probe.End()
	check := dial(t, port)
	check.Conn.Write([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")) // LOCAL
	check.Until("* guest-1 joined")
	check.HalfClose()
	eventually(t, "it has left", func() bool { return s.Room("lobby").Members == 0 })
	if n := s.Service.Counters().Refused["proxy"]; n != 6 {
		t.Errorf("%d are counted", n)
	}
}

// From any other address a header is refused.
func TestProxyHeaderOfAStranger(t *testing.T) {
	s := newServer(t)
	s.Options.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s.Start()
	through(t, s.Create("lobby"))
	eventually(t, "it is closed and counted", func() bool { return s.Service.Counters().Foreign["proxy"] == 1 && s.Service.Connections() == 0 })
}

// TLS begins behind the header.
func TestProxyAndTLS(t *testing.T) {
	s := newServer(t)
	s.secure()
	s.behindProxy()
	s.Start()
	// Create speaks plain text.
	p := through(t, s.Service.Port())
	c := tls.Client(p.TCP, &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"})
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "CREATE lobby\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 9)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "OK lobby " {
		t.Fatalf("%q, %v", answer, err)
	}
	c.Close()
}

// The master port names the ports that clients are to use.
func TestPortOffset(t *testing.T) {
	s := newServer(t)
	s.Options.PortOffset = 10000
	s.Start()
	m := dial(t, s.Service.Port())
	m.Send("CREATE lobby")
	created := strings.Fields(m.Line())
	port := strconv.Itoa(s.Room("lobby").Port + 10000)
	if len(created) != 4 || created[2] != port {
		t.Errorf("%q, and the port is %s", created, port)
	}
	m.Send("LIST")
	m.Expect("OK 1", "lobby "+port+" 0")
	m.Send("JOIN lobby")
	m.Expect("OK lobby " + port + " 0")
}

// Checks of a proxy that end with a reset, as those of HAProxy, are no refusals, and watchers do not
// see them.
func TestProxyChecksByReset(t *testing.T) {
	s := newServer(t)
	s.behindProxy()
	s.Start()
	port := s.Create("lobby")
	w := s.Service.Watch(func(e *netsvc.Event) bool { return e.Type == "refuse" })
	defer w.Close()
	for range 5 {
		dial(t, port).Reset()
		dial(t, port).HalfClose()
		dial(t, s.Service.Port()).Reset()
	}
	refused := through(t, port) // accepted after all of them
	refused.Until("* lobby: ")
	refused.HalfClose()
	eventually(t, "they are closed", func() bool { return s.Service.Connections() == 0 })
	select {
	case e := <-w.C:
		t.Errorf("%+v", e)
	default:
	}
	for why, n := range s.Service.Counters().Refused {
		if n > 0 {
			t.Errorf("%d are refused for %s", n, why)
		}
	}
}

// A connection through a proxy counts once, and a refusal is about the client.
func TestProxyAtLimits(t *testing.T) {
	s := newServer(t)
	s.behindProxy()
	s.Options.MaxConnections, s.Options.MaxPerAddress = 3, 2
	s.Start()
	port := s.Create("lobby")
	w := s.Service.Watch(func(e *netsvc.Event) bool { return e.Type == "refuse" })
	defer w.Close()
	for range 2 {
		through(t, port).Until("* lobby: ")
	}
	for _, to := range []int{port, s.Service.Port()} {
		through(t, to)
		if e := <-w.C; e.Remote != "192.0.2.7:51234" || !strings.Contains(e.Text, "your address has 2 connections") {
			t.Errorf("%+v", e)
		}
	}
	eventually(t, "they are closed", func() bool { return s.Service.Connections() == 2 })
	other := dial(t, port)
	other.Conn.Write([]byte("PROXY TCP4 192.0.2.8 127.0.0.1 51234 9000\r\n"))
	other.Until("* lobby: 3 here")
}

// A header that is half sent when the server stops or the operator ends the connection is not a
// wrong one.
func TestProxyHeaderInterrupted(t *testing.T) {
	s := newServer(t)
	s.behindProxy()
	s.Start()
	for _, to := range []int{s.Create("lobby"), s.Service.Port()} {
		dial(t, to).Conn.Write([]byte("PROXY TC"))
	}
	eventually(t, "they are counted", func() bool { return s.Service.Connections() == 2 })
	svc := s.Service
	s.Stop()
	if c := svc.Counters().Refused; c["proxy"] != 0 || c["closing"] != 2 {
		t.Error(c)
	}
}
