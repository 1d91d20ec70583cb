package server

import (
	"errors"
	"net"
	"runtime/debug"

	"roomd/cmd/roomd/upgrade"
	"roomd/store"
	"roomd/store/disk"
)

// predecessor is the process that this one takes over from.
type predecessor struct {
	*upgrade.Predecessor
	adminSocket     *net.UnixListener // nil: it has none
	metricsListener *net.TCPListener  // nil: it has none

	adminPath, metricsAddr string // where they listen
}

// findPredecessor looks whether this process was started to take over. If it was not it
// returns nil.
func findPredecessor() (*predecessor, error) {
	p, err := upgrade.FindPredecessor()
	if p == nil {
		return nil, err
	}
	return &predecessor{Predecessor: p}, nil
}

// fail tells the other process, if there is one, why this one cannot take over.
func (p *predecessor) fail(err error) error {
	if p == nil {
		return err
	}
	return p.Fail(err)
}

// receive receives a frame for the network. What is ours is kept before; at the end
// the kind is empty.
func (p *predecessor) receive() (kind string, body []byte, fds []int, err error) {
	for {
		kind, body, fds, err := p.Next()
		switch kind {
		case "admin":
			p.adminPath, p.adminSocket, err = upgrade.Listener[*net.UnixListener](body, fds)
		case "metrics":
			p.metricsAddr, p.metricsListener, err = upgrade.Listener[*net.TCPListener](body, fds)
		default:
			return kind, body, fds, err
		}
		if err != nil {
			return "", nil, nil, err
		}
	}
}

// adopt is start for a process that has a predecessor. Until it returns nil no
// connection has been touched; after an error the process must end as it is.
func (s *server) adopt() error {
	p := s.predecessor
	if s.Console {
		return errors.New("a server with a console in its terminal cannot take over")
	}
	s.changeMu.Lock() // no reload before the ports are what they are to be
	defer s.changeMu.Unlock()
	data, err := disk.RealPath(s.cfg.Server.Data)
	if err != nil {
		return err
	}
	if err := p.SendHello(s.Version, store.Schema, data); err != nil {
		return err
	}
	was, err := p.ReceiveState()
	if err != nil {
		return err
	}
	// Everybody waits, and all that is read is kept: nothing is to be collected.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s.cfg.Activated = was.Activated
	s.collector = s.newCollector()
	adopt := func() error { return s.svc.Adopt(p.receive) }
	for _, step := range []func() error{s.open, adopt, s.openMetrics, s.openAdmin, p.AwaitCommit} {
		if err := step(); err != nil {
			return err
		}
	}
	s.svc.Thaw()
	s.adoptRelays(was.Stays)
	// The ports are those of the other process's configuration still.
	change, err := s.svc.Prepare(serviceOptions(s.cfg, s.log, s.pair.Load()))
	if err != nil {
		listen, port := s.svc.Wanted()
		s.log.Error("new server.listen and server.port cannot be used; the old values stay in effect", "listen", listen, "port", port, "error", err)
		next := *s.config() // which an operator may be reading already
		if next.Server.Listen = listen; len(next.Activated) == 0 {
			next.Server.Port = port
		}
		s.mu.Lock()
		s.cfg = &next
		s.mu.Unlock()
		return nil
	}
	change.Commit()
	return nil
}

// adoptRelays takes over the signals that the other process gets from now on, and
// those of the one that waits for the server.
func (s *server) adoptRelays(stays bool) {
	before := s.predecessor.Relay(stays)
	switch {
	case stays:
		s.parent = before
	case s.predecessor.Parent != nil:
		s.parent = s.predecessor.Parent
		s.relayFrom(s.parent)
	}
	s.relayFrom(before)
}
