package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/roomdtest"
)

// writeKeyPair makes a certificate for 127.0.0.1 and its key, in files that are
// put in place as a renewal does it.
func writeKeyPair(t *testing.T, dir, name string) {
	t.Helper()
	roomdtest.Certificate(t, dir, name, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
}

// shownName is the name in the certificate that a newcomer is shown.
func shownName(t *testing.T, port int) string {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// The keys of TLS: a server that speaks it to openssl, another certificate
// without a restart, a broken one that is refused, and plain again; who is inside
// stays all the time.
func TestTLS(t *testing.T) {
	p := newProcess(t, "tls = { cert = \"cert.pem\", key = \"key.pem\" }")
	writeKeyPair(t, p.dir, "first")
	p.start()
	if got := shownName(t, p.master); got != "first" {
		t.Errorf("the certificate is of %q", got)
	}
	ann, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", fmt.Sprintf("127.0.0.1:%d", p.first), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ann.Close()
	ann.SetDeadline(time.Now().Add(3 * patience))
	in := bufio.NewReader(ann)
	until := func(text string) {
		t.Helper()
		for {
			if l, err := in.ReadString('\n'); err != nil {
				t.Fatalf("waiting for %q: %q, %v", text, l, err)
			} else if strings.Contains(l, text) {
				return
			}
		}
	}
	until("guest-1 joined")
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	cmd := exec.Command(openssl, "s_client", "-quiet", "-CAfile", filepath.Join(p.dir, "cert.pem"), "-verify_return_error", "-connect", fmt.Sprintf("127.0.0.1:%d", p.master))
	cmd.Stdin = strings.NewReader("LIST\nQUIT\n")
	if out, err := cmd.Output(); err != nil || string(out) != fmt.Sprintf("OK 1\nlobby %d 1\nOK bye\n", p.first) {
		t.Errorf("openssl: %q, %v", out, err)
	}
	plain := p.visit(p.master)
	fmt.Fprint(plain, "LIST\nLIST\n")
	if text, err := io.ReadAll(plain.in); err != nil || !strings.Contains(string(text), "this port speaks TLS") {
		t.Errorf("a plain client reads %q, %v", text, err)
	}

	writeKeyPair(t, p.dir, "second")
	if results, errs := p.reload(); errs != "" {
		t.Fatal(results, errs)
	}
	if got := shownName(t, p.master); got != "second" {
		t.Errorf("after a reload the certificate is of %q", got)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "key.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if results, errs := p.reload(); results["tls.cert"].Result != "refused" || !strings.Contains(errs, "nothing is changed") {
		t.Errorf("a broken key: %+v, %s", results, errs)
	}
	if got := shownName(t, p.master); got != "second" {
		t.Errorf("after a broken one the certificate is of %q", got)
	}
	p.configure(`tls = { cert = "", key = "" }`)
	if results, errs := p.reload(); results["tls.cert"].Result != "applied" {
		t.Errorf("plain again: %+v, %s", results, errs)
	}
	bob := p.visit(p.first)
	bob.until(t, "guest-")
	bob.until(t, "joined")
	fmt.Fprintln(bob, "plain")
	until("> plain")
	fmt.Fprintln(ann, "secret")
	until("> secret")
	bob.until(t, "<guest-1> secret")
}

// A reload after a renewal says that there is another certificate, and shows it;
// without one it says nothing.
func TestReloadSaysRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeKeyPair(t, dir, "first")
	p := newProcessIn(t, dir, "tls.cert = \"cert.pem\"\ntls.key = \"key.pem\"")
	p.start()
	same := func() {
		t.Helper()
		if out, errs, status := p.admin("reload", "--json"); status != exitOK || strings.TrimSpace(out) != "[]" {
			t.Error(out, errs, status)
		}
	}
	same()
	writeKeyPair(t, dir, "second")
	for _, want := range []string{admin.WouldApply, admin.Applied} {
		var words []string
		if want == admin.WouldApply {
			words = []string{"--dry-run"}
		}
		got, errs := p.reload(words...)
		ch := got["tls.cert"]
		if len(got) != 1 || ch.Result != want || ch.From == ch.To || !strings.Contains(ch.To, "valid until ") || errs != "" {
			t.Errorf("%+v %s", got, errs)
		}
	}
	if got := shownName(t, p.first); got != "second" {
		t.Error(got)
	}
	same()
}

// What is lowered to what the descriptors allow is not said to be applied, and
// not said again.
func TestReloadLowersConnections(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.prefix = []string{"sh", "-c", `ulimit -n 1000 && exec "$0" "$@"`}
	p.start()
	p.configure("limits.connections = 20000")
	if out, errs, status := p.admin("reload", "--json"); status != exitOK || strings.TrimSpace(out) != "[]" {
		t.Error(out, errs, status)
	}
	p.configure("limits.connections = 100")
	if got, errs := p.reload(); got["limits.connections"].To != "100" || got["limits.connections"].Why != "" {
		t.Error(got, errs)
	}
	p.configure("limits.connections = 20000")
	if ch, errs := p.reload(); ch["limits.connections"].To == "20000" || !strings.Contains(ch["limits.connections"].Why, "lowered from 20000 to "+ch["limits.connections"].To) {
		t.Error(ch, errs)
	}
}
