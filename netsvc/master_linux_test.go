package netsvc

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/netsvc/transport"
)

// However many requests come at once, and from an address without a limit, an event
// loop answers a few of them: others are to have their turn.
func TestRequestsOnALoop(t *testing.T) {
	s, _ := stillService(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	addr := netip.MustParseAddrPort("127.0.0.1:1")
	c := s.newMaster(s.engine.NewConn(transport.Socket(fds[0]), addr), addr, 1, time.Now())
	defer c.stopTimer() // it has no event loop to end on
	const all = 100
	if next := c.Data([]byte(strings.Repeat("HELP\n", all))); next != transport.Defer || c.lines > loopLines || c.pendingInput == nil {
		t.Fatalf("%v after %d requests", next, c.lines)
	}
	if next := c.Resume(); next != transport.Continue || c.lines != all || c.pendingInput != nil {
		t.Errorf("%v after %d requests", next, c.lines)
	}
}
