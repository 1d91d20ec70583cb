package netsvc

import (
	"errors"
	"net/netip"
	"time"

	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
)

// enter counts a connection, or says which limit it is over.
func (s *Service) enter(a netip.Addr) (Barred, error) {
	if err := s.connectsTooOften(a); err != nil {
		return tooOften, err
	}
	o := s.opts()
	switch err := s.conns.Enter(a, o.Connections, o.PerAddress); {
	case errors.Is(err, limit.ErrTotal):
		return overAll, wire.Errorf(wire.CodeBusy, "the server has %s, which is the limit; try again later", counted(o.Connections, "connection"))
	case err != nil:
		return overAddress, wire.Errorf(wire.CodeBusy, "your address has %s here, which is the limit", counted(o.PerAddress, "connection"))
	}
	return "", nil
}

// leave is the opposite of enter.
func (s *Service) leave(a netip.Addr) { s.conns.Leave(a) }

// connectsTooOften refuses an address that does.
func (s *Service) connectsTooOften(a netip.Addr) error {
	o := s.opts()
	if o.ConnectRate == 0 || o.exempt(a) {
		return nil
	}
	wait := s.connects.Take(time.Now(), limit.Prefix(a), 1, o.connects(), 0)
	if wait == 0 {
		return nil
	}
	s.counters.hurried.Add(1)
	return wire.Errorf(wire.CodeBusy, "your address connects too often; try again in %v", wait.Round(time.Second)+time.Second)
}
