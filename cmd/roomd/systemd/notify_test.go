package systemd

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A watchdog that is meant for another process is not ours.
func TestConnect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, c := range []struct {
		env      string
		watchdog time.Duration
		err      string
	}{
		{"", 0, ""},
		{"NOTIFY_SOCKET=" + name, 0, ""},
		{"NOTIFY_SOCKET=" + name + " WATCHDOG_USEC=1000000", time.Second, ""},
		{"NOTIFY_SOCKET=" + name + " WATCHDOG_USEC=1000000 WATCHDOG_PID=1", 0, ""},
		{"NOTIFY_SOCKET=" + name + " WATCHDOG_USEC=-1", 0, ""},
		{"NOTIFY_SOCKET=relative", 0, "neither a path nor an abstract name"},
		{"NOTIFY_SOCKET=" + name + "x", 0, "no such file"},
	} {
		got, err := Connect(func(k string) string {
			for _, kv := range strings.Fields(c.env) {
				if v, ok := strings.CutPrefix(kv, k+"="); ok {
					return v
				}
			}
			return ""
		}, slog.Default())
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", c.env, err)
			}
			continue
		}
		if err != nil || got.watchdogTimeout != c.watchdog {
			t.Errorf("%s: %v, %+v", c.env, err, got)
			continue
		}
		got.Close()
	}
}
