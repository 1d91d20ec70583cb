package server

import (
	"context"
	"errors"
	"fmt"

	"roomd/admin/english"
	"roomd/netsvc"
	"roomd/store"
)

// runWatchdog keeps the service manager informed until ctx is done. The server is healthy
// while the committer and the goroutines of the network answer in time.
func (s *server) runWatchdog(ctx context.Context) {
	s.manager.Run(ctx, func(ctx context.Context) error {
		return errors.Join(s.st.Health(ctx), s.svc.Health(ctx))
	}, func() string { return statusLine(s.svc, s.st) })
}

// statusLine describes the state of the server, for systemctl status.
func statusLine(svc *netsvc.Service, st *store.Store) string {
	rooms, members, waiting := svc.List(), 0, []string(nil)
	for _, r := range rooms {
		members += r.Members
		if r.Unbound != "" {
			waiting = append(waiting, r.Name+": "+r.Unbound)
		}
	}
	text := fmt.Sprintf("%s in %s", english.Plural(members, "member"), english.Plural(len(rooms), "room"))
	if err := st.ReadOnly(); err != nil {
		text = "READ-ONLY: " + err.Error() + "; " + text
	}
	if st.DiskFull() {
		text = "FULL: the disk has no space for lines; " + text
	}
	for _, m := range svc.Missing() {
		text += fmt.Sprintf("; not on %s: %s", m.Addr, m.Cause)
	}
	for _, d := range svc.Doors() {
		for _, m := range d.Missing() {
			text += "; no " + d.Name + " on " + m
		}
	}
	if st.SlowDisk() > 0 {
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
