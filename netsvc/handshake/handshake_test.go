package handshake

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"roomd/netsvc/transport"
)

// begin returns a handshake, and the client's end of its connection.
func begin(t *testing.T) (*Handshake, *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return New(server.(*net.TCPConn), netip.MustParseAddrPort(client.LocalAddr().String())), client.(*net.TCPConn)
}

func TestHeader(t *testing.T) {
	for what, c := range map[string]struct {
		do    func(*Handshake, *net.TCPConn)
		named bool
		err   error
	}{
		"a client":    {func(_ *Handshake, c *net.TCPConn) { io.WriteString(c, "PROXY TCP4 192.0.2.7 198.51.100.1 5 9000\r\n") }, true, nil},
		"no client":   {func(_ *Handshake, c *net.TCPConn) { io.WriteString(c, "PROXY UNKNOWN\r\n") }, false, nil},
		"no header":   {func(_ *Handshake, c *net.TCPConn) { io.WriteString(c, "hello, I am not a proxy\n") }, false, ErrHeader},
		"a probe":     {func(_ *Handshake, c *net.TCPConn) { c.CloseWrite() }, false, ErrProbe},
		"an abort":    {func(h *Handshake, _ *net.TCPConn) { h.Abort() }, false, ErrProbe},
		"an eviction": {func(h *Handshake, _ *net.TCPConn) { h.Evict() }, false, ErrHeader},
		"the end":     {func(h *Handshake, _ *net.TCPConn) { h.Terminate() }, false, ErrEnded},
	} {
		h, client := begin(t)
		before := h.Client()
		c.do(h, client)
		named, err := h.ReadHeader()
		if named != c.named || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", what, named, err)
		}
		want := before
		if named {
			want = netip.MustParseAddrPort("192.0.2.7:5")
		}
		if h.Client() != want {
			t.Errorf("%s: from %v", what, h.Client())
		}
	}
}

// The bytes that decide stay there for the one that reads them.
func TestPeek(t *testing.T) {
	h, client := begin(t)
	got := make(chan [5]byte)
	go func() { got <- h.Peek() }()
	io.WriteString(client, "GET / HTTP/1.1")
	if head := <-got; string(head[:]) != "GET /" {
		t.Errorf("%q", head)
	}
	b := make([]byte, 14)
	if _, err := io.ReadFull(h.Conn(), b); err != nil || string(b) != "GET / HTTP/1.1" {
		t.Errorf("%q %v", b, err)
	}
	for what, end := range map[string]func(*Handshake, *net.TCPConn){
		"a client that leaves": func(_ *Handshake, c *net.TCPConn) { c.Close() },
		"an eviction":          func(h *Handshake, _ *net.TCPConn) { h.Evict() },
		"the end":              func(h *Handshake, _ *net.TCPConn) { h.Terminate() },
		"no time":              func(h *Handshake, _ *net.TCPConn) { h.tcp.SetDeadline(h.Since()) },
	} {
		h, client := begin(t)
		end(h, client)
		if head := h.Peek(); head != [5]byte{} {
			t.Errorf("%s: %q", what, head)
		}
	}
}

func TestSecure(t *testing.T) {
	engine := transport.New(transport.Options{Portable: true})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for what, c := range map[string]struct {
		ctx context.Context
		do  func(*Handshake, *net.TCPConn)
		err error
	}{
		"a client that leaves": {t.Context(), func(_ *Handshake, c *net.TCPConn) { c.Close() }, ErrFailed},
		"an eviction":          {t.Context(), func(h *Handshake, _ *net.TCPConn) { h.Evict() }, ErrEnded},
		"the end":              {t.Context(), func(h *Handshake, _ *net.TCPConn) { h.Terminate() }, ErrEnded},
		"the server's end":     {over, func(*Handshake, *net.TCPConn) {}, ErrEnded},
		"no time":              {t.Context(), func(h *Handshake, _ *net.TCPConn) { h.tcp.SetDeadline(h.Since()) }, ErrTimedOut},
	} {
		h, client := begin(t)
		c.do(h, client)
		if err := h.Secure(c.ctx, engine, &tls.Config{}); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	h, client := begin(t)
	io.WriteString(client, "GET / HTTP/1.1\r\n")
	var plain *PlainError
	if err := h.Secure(t.Context(), engine, &tls.Config{}); !errors.As(err, &plain) || string(plain.Head[:]) != "GET /" {
		t.Error(err)
	}
	if _, err := io.WriteString(h.Conn(), "plain text\n"); err != nil {
		t.Error("the client cannot be told:", err)
	}
}
