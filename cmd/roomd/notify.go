package main

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

	"roomd/netsvc"
	"roomd/store"
)

// manager is the service manager, which is told by datagrams how the server is
// (sd_notify(3)). Without one nothing is sent. Its methods may be called from
// any goroutine.
type manager struct {
	conn *net.UnixConn // nil: there is none
	log  *slog.Logger
	// watchdog is how often the manager must be told that all is well, or else
	// it ends the process; 0: not at all.
	watchdog time.Duration

	mu   sync.Mutex // held while it is told something
	late time.Time  // when it last took nothing in time
	owed bool       // READY=1 has not been taken
}

// findManager looks into the environment for the manager's socket. Its name
// begins with @ if it is an abstract one (unix(7)), which package net knows too.
func findManager(getenv func(string) string, log *slog.Logger) (*manager, error) {
	m := &manager{log: log}
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
		m.watchdog = time.Duration(max(us, 0)) * time.Microsecond
	}
	return m, nil
}

// tellTime is how long a manager that takes nothing is waited for. After that was
// not enough it is hardly waited for, for a while.
const tellTime = time.Second

// tell sends assignments like "READY=1" in one datagram. That the manager
// cannot be reached is logged: the server goes on, and attend says again later
// that it is ready.
func (m *manager) tell(assignments ...string) {
	if m.conn == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	most := tellTime
	if time.Since(m.late) < lineRest {
		most = lineWait
	}
	m.conn.SetWriteDeadline(time.Now().Add(most))
	_, err := m.conn.Write([]byte(strings.Join(assignments, "\n")))
	if assignments[0] == "READY=1" {
		m.owed = err != nil
	}
	if err == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		m.late = time.Now()
	}
	m.log.Warn("tell the service manager", "error", err)
}

// owes reports whether the manager has not been told that the server is ready.
func (m *manager) owes() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owed
}

// reloading says that a reload begins, and when (sd_notify(3) asks for it).
func (m *manager) reloading() {
	m.tell("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic()/time.Microsecond))
}

func (m *manager) close() {
	if m.conn != nil {
		m.conn.Close()
	}
}

// statusPeriod is how often the manager's STATUS line is looked at.
const statusPeriod = 10 * time.Second

// attend keeps the manager informed until ctx is done: it feeds the watchdog
// as long as the server really makes progress, and renews the STATUS line.
func (m *manager) attend(ctx context.Context, svc *netsvc.Service, st *store.Store) {
	if m.conn == nil {
		return
	}
	period := statusPeriod
	if m.watchdog > 0 {
		// A look takes a third at most: even after a slow one there is
		// another before time is up.
		period = min(period, m.watchdog/3)
	}
	look := time.NewTicker(period)
	defer look.Stop()
	shown := ""
	for {
		if m.watchdog > 0 {
			if err := healthy(ctx, m.watchdog/3, svc, st); err == nil {
				m.tell("WATCHDOG=1")
			} else if ctx.Err() == nil {
				m.log.Error("the watchdog is not fed", "error", err)
			}
		}
		switch s := statusLine(svc, st); {
		case m.owes():
			shown = s
			m.tell("READY=1", "STATUS="+s)
		case s != shown:
			shown = s
			m.tell("STATUS=" + s)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// healthy returns nil if the committer and the network's goroutines have both
// done a full turn within the bound.
func healthy(ctx context.Context, bound time.Duration, svc *netsvc.Service, st *store.Store) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return errors.Join(st.Health(ctx), svc.Health(ctx))
}

// statusLine is how the server is, for systemctl status.
func statusLine(svc *netsvc.Service, st *store.Store) string {
	rooms, members, waiting := svc.List(), 0, []string(nil)
	for _, r := range rooms {
		members += r.Members
		if r.Unbound != "" {
			waiting = append(waiting, r.Name+": "+r.Unbound)
		}
	}
	text := fmt.Sprintf("%s in %s", plural(members, "member"), plural(len(rooms), "room"))
	if err := st.Broken(); err != nil {
		text = "READ-ONLY: " + err.Error() + "; " + text
	}
	if st.Full() {
		text = "FULL: the disk has no space for lines; " + text
	}
	for _, m := range svc.Missing() {
		text += fmt.Sprintf("; not on %s: %s", m.Addr, m.Cause)
	}
	if st.Stalled() > 0 {
		text = "WAITING: the disk does not answer; " + text
	}
	switch n := len(waiting); {
	case n == 1:
		text += "; unbound: " + waiting[0]
	case n > 1:
		text += fmt.Sprintf("; %d rooms are unbound, the first: %s", n, waiting[0])
	}
	return netsvc.Printable(text)
}

func plural[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
