package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// get makes a request for the page over a connection of its own.
func (s *testServer) get(scheme string) (*http.Response, error) {
	c := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := c.Get(fmt.Sprintf("%s://127.0.0.1:%d/", scheme, s.Service.Port()))
	if err == nil {
		r.Body.Close()
	}
	return r, err
}

// TestTLS has the page and its WebSocket behind TLS, where plain HTTP is redirected.
func TestTLS(t *testing.T) {
	for _, portable := range []bool{false, true} {
		certificate := netsvctest.Certificate(t, "test", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		s := serve(t, func(o *netsvc.Options, w *Options) {
			o.Portable, w.TLS = portable, true
			o.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
		})
		for scheme, want := range map[string]int{"https": 200, "http": 308} {
			if r, err := s.get(scheme); err != nil || r.StatusCode != want || want == 308 && !strings.HasPrefix(r.Header.Get("Location"), "https://127.0.0.1:") {
				t.Error(portable, scheme, r, err)
			}
		}
		c, _, err := websocket.Dial(patience(t), fmt.Sprintf("wss://127.0.0.1:%d/ws", s.Service.Port()), &websocket.DialOptions{
			Subprotocols: []string{Protocol}, HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := &tester{Conn: c, t: t}
		if hello := p.next(); !hello.ev.TLS {
			t.Errorf("%+v", hello)
		}
		p.send("lobby", strings.Repeat("x", 4000), "/ping")
		p.until("lobby", "pong", "")
		p.Close(websocket.StatusNormalClosure, "")
		s.Stop()
	}
}

// conns returns the states of all connections.
func (s *testServer) conns() (all string) {
	for _, c := range s.Service.Conns("") {
		all += c.State + " "
	}
	return strings.TrimSpace(all)
}

// TestConnections are counted, shown, ended by the operator and by bans, whatever they speak, and end by
// themselves if they say nothing.
func TestConnections(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.MaxPerAddress = 3 })
	half := netsvctest.Dial(t, s.Service.Port())
	half.Send("GET / HTTP/1.1\r", "Host: x\r")
	netsvctest.Eventually(t, "half a request", func() bool { return s.conns() == "http" })
	p := s.dial()
	if got := s.conns(); got != "http web" {
		t.Error(got)
	}
	keep := netsvctest.Dial(t, s.Service.Port())
	keep.Send("HEAD / HTTP/1.1\r", "Host: 127.0.0.1\r", "\r")
	keep.Until("HTTP/1.1 200")
	if s.tryDial() != nil || s.Service.Connections() != 3 {
		t.Error("a fourth connection is not refused")
	}
	keep.Conn.Close()
	netsvctest.Eventually(t, "the end of a connection", func() bool { return s.Service.Connections() == 2 })
	for _, c := range s.Service.Conns("") {
		if c.State == "http" {
			if n, err := s.Service.Disconnect([]string{c.Remote}); n != 1 || err != nil {
				t.Error(n, err)
			}
		}
	}
	if _, err := io.ReadAll(half.In); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	netsvctest.Eventually(t, "the end of a connection", func() bool { return s.Service.Connections() == 1 })
	if _, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if code := p.closed(); code != websocket.StatusPolicyViolation {
		t.Error(code)
	}
	if s.tryDial() != nil {
		t.Error("a banned address is not refused")
	}
}

// TestClientBehindProxies is counted, shown and banned by its own address.
func TestClientBehindProxies(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, w *Options) {
		o.MaxPerAddress, w.Proxies = 1, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.HTTPProxies = w.Proxies
	})
	from := func(client string) *tester {
		c, _, err := websocket.Dial(patience(t), fmt.Sprintf("ws://127.0.0.1:%d/ws", s.Service.Port()), &websocket.DialOptions{
			Subprotocols: []string{Protocol}, HTTPHeader: http.Header{"X-Forwarded-For": {client}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return &tester{Conn: c, t: t}
	}
	one, two := from("192.0.2.1"), from("192.0.2.2")
	one.next()
	two.next()
	if c := s.Service.Conns("192.0.2.1"); len(c) != 1 || c[0].State != "web" {
		t.Error(c)
	}
	if code := from("192.0.2.1").closed(); code != websocket.StatusPolicyViolation {
		t.Error(code)
	}
	if _, _, err := s.Service.Ban(store.Ban{Addr: "192.0.2.2"}); err != nil {
		t.Fatal(err)
	}
	if code := two.closed(); code != websocket.StatusPolicyViolation {
		t.Error(code)
	}
	if code := from("192.0.2.2").closed(); code != websocket.StatusPolicyViolation {
		t.Error(code)
	}
	one.send("", "LIST")
	one.until("", "ok", "list")
	one.CloseNow()
	netsvctest.Eventually(t, "the end of all", func() bool { return s.Service.Connections() == 0 })
}

// TestProxyHeader says who the client is, for HTTP too.
func TestProxyHeader(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) {
		o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	dialer := &http.Transport{DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 192.0.2.7 127.0.0.1 4711 8080\r\n")
		}
		return c, err
	}}
	c, _, err := websocket.Dial(patience(t), fmt.Sprintf("ws://127.0.0.1:%d/ws", s.Service.Port()), &websocket.DialOptions{
		Subprotocols: []string{Protocol}, HTTPClient: &http.Client{Transport: dialer},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &tester{Conn: c, t: t}
	p.send("lobby", "/ping")
	p.until("lobby", "pong", "")
	if m, err := s.Service.Members("lobby"); err != nil || len(m) != 1 || m[0].Remote != "192.0.2.7:4711" || m[0].Door != "web" {
		t.Error(m, err)
	}
	p.CloseNow()
}

// TestAddressOfItsOwn has the page on another port, and the master port refuses HTTP.
func TestAddressOfItsOwn(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, w *Options) {
		o.Doors = []netsvc.DoorOptions{{Door: New(*w), Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}}
	})
	if r, err := s.get("http"); err != nil || r.StatusCode != 400 {
		t.Error(r, err)
	}
	c, _, err := websocket.Dial(patience(t), fmt.Sprintf("ws://%s/ws", s.Service.Doors()[0].Listening[0]), &websocket.DialOptions{Subprotocols: []string{Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	p := &tester{Conn: c, t: t}
	p.send("lobby", "hello")
	p.until("lobby", "message", "hello")
	p.CloseNow()
}
