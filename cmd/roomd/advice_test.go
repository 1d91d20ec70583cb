package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Why the server cannot be reached is said in words that tell what to do, by every
// client, and not in those of the resolver and of TLS.
func TestUnreachableInOurWords(t *testing.T) {
	t.Parallel()
	plain := newProcess(t, "")
	plain.start()
	secure := newProcess(t, "")
	writeKeyPair(t, secure.dir, "roomd")
	secure.configure(`tls.cert = "cert.pem"`, `tls.key = "key.pem"`)
	secure.start()
	dir, now := t.TempDir(), time.Now()
	if err := pairFor(t, dir, now.Add(-2*time.Hour), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(dir+"/cert.pem", dir+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	expired, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := expired.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake() // the client breaks it off
			c.Close()
		}
	}()
	defer func() { expired.Close(); <-done }()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	at := func(p *process) string { return fmt.Sprintf("127.0.0.1:%d", p.master) }
	for _, c := range []struct {
		flags string
		says  string
		do    string
	}{
		{"--server no..such", "the host no..such cannot be found", "--server takes"},
		{"--server no..such:9000 --tls", "the host no..such cannot be found", "--server takes"},
		{"--server " + closed.Addr().String(), "no server listens at " + closed.Addr().String(), "--server HOST:PORT"},
		{"--server " + at(plain) + " --tls", "does not speak TLS", "leave --tls and --ca out"},
		{"--server " + at(secure), at(secure) + " speaks TLS", "add --tls"},
		{"--server " + at(secure) + " --tls", "is not trusted here", "--ca FILE"},
		{"--server " + fmt.Sprintf("localhost:%d", secure.master) + " --ca " + secure.dir + "/cert.pem", "is for another name", "--server NAME:PORT"},
		{"--server " + expired.Addr().String() + " --ca " + dir + "/cert.pem", "is not valid", "renew"},
	} {
		for _, command := range []string{"list", "create x", "delete x --yes", "send lobby hi --timeout 50ms", "tail lobby --timeout 50ms", "chat lobby"} {
			if !strings.Contains(c.flags, closed.Addr().String()) {
				command = strings.ReplaceAll(command, "50ms", "20s") // which is not waited for
			}
			_, errs, status := plain.does("", strings.Fields(command+" "+c.flags)...)
			first, rest, _ := strings.Cut(strings.TrimPrefix(errs, "roomd: "), "\n")
			if status != exitFailed || !strings.Contains(first, c.says) || !strings.Contains(rest, c.do) || strings.Contains(errs, "dial tcp") || strings.Contains(errs, "lookup ") {
				t.Errorf("%s %s: %d %q", command, c.flags, status, errs)
			}
		}
	}
	// What the configuration says is not to be left out.
	plain.configure(`tls.cert = "`+secure.dir+`/cert.pem"`, `tls.key = "`+secure.dir+`/key.pem"`)
	if _, errs, status := plain.does("", "list"); status != exitFailed || !strings.Contains(errs, "the configuration has tls.cert") {
		t.Errorf("%d %q", status, errs)
	}
}
