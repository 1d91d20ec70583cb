package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standIn is in the place of the service manager: it gets what it is told.
type standIn struct {
	t    *testing.T
	conn *net.UnixConn
	name string
}

func newStandIn(t *testing.T, name string) *standIn {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &standIn{t, c, name}
}

// next is the next datagram, or "" if none comes in time.
func (m *standIn) next(within time.Duration) string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if err != nil && !os.IsTimeout(err) {
		m.t.Fatal(err)
	}
	return string(b[:n])
}

// until reads datagrams up to one that begins so, and returns them all in a
// line. What comes by the clock is left out.
func (m *standIn) until(want string) string {
	m.t.Helper()
	var all []string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		d := m.next(patience)
		if !strings.HasPrefix(d, "WATCHDOG=1") || want == "WATCHDOG=1" {
			all = append(all, strings.ReplaceAll(d, "\n", " "))
		}
		if strings.HasPrefix(d, want) {
			return strings.Join(all, " | ")
		}
	}
	m.t.Fatalf("there was no %s: %q", want, all)
	return ""
}

// What a service manager sees of a server's life, in that order.
func TestManager(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", fmt.Sprintf("@roomd-test-%d", os.Getpid())} {
		p := newProcess(t, "")
		if name == "" {
			name = filepath.Join(p.dir, "notify")
		}
		m := newStandIn(t, name)
		// Room 2 waits for its port: READY must not.
		p.start()
		if got := p.nc(p.master, strings.NewReader("CREATE two\n")); !strings.HasPrefix(got, "OK two ") {
			t.Fatal(got)
		}
		p.kill(syscall.SIGTERM)
		taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.first+1))
		if err != nil {
			t.Fatal(err)
		}
		p.env = []string{"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=300000"}
		p.start()
		got := m.until("READY=1")
		want := fmt.Sprintf("STATUS=opening the database %s | STATUS=binding the ports of the rooms | READY=1 STATUS=0 members in 2 rooms; unbound: two: port %d is in use by another program",
			filepath.Join(p.dir, "roomd.db"), p.first+1)
		if got != want {
			t.Errorf("starting:\ngot  %s\nwant %s", got, want)
		}
		taken.Close()
		m.until("WATCHDOG=1")
		m.until("WATCHDOG=1")
		p.cmd.Process.Signal(syscall.SIGHUP)
		got = m.until("READY=1")
		if !strings.Contains(got, "RELOADING=1 MONOTONIC_USEC=") || strings.Contains(got, "USEC=0") || !strings.Contains(got, "| READY=1 STATUS=0 members in 2 rooms") {
			t.Error("reloading:", got)
		}
		if err := p.kill(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if got = m.until("STOPPING=1"); !strings.Contains(got, "STOPPING=1 STATUS=stopping") {
			t.Error("stopping:", got)
		}
		if got = m.next(time.Millisecond); got != "" {
			t.Error("after the end:", got)
		}
	}
}
