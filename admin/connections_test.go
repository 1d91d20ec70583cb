package admin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"roomd/admin"
	"roomd/netsvc"
)

// Every connection is listed, and kick ends those that are no members' by their
// address, after a question if it ends several.
func TestKickConnections(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.join("lobby")
	var masters []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Service.Port()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintln(c, "LIST lobby")
		if n, err := c.Read(make([]byte, 100)); n == 0 {
			t.Fatal(err)
		}
		masters = append(masters, c)
	}
	states := func(of string) (all string) {
		var conns []netsvc.ConnInfo
		if err := json.Unmarshal([]byte(s.ok("connections "+of+" --json")), &conns); err != nil {
			t.Fatal(err)
		}
		for _, c := range conns {
			all += c.State + " " + c.Nick + ","
		}
		return all
	}
	if got := states(""); got != "member guest-1,master ,master ," {
		t.Error(got)
	}
	first := masters[0].LocalAddr().String()
	if got := states(first); got != "master ," {
		t.Error(got)
	}
	s.ok("kick " + first)
	if _, err := io.ReadAll(masters[0]); err != nil {
		t.Error(err)
	}
	if _, _, status := s.do("kick", first); status != admin.ExitRefused {
		t.Errorf("kicked again: status %d", status)
	}
	if _, errs, status := s.do("kick", "127.0.0.1"); status != admin.ExitUsage || errs == "" {
		t.Errorf("kick of several: status %d, %s", status, errs)
	}
	for end := time.Now().Add(patience); states("127.0.0.1") != "member guest-1,master ,"; {
		if time.Now().After(end) {
			t.Fatal(states("127.0.0.1"))
		}
	}
	s.ok("kick 127.0.0.1 --yes")
	if _, err := io.ReadAll(masters[1]); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(patience); states("") != "" || s.Service.Connections() != 0; {
		if time.Now().After(end) {
			t.Fatalf("%d connections are left: %s", s.Service.Connections(), states(""))
		}
	}
}
