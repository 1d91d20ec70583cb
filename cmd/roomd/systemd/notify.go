package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Manager is the service manager, which is told by datagrams how the server is
// (sd_notify(3)). Without one nothing is sent. Its methods may be called from
// any goroutine.
type Manager struct {
	conn *net.UnixConn // nil: there is none
	log  *slog.Logger
	// watchdogTimeout is how often the manager must be told that all is well, or else
	// it ends the process; 0: not at all.
	watchdogTimeout time.Duration

	mu          sync.Mutex // held while it is told something
	lastTimeout time.Time  // when it last took nothing in time
	readyUnsent bool       // READY=1 has not been taken
}

// Connect looks into the environment for the manager's socket (NOTIFY_SOCKET), and
// how often its watchdog is to be fed (WATCHDOG_USEC). The socket's name begins with
// @ if it is an abstract one (unix(7)), which package net knows too. Close must
// follow.
func Connect(getenv func(string) string, log *slog.Logger) (*Manager, error) {
	m := &Manager{log: log}
	name := getenv("NOTIFY_SOCKET")
	if name == "" {
		return m, nil
	}
	if name[0] != '/' && name[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q is neither a path nor an abstract name", name)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		return nil, fmt.Errorf("reach the service manager: %w", err)
	}
	m.conn = c
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		us, _ := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64) // unset: 0
		m.watchdogTimeout = time.Duration(max(us, 0)) * time.Microsecond
	}
	return m, nil
}

// Connected reports whether there is a manager.
func (m *Manager) Connected() bool { return m.conn != nil }

// How long a manager that takes nothing is waited for. After that was not enough it
// is hardly waited for, for a while.
const (
	sendTimeout      = time.Second
	shortSendTimeout = 20 * time.Millisecond
	shortSendPeriod  = 10 * time.Second
)

// Notify sends assignments like "READY=1" in one datagram. That the manager
// cannot be reached is logged: the server goes on, and Run says again later
// that it is ready.
func (m *Manager) Notify(assignments ...string) {
	if m.conn == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	most := sendTimeout
	if time.Since(m.lastTimeout) < shortSendPeriod {
		most = shortSendTimeout
	}
	m.conn.SetWriteDeadline(time.Now().Add(most))
	_, err := m.conn.Write([]byte(strings.Join(assignments, "\n")))
	if assignments[0] == "READY=1" {
		m.readyUnsent = err != nil
	}
	if err == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		m.lastTimeout = time.Now()
	}
	m.log.Warn("service manager cannot be notified", "error", err)
}

// readyPending reports whether the manager has not been told that the server is ready.
func (m *Manager) readyPending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readyUnsent
}

// Reloading says that a reload begins, and when (sd_notify(3) asks for it).
func (m *Manager) Reloading() {
	const monotonic = 1 // CLOCK_MONOTONIC of Linux: systemd is nowhere else
	var now unix.Timespec
	unix.ClockGettime(monotonic, &now)
	m.Notify("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Close ends the connection.
func (m *Manager) Close() {
	if m.conn != nil {
		m.conn.Close()
	}
}

// statusPeriod is how often the manager's STATUS line is looked at.
const statusPeriod = 10 * time.Second

// Run keeps the manager informed until ctx is done: it feeds the watchdog as long
// as healthy returns nil within the bound of the context that it is given, and renews
// the STATUS line, which status makes.
func (m *Manager) Run(ctx context.Context, healthy func(context.Context) error, status func() string) {
	if m.conn == nil {
		return
	}
	period := statusPeriod
	if m.watchdogTimeout > 0 {
		// A look takes a third at most: even after a slow one there is
		// another before time is up.
		period = min(period, m.watchdogTimeout/3)
	}
	look := time.NewTicker(period)
	defer look.Stop()
	shown := ""
	for {
		if m.watchdogTimeout > 0 {
			bounded, cancel := context.WithTimeout(ctx, m.watchdogTimeout/3)
			if err := healthy(bounded); err == nil {
				m.Notify("WATCHDOG=1")
			} else if ctx.Err() == nil {
				m.log.Error("watchdog is not notified because the server is not healthy", "error", err)
			}
			cancel()
		}
		switch s := status(); {
		case m.readyPending():
			shown = s
			m.Notify("READY=1", "STATUS="+s)
		case s != shown:
			shown = s
			m.Notify("STATUS=" + s)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
