package transport_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"roomd/netsvc/transport"
)

var certificates = sync.OnceValue(func() []tls.Certificate {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS.Certificates
})

// segments is the client's end of a connection. It decides which bytes make a segment.
type segments struct {
	*net.TCPConn
	size int // bytes of a segment; 0: as they come
	hold int // writes from now on until what comes waits for release; 0: it does not

	held bytes.Buffer
}

func (s *segments) Write(p []byte) (int, error) {
	if s.hold == 1 {
		return s.held.Write(p)
	}
	s.hold = max(s.hold-1, 0)
	for b := range slices.Chunk(p, cmp.Or(s.size, max(len(p), 1))) {
		if _, err := s.TCPConn.Write(b); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// release sends the waiting bytes in one segment.
func (s *segments) release() {
	s.hold = 0
	s.Write(s.held.Bytes())
	s.held.Reset()
}

// dialTLS is dial with a handshake. The client speaks that version; 0: the newest.
func dialTLS(t *testing.T, e *transport.Engine, version uint16) (client *tls.Conn, s *segments, h *echo) {
	t.Helper()
	c, h := serveTLS(t, e)
	s = &segments{TCPConn: c}
	client = tls.Client(s, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	<-h.started
	return client, s, h
}

// serveTLS connects a client to a handler that waits for a handshake.
func serveTLS(t *testing.T, e *transport.Engine) (client *net.TCPConn, h *echo) {
	t.Helper()
	return dialTo(t, e, func(s transport.Socket, addr netip.AddrPort) *transport.Conn {
		tcp := s.TCP(addr)
		c := e.Secure(tcp, &tls.Config{Certificates: certificates()})
		if err := c.Handshake(); err != nil {
			t.Error(err)
			c.Close()
			return nil
		}
		return e.ConnFromNet(c, tcp, addr)
	})
}

// bothTLS runs a test on all engines, in all versions.
func bothTLS(t *testing.T, f func(t *testing.T, e *transport.Engine, version uint16)) {
	both(t, func(t *testing.T, e *transport.Engine) {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tls.VersionName(v), func(t *testing.T) { f(t, e, v) })
		}
	})
}

// All bytes come in their order, however records and segments are cut.
func TestRecords(t *testing.T) {
	long := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 200))
	bothTLS(t, func(t *testing.T, e *transport.Engine, version uint16) {
		for _, how := range []struct{ record, segment int }{{1, 0}, {1, 7}, {1, -1}, {len(long), 0}, {len(long), 1}, {len(long), 1000}, {100, -1}, {5000, 17}} {
			t.Run(fmt.Sprintf("records of %d bytes, segments of %d", how.record, how.segment), func(t *testing.T) {
				text := long
				if how.record == 1 {
					text = long[:2000]
				}
				c, s, h := dialTLS(t, e, version)
				if s.size = max(how.segment, 0); how.segment < 0 {
					s.hold = 1
				}
				var said sync.WaitGroup
				said.Go(func() {
					for b := range slices.Chunk(text, how.record) {
						c.Write(b)
					}
					s.release()
					c.CloseWrite() // close_notify
					s.CloseWrite()
				})
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, text) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				said.Wait()
				c.Close()
				if err := <-h.finished; err != io.EOF {
					t.Error(err)
				}
			})
		}
	})
}

// Bytes after the handshake in its last segment are not lost.
func TestDataWithHandshake(t *testing.T) {
	both(t, func(t *testing.T, e *transport.Engine) {
		raw, h := serveTLS(t, e)
		s := &segments{TCPConn: raw, hold: 2} // the first write is the client's hello
		c := tls.Client(s, &tls.Config{InsecureSkipVerify: true})
		for _, line := range []string{"hello\n", "and more\n"} {
			io.WriteString(c, line)
		}
		s.release()
		in := bufio.NewReader(c)
		for _, want := range []string{"hello\n", "and more\n"} {
			if got, err := in.ReadString('\n'); err != nil || got != want {
				t.Fatalf("%q, %v, and not %q", got, err, want)
			}
		}
		c.Close()
		<-h.finished
	})
}

// The handler learns of every kind of end, and the conn lingers.
func TestEndsTLS(t *testing.T) {
	bothTLS(t, func(t *testing.T, e *transport.Engine, version uint16) {
		for _, end := range []string{"close_notify", "half close", "reset", "garbage", "quit", "panic", "end", "abort"} {
			t.Run(end, func(t *testing.T) {
				c, s, h := dialTLS(t, e, version)
				in := bufio.NewReader(c)
				for _, line := range []string{"hello\n", "wait\n", strings.Repeat("long", 500) + "\n"} {
					io.WriteString(c, line)
					if got, err := in.ReadString('\n'); err != nil || got != line {
						t.Fatalf("%q, %v, and not %q", got, err, line)
					}
				}
				whole := true // the client reads an end
				check := func(err error) bool { return err == nil }
				switch end {
				case "close_notify":
					check = func(err error) bool { return err == io.EOF }
					c.CloseWrite()
				case "half close":
					check = func(err error) bool { return err == io.EOF }
					s.CloseWrite()
				case "reset":
					whole, check = false, transport.IsPeerGone
					s.SetLinger(0)
					s.Close()
				case "garbage":
					var alert *net.OpError
					whole, check = false, func(err error) bool { return errors.As(err, &alert) }
					s.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
				case "quit":
					io.WriteString(c, "quit\n")
				case "panic":
					io.WriteString(c, "panic\n")
				case "end":
					check = func(err error) bool { return true }
					h.conn.StopReading()
				case "abort":
					check = func(error) bool { return true }
					h.conn.Abort()
				}
				if _, err := io.ReadAll(in); (err == nil) != whole {
					t.Error("the client is told", err)
				}
				c.Close()
				if err := <-h.finished; !check(err) {
					t.Error("the end is", err)
				}
				if (h.panicked != nil) != (end == "panic") {
					t.Error("a panic:", h.panicked)
				}
			})
		}
	})
}

// A conn that was not started gives its connection back, as it was after the handshake.
func TestDetachTLS(t *testing.T) {
	both(t, func(t *testing.T, e *transport.Engine) {
		raw, h := dialTo(t, e, func(s transport.Socket, addr netip.AddrPort) *transport.Conn {
			tcp := s.TCP(addr)
			c := e.Secure(tcp, &tls.Config{Certificates: certificates()})
			if err := c.Handshake(); err != nil {
				t.Error(err)
			}
			e.Refuse(e.ConnFromNet(c, tcp, addr).Detach(addr), "no\n")
			return nil
		})
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if text, err := io.ReadAll(c); err != nil || string(text) != "no\n" {
			t.Errorf("%q, %v", text, err)
		}
		c.Close()
		<-h.started
	})
}
