package transport_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/netsvc/transport"
)

// unread is how many bytes the kernel of a client has for it.
func unread(t *testing.T, c *net.TCPConn) (n int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What was given to the socket, less what is not acknowledged, is what the peer's kernel has got, also
// after Abort.
func TestUnacked(t *testing.T) {
	test := func(t *testing.T, c *net.TCPConn, rw io.ReadWriter, h *echo) {
		in := bufio.NewReader(rw)
		io.WriteString(rw, "hello\n")
		if got, err := in.ReadString('\n'); err != nil || got != "hello\n" { // also what the handshake has sent last
			t.Fatalf("%q, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		eventually := func(what string, ok func() bool) {
			t.Helper()
			if err := transport.PollUntil(ctx, ok); err != nil {
				t.Fatal("not in time: ", what)
			}
		}
		eventually("all is acknowledged", func() bool {
			n, ok := h.conn.Unacked()
			return ok && n == 0
		})
		text := []byte(strings.Repeat("a line of twenty-one\n", 1<<18))
		written := uint32(len("hello\n"))
		before := h.conn.OnWire(written)
		h.say(text)
		eventually("it is full", func() bool { return h.conn.Full() && !h.conn.Writing() })
		acked := func() int {
			on := h.conn.OnWire(written + uint32(len(text)-h.unsent()))
			n, ok := h.conn.Unacked()
			if !ok || n == 0 {
				t.Fatal(n, ok)
			}
			return int(on - n - before)
		}
		eventually("what is acknowledged has come", func() bool { n := unread(t, c); return n > 10_000 && n == acked() })
		has := unread(t, c)
		io.WriteString(rw, "b")
		<-h.reached // the loop stands still, and so does the end of the conn
		defer close(h.goOn)
		h.conn.Abort()
		if n := acked(); n != has {
			t.Errorf("%d bytes are acknowledged, the peer has %d", n, has)
		}
	}
	t.Run("plain", func(t *testing.T) {
		c, h := dial(t, newEngine(t, false))
		<-h.started
		c.SetReadBuffer(16 << 10)
		test(t, c, c, h)
	})
	t.Run("TLS", func(t *testing.T) {
		c, s, h := dialTLS(t, newEngine(t, false), 0)
		s.SetReadBuffer(16 << 10)
		test(t, s.TCPConn, c, h)
	})
}
