package netsvc

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/netsvc/transport"
	"roomd/store"
)

// Who hangs is noticed: an event loop, and who has a lock.
func TestHealth(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "roomd.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(st, Options{Log: slog.New(slog.DiscardHandler), Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.Stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	health := func(want string) {
		t.Helper()
		within := 20 * time.Second
		if want != "" {
			within = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		if err := s.Health(ctx); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("health: %v; want %q", err, want)
		}
	}
	health("")
	l, err := s.engine.Listen(netip.MustParseAddr("127.0.0.1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	hangs, hang := make(chan struct{}), make(chan struct{})
	if err := l.Open(func(c transport.Socket, _ netip.AddrPort) { close(hangs); <-hang; c.WriteAndClose("") }, ""); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-hangs
	health("an event loop hangs")
	close(hang)
	l.Close()
	health("")
	s.mu.Lock()
	health("a lock of the rooms")
	s.mu.Unlock()
	health("")
}
