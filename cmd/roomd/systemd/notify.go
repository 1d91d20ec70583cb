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

// Manager is the service manager, which gets the state of the server in datagrams
// (sd_notify(3)). Without a manager nothing is sent. Its methods may be called from any
// goroutine.
type Manager struct {
	conn *net.UnixConn // nil: there is no manager
	log  *slog.Logger
	// watchdogTimeout is the time after which the manager kills a process that has not
	// notified the watchdog; 0: there is no watchdog.
	watchdogTimeout time.Duration

	mu          sync.Mutex // held while a datagram is sent
	lastTimeout time.Time  // when a send last timed out
	readyUnsent bool       // READY=1 could not be sent
}

// Connect reads the manager's socket (NOTIFY_SOCKET) and the timeout of the watchdog
// (WATCHDOG_USEC) from the environment. The name of an abstract socket (unix(7)) begins with
// @, as in package net. The caller must call Close.
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

// A manager that does not read is waited for by sendTimeout; for shortSendPeriod after that only
// by shortSendTimeout.
const (
	sendTimeout      = time.Second
	shortSendTimeout = 20 * time.Millisecond
	shortSendPeriod  = 10 * time.Second
)

// Notify sends assignments like "READY=1" in one datagram. An error is logged, and the server
// continues; Run sends READY=1 again later.
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

// readyPending reports whether READY=1 has still to be sent again.
func (m *Manager) readyPending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readyUnsent
}

// Reloading notifies the begin of a reload, with the time that sd_notify(3) asks for.
func (m *Manager) Reloading() {
	const monotonic = 1 // CLOCK_MONOTONIC of Linux, the only system with systemd
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

// statusPeriod is how often the STATUS line is renewed.
const statusPeriod = 10 * time.Second

// Run keeps the manager informed until ctx is done. It notifies the watchdog while healthy
// returns nil before its context is done, and renews the STATUS line that status returns.
func (m *Manager) Run(ctx context.Context, healthy func(context.Context) error, status func() string) {
	if m.conn == nil {
		return
	}
	period := statusPeriod
	if m.watchdogTimeout > 0 {
		// A check takes a third of the time at most: even after a slow check the next one comes
		// before the timeout.
		period = min(period, m.watchdogTimeout/3)
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
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
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
