package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"roomd/netsvc/client"
	"roomd/netsvc/netsvctest"
)

// terminator makes connections to a server without TLS, and ends TLS in front of it.
type terminator struct {
	config *tls.Config
	tasks  sync.WaitGroup
}

func (m *terminator) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	server, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	over := tls.Server(far, m.config)
	m.tasks.Go(func() {
		io.Copy(server, over)
		server.(*net.TCPConn).CloseWrite()
	})
	m.tasks.Go(func() {
		io.Copy(over, server)
		over.Close()
		server.Close()
	})
	return near, nil
}

func TestTLS(t *testing.T) {
	s := newServer(t)
	s.Create("lobby")
	cert := netsvctest.Certificate(t, "chat", time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "chat.example.org")
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	front := &terminator{config: &tls.Config{Certificates: []tls.Certificate{*cert}}}
	defer front.tasks.Wait()
	ctx := soon(t)
	if _, err := client.Dial(ctx, s.addr(), client.Options{Dialer: front, TLS: &tls.Config{ServerName: "chat.example.org"}}); err == nil {
		t.Fatal("a certificate that nobody trusts is taken")
	}
	if _, err := client.Dial(ctx, s.addr(), client.Options{Dialer: front, TLS: &tls.Config{RootCAs: pool}}); err == nil {
		t.Fatal("a certificate for another name is taken")
	}
	c, err := client.Dial(ctx, s.addr(), client.Options{Dialer: front, TLS: &tls.Config{RootCAs: pool, ServerName: "chat.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	ann := join(t, c, "lobby", client.JoinOptions{Nick: "ann"})
	defer ann.Close()
	if _, err := ann.Send(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	next(t, ann, client.Offline)
	s.Start()
	if _, err := ann.Send(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	if all := s.history("lobby"); len(all) != 2 {
		t.Fatal(all)
	}
}
