package netsvc_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"roomd/netsvc/wire"
)

// Clients of other protocols get a word that they can show, and nothing of what
// they send is done or said.
func TestForeignProtocols(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	ann := join(t, port)
	master := fmt.Sprintf("127.0.0.1:%d", s.Service.Port())
	room := fmt.Sprintf("127.0.0.1:%d", port)

	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := web.Post("http://"+master+"/CREATE", "text/plain", strings.NewReader("CREATE trap\nDELETE lobby\n"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "chat server") {
		t.Errorf("a browser sees %v %q, %v", r.Status, body, err)
	}
	browser := dial(t, port)
	browser.Send("POST / HTTP/1.1", "Host: "+room, "", "hello")
	browser.Until("* lobby: 2 here")
	browser.End()
	// A client of TLS is refused at once, and not left to wait.
	for _, addr := range []string{master, room} {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{InsecureSkipVerify: true}}
		began := time.Now()
		if _, err := d.Dial("tcp", addr); err == nil || time.Since(began) > patience/2 {
			t.Errorf("TLS to %s: %v after %v", addr, err, time.Since(began))
		} else if addr == master && !strings.Contains(err.Error(), "handshake failure") {
			t.Errorf("TLS to the master port: %v", err)
		}
	}
	for _, addr := range []string{master, room} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2p1\r\nCREATE trap\r\n")
		c.SetReadDeadline(time.Now().Add(patience))
		if text, err := io.ReadAll(c); err != nil || strings.Contains(string(text), "OpenSSH") {
			t.Errorf("SSH to %s: %q, %v", addr, text, err)
		}
	}
	if rooms := s.Service.List(); len(rooms) != 1 {
		t.Errorf("there are rooms: %v", rooms)
	}
	eventually(t, "all are counted", func() bool {
		n := s.Service.Counters().Foreign
		return n[wire.HTTP] == 2 && n[wire.TLS] == 2 && n[wire.SSH] == 2
	})
	ann.Send("the end")
	for l := ann.Line(); l != "<guest-1> the end"; l = ann.Line() {
		if !strings.HasPrefix(l, "* guest-") {
			t.Errorf("ann saw %q", l)
		}
	}
}
