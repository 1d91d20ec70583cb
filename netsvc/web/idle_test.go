package web

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

// rawPage opens a WebSocket without a library, and sends short messages.
func (s *testServer) rawPage(messages ...string) net.Conn {
	s.T.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Service.Port()))
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * netsvctest.Patience))
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", Protocol)
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || a.StatusCode != http.StatusSwitchingProtocols {
		s.T.Fatal(a, err)
	}
	for _, m := range messages {
		c.Write(append([]byte{0x81, 0x80 | byte(len(m)), 0, 0, 0, 0}, m...)) // RFC 6455, section 5.2; a mask of zeros
	}
	return c
}

// memory returns the bytes of the heap and of stacks in use.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestIdleMemory measures the memory of an idle page that is in a room and watches the list of rooms, with
// its end of the connection in the test.
func TestIdleMemory(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.MaxMembers, o.QuietAbove = 0, 1 })
	s.rawPage("\nWATCH")
	const pages = 500
	before := memory()
	for i := range pages {
		s.rawPage(fmt.Sprintf("\nNICK nick-%d", i), "lobby", "\nWATCH")
	}
	netsvctest.Eventually(t, "members", func() bool { return s.Room("lobby").Members == pages })
	const most = 40 << 10
	each := uint64(most)
	netsvctest.Eventually(t, "buffers to be given back", func() bool {
		each = (memory() - before) / pages
		return each < most
	})
	t.Logf("%d bytes for each page", each)
}
