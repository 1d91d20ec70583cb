package netsvc_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/netsvc/netsvctest"
)

// secure has the server speak TLS.
func (s *server) secure() {
	cert := netsvctest.Certificate(s.T, "roomd", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	s.Options.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	s.roots = x509.NewCertPool()
	s.roots.AddCert(cert.Leaf)
}

// dial connects as the server speaks.
func (s *server) dial(port int) *peer {
	s.T.Helper()
	p := dial(s.T, port)
	if s.roots == nil {
		return p
	}
	c := tls.Client(p.TCP, &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"})
	c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		s.T.Fatal(err)
	}
	c.SetDeadline(time.Time{})
	p.Conn, p.In = c, bufio.NewReader(c)
	return p
}

// Who speaks plain text to a port that speaks TLS is told so, in plain text;
// what is no TLS at all, and what takes too long, is counted.
func TestPlainOnTLS(t *testing.T) {
	s := newServer(t)
	s.secure()
	s.Start()
	port := s.Create("lobby")
	ann := s.dial(port)
	ann.Until("* guest-1 joined")
	for _, to := range []int{s.Service.Port(), port} {
		p := dial(t, to)
		p.Send("LIST and more")
		if l := p.Line(); !strings.Contains(l, "this port speaks TLS") {
			t.Errorf("port %d says %q", to, l)
		}
		p.End()
		web := dial(t, to)
		web.Send("GET / HTTP/1.1\r", "Host: x\r", "\r")
		web.Expect("HTTP/1.0 400 Bad Request\r")
		old := tls.Client(dial(t, to).TCP, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err := old.Handshake(); err == nil {
			t.Error("TLS 1.1 is spoken")
		}
		half := dial(t, to)
		half.Conn.Write([]byte("\x16\x03\x01\x00"))
		half.HalfClose()
	}
	eventually(t, "all are counted", func() bool {
		n := s.Service.Counters()
		return n.TLSFailed["plain"] == 4 && n.TLSFailed["failed"] == 4 && n.Foreign["http"] == 2
	})
	ann.Send("still here")
	ann.Until("<guest-1> still here")
}

// A thousand silent connections do not keep a client of TLS out, and they go.
func TestHandshakesAreBounded(t *testing.T) {
	s := newServer(t)
	s.secure()
	s.Start()
	port := s.Create("lobby")
	var silent []*peer
	for range 1024 + 20 {
		silent = append(silent, dial(t, port))
	}
	ann := s.dial(port)
	ann.Until("* guest-1 joined")
	for _, p := range silent[:20] {
		p.Expect("* very many are waiting here; try again")
		p.End()
	}
	s.Stop()
	for _, p := range silent[20:] {
		p.Conn.SetReadDeadline(time.Now().Add(patience))
		if text, err := io.ReadAll(p.Conn); errors.Is(err, io.ErrNoProgress) || strings.Contains(string(text), "you are") {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// Members behind TLS and behind plain connections have the same lines in the
// same order: TLS is switched on while there are members.
func TestSameLinesBehindTLS(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	var all []*peer
	for range 4 {
		all = append(all, join(t, port))
	}
	next := s.Options
	s.secure()
	next.Certificate = s.Options.Certificate
	ch, err := s.Service.Prepare(next)
	if err != nil {
		t.Fatal(err)
	}
	ch.Commit()
	for range 4 {
		p := s.dial(port)
		p.Until("* guest-" + fmt.Sprint(len(all)+1) + " joined")
		all = append(all, p)
	}
	const lines = 500
	var speaking, listening sync.WaitGroup
	got := make([][]string, len(all))
	for i, p := range all {
		speaking.Go(func() {
			for n := range lines {
				fmt.Fprintf(p.Conn, "%d of %d %s\n", n, i, strings.Repeat("x", n))
			}
		})
		listening.Go(func() {
			for len(got[i]) < lines*len(all) {
				l, err := p.Next()
				if err != nil {
					t.Errorf("member %d has %d lines: %v", i, len(got[i]), err)
					return
				}
				if strings.HasPrefix(l, "<") {
					got[i] = append(got[i], l)
				}
			}
		})
	}
	speaking.Wait()
	listening.Wait()
	for i := range got {
		if strings.Join(got[i], "\n") != strings.Join(got[0], "\n") {
			t.Errorf("members %d and 0 differ", i)
		}
	}
}

// A password that a room gets while a client is still in the handshake is asked for.
func TestPasswordDuringTheHandshake(t *testing.T) {
	s := newServer(t)
	s.secure()
	s.Start()
	port := s.Create("lobby")
	p := dial(t, port)
	eventually(t, "it is accepted", func() bool { return s.Service.Counters().Accepted > 0 })
	if err := s.Service.SetPassword("lobby", "secret"); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(p.TCP, &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"})
	p.Conn, p.In = c, bufio.NewReader(c)
	if l := p.Line(); !strings.Contains(l, "password") {
		t.Errorf("it is told %q", l)
	}
	p.Send("/pass secret")
	p.Until("* lobby: 1 here")
}
