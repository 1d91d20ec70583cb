package client_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/netsvc"
	"roomd/netsvc/client"
	"roomd/netsvc/netsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = netsvctest.Patience

// nextPort is the next port for a server, below the ephemeral ports.
var nextPort = netsvctest.NewPorts(13000, 14000)

// server is a running service that a test can end and start again.
type server struct{ *netsvctest.Server }

func newServer(t testing.TB) *server {
	s := &server{netsvctest.New(t, options())}
	s.StoreOptions.Lines = 200000
	s.Start()
	return s
}

// options are those of config.toml, with ports of their own.
func options() netsvc.Options {
	first := int(nextPort.Take(20)) - 20
	o := netsvctest.Options(first+1, 19)
	o.Port, o.MaxRooms = first, 10
	return o
}

var eventually = netsvctest.Eventually

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.Options.Port) }

func (s *server) dial(d *wire) *client.Client {
	s.T.Helper()
	o := client.Options{}
	if d != nil {
		o.Dialer = d
	}
	c, err := client.Dial(soon(s.T), s.addr(), o)
	if err != nil {
		s.T.Fatal(err)
	}
	return c
}

// join joins a room and leaves it when the test ends.
func join(t testing.TB, c *client.Client, name string, o client.JoinOptions) *client.Room {
	t.Helper()
	r, err := c.Join(soon(t), name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// next returns the next event of one of the types.
func next(t testing.TB, r *client.Room, types ...client.Type) client.Event {
	t.Helper()
	ctx := soon(t)
	for {
		ev, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %v: %v", types, err)
		}
		for _, want := range types {
			if ev.Type == want {
				return ev
			}
		}
	}
}

// wire is a network that can be cut: connections end in the middle of what they
// carry, in either direction.
type wire struct {
	older func() bool // whether the server of the next connection shall seem to know no IDs of lines; nil: never

	mu    sync.Mutex
	conns map[*cutConn]bool
}

// cutConn passes bytes on until it is cut. Bytes written shortly before may be lost or arrive.
type cutConn struct {
	*net.TCPConn
	w     *wire
	older bool
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if c.older {
		copy(p, bytes.ReplaceAll(p[:n], []byte(`,"id_bytes":64`), []byte(`,"id_bytes": 0`)))
	}
	return n, err
}

func (w *wire) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	k := &cutConn{c.(*net.TCPConn), w, w.older != nil && w.older()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = make(map[*cutConn]bool)
	}
	w.conns[k] = true
	return k, nil
}

// cut ends all connections: the bytes on their way may be lost or arrive.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		if rand.IntN(2) == 0 {
			c.SetReadDeadline(time.Now().Add(-time.Second)) // deaf from now on
			c.CloseRead()
		} else {
			c.SetLinger(0)
			c.TCPConn.Close()
		}
	}
	clear(w.conns)
}

func (c *cutConn) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	return c.TCPConn.Close()
}

// history reads all lines of a room with a connection of its own.
func (s *server) history(name string) (lines []client.Event) {
	s.T.Helper()
	r, err := s.dial(nil).Join(soon(s.T), name, client.JoinOptions{From: client.After(0)})
	if err != nil {
		s.T.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	defer cancel()
	for ev := range r.Events(ctx) {
		if ev.Stored() {
			lines = append(lines, ev)
		}
		if ev.Type == client.Live {
			return lines
		}
	}
	s.T.Fatal("the history has no end:", r.Err(), ctx.Err())
	return nil
}
