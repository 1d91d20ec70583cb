package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/cmd/roomd/systemd"
	"roomd/netsvc"
	"roomd/store"
)

const patience = 20 * time.Second

// The watchdog starves when the committer hangs, and is fed when it is well.
func TestWatchdog(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	st.Start(store.Follower{Lines: func([]*store.Post) { <-hang }})
	svc := netsvc.New(st, netsvc.Options{})
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	// fed reports whether there is a word for the watchdog in time.
	fed := func(within time.Duration) bool {
		manager.SetReadDeadline(time.Now().Add(within))
		for b := make([]byte, 4096); ; {
			n, err := manager.Read(b)
			if err != nil {
				return false
			}
			if strings.HasPrefix(string(b[:n]), "WATCHDOG=1") {
				return true
			}
		}
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	env := map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "150000", "WATCHDOG_PID": fmt.Sprint(os.Getpid())}
	us, err := systemd.Connect(func(k string) string { return env[k] }, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); (&server{manager: us, svc: svc, st: st}).runWatchdog(ctx) }()
	if !fed(patience) {
		t.Fatal("it is not fed")
	}
	if err := st.Submit(ctx, &store.Post{Room: 1}); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if !fed(400 * time.Millisecond) {
			break // nothing for more than its time
		}
		if n == 20 {
			t.Fatal("it is fed while the committer hangs")
		}
	}
	close(hang)
	if !fed(patience) {
		t.Error("it is not fed when the committer is well again")
	}
	cancel()
	<-done
	us.Close()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}
