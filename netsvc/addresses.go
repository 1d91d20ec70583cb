package netsvc

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// An address of Options.Listen may be missing: the interface comes up after the
// server, or the machine has no IPv6. Then every port listens on the others, and
// settle tries the missing one until it is there.

// addressMax is how long a missing address may be there before it is tried.
const addressMax = 5 * time.Second

// Missing is an address of Options.Listen that not every port listens on.
type Missing struct {
	Addr  netip.Addr `json:"address"`
	Cause string     `json:"cause"`
}

func (m Missing) String() string { return fmt.Sprintf("%s (%s)", m.Addr, m.Cause) }

// Listening is where the master port listens.
func (s *Service) Listening() []netip.AddrPort {
	all := []netip.AddrPort{}
	if master := s.master.Load(); master != nil {
		for _, l := range master.Each {
			all = append(all, l.Addr)
		}
	}
	return all
}

// Wanted are the addresses and the master port of the options in effect.
func (s *Service) Wanted() (listen []netip.Addr, port int) {
	o := s.opts()
	return slices.Clone(o.Listen), o.Port
}

// Missing tells which addresses are waited for.
func (s *Service) Missing() []Missing {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Missing{}
	for _, a := range s.opts().Listen {
		if cause := s.missing[a]; cause != "" {
			all = append(all, Missing{a, cause})
		}
	}
	return all
}

// lack notes that a port does without an address for now.
func (s *Service) lack(a netip.Addr, cause string) {
	s.mu.Lock()
	before := s.missing[a]
	s.missing[a] = cause
	s.unsettle()
	s.mu.Unlock()
	s.warnMissing(a, before, cause)
}

func (s *Service) warnMissing(a netip.Addr, before, cause string) {
	if before == "" {
		s.log.Warn("an address of server.listen is missing; the server listens on the others and keeps trying", "address", a.String(), "cause", cause)
	}
}

// unsettle starts the goroutine that brings every port to the addresses of the
// options. mu is held.
func (s *Service) unsettle() {
	s.unsettled = true
	if s.settling || s.stopping {
		return
	}
	s.settling = true
	s.tasks.Go(func() {
		for wait := retryMin; s.pause(wait); wait = min(2*wait, addressMax) {
			end := s.engine.Alter()
			s.settle()
			end()
			if s.settled() {
				return
			}
		}
	})
}

// settled reports whether there is nothing left to be tried.
func (s *Service) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settling = s.unsettled || len(s.missing) > 0
	return !s.settling
}

// settle makes every port listen on the addresses of the options, as far as they
// are there, and on no other.
func (s *Service) settle() {
	s.reconfiguring.Lock()
	defer s.reconfiguring.Unlock()
	s.mu.Lock()
	s.unsettled = false
	s.mu.Unlock()
	c := s.change(*s.opts())
	if err := c.bind(); err != nil {
		s.log.Error("listen on every address", "error", err)
		c.back()
		return
	}
	c.install()
}

// found notes what is missing now.
func (s *Service) found(missing map[netip.Addr]string) {
	s.mu.Lock()
	before := s.missing
	if s.missing = missing; len(missing) > 0 {
		s.unsettle()
	}
	s.mu.Unlock()
	for a := range before {
		if missing[a] == "" && slices.Contains(s.opts().Listen, a) {
			s.log.Info("the server listens on a missing address now", "address", a.String())
		}
	}
	for a, cause := range missing {
		s.warnMissing(a, before[a], cause)
	}
}
