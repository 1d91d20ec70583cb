package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/netsvc"
	"roomd/netsvc/client"
	"roomd/netsvc/testports"
	"roomd/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// nextPort hands out master ports and rooms' ports, below the ephemeral ones.
var nextPort = testports.New(13000, 14000)

// server is a running service that a test can end and start again.
type server struct {
	t    testing.TB
	path string
	opts netsvc.Options
	st   *store.Store
	svc  *netsvc.Service
}

func newServer(t testing.TB) *server {
	s := &server{t: t, path: filepath.Join(t.TempDir(), "roomd.db"), opts: options()}
	t.Cleanup(s.stop)
	s.start()
	return s
}

// options are those of config.toml, with ports that nobody else has.
func options() netsvc.Options {
	first := int(nextPort.Add(20)) - 20
	return netsvc.Options{
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: first, Ports: [2]int{first + 1, first + 19},
		Rooms: 10, Replay: 20, QuietAbove: 50, Members: 256, Connections: 10000, LineBytes: 4096,
		MaxLag: 100000, DeadPeer: time.Minute, MasterIdle: 5 * time.Minute, CreateAnyone: true, Delete: netsvc.Anyone,
		Log: slog.New(slog.DiscardHandler),
	}
}

func (s *server) start() {
	s.t.Helper()
	st, err := store.Open(s.path, store.Options{Lines: 200000, Trash: time.Hour})
	if err != nil {
		s.t.Fatal(err)
	}
	s.st, s.svc = st, netsvc.New(st, s.opts)
	if err := s.svc.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) stop() {
	if s.svc == nil {
		return
	}
	s.svc.Stop()
	s.svc = nil
	if err := s.st.Check(); err != nil {
		s.t.Error(err)
	}
	if err := s.st.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *server) create(name string) {
	s.t.Helper()
	if _, _, err := s.svc.Create(name, netsvc.Creation{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.opts.Port) }

func (s *server) dial(d *wire) *client.Client {
	s.t.Helper()
	o := client.Options{}
	if d != nil {
		o.Dialer = d
	}
	c, err := client.Dial(soon(s.t), s.addr(), o)
	if err != nil {
		s.t.Fatal(err)
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
	mu    sync.Mutex
	conns map[*cutConn]bool
}

// cutConn passes what it is given until it is cut. Then what was written may be
// lost, or be on its way still.
type cutConn struct {
	*net.TCPConn
	w *wire
}

func (w *wire) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	k := &cutConn{c.(*net.TCPConn), w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = make(map[*cutConn]bool)
	}
	w.conns[k] = true
	return k, nil
}

// cut ends all connections: what they carry at the moment may arrive or not.
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

// history reads a whole room with a connection of its own.
func (s *server) history(name string) (lines []client.Event) {
	s.t.Helper()
	r, err := s.dial(nil).Join(soon(s.t), name, client.JoinOptions{From: client.After(0)})
	if err != nil {
		s.t.Fatal(err)
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
	s.t.Fatal("the history has no end:", r.Err(), ctx.Err())
	return nil
}
