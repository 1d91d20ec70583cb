package server

import (
	"errors"
	"net"
	"runtime/debug"

	"roomd/cmd/roomd/upgrade"
	"roomd/store"
	"roomd/store/disk"
)

// inherited are the operators' listeners that the predecessor hands over, and the settings
// that they were opened for. A nil listener was not handed over.
type inherited struct {
	adminSocket     *net.UnixListener
	adminPath       string
	metricsListener *net.TCPListener
	metricsAddr     string
}

// receive receives a frame for the network, and keeps the frames with operators' listeners.
// The kind is empty at the end.
func (s *server) receive() (kind string, body []byte, fds []int, err error) {
	for {
		kind, body, fds, err := s.predecessor.Next()
		switch in := &s.inherited; kind {
		case "admin":
			in.adminPath, in.adminSocket, err = upgrade.Listener[*net.UnixListener](body, fds)
		case "metrics":
			in.metricsAddr, in.metricsListener, err = upgrade.Listener[*net.TCPListener](body, fds)
		default:
			return kind, body, fds, err
		}
		if err != nil {
			return "", nil, nil, err
		}
	}
}

// adopt does the work of start for a process that has a predecessor. Until it returns nil,
// no connection is touched; after an error this process must exit and change nothing.
func (s *server) adopt() error {
	p := s.predecessor
	if s.Console {
		return errors.New("a server with a console in its terminal cannot take over")
	}
	s.changeMu.Lock() // a reload would compare with the ports of the predecessor
	defer s.changeMu.Unlock()
	data, err := disk.RealPath(s.cfg.Server.Data)
	if err != nil {
		return err
	}
	if err := p.SendHello(s.Version, store.Schema, data); err != nil {
		return err
	}
	state, err := p.ReceiveState()
	if err != nil {
		return err
	}
	// All members wait, and everything that is read stays in use: a collection would only cost time.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s.cfg.Activated = state.Activated
	s.collector = s.newCollector()
	adoptNetwork := func() error { return s.svc.Adopt(s.receive) }
	for _, step := range []func() error{s.openStore, adoptNetwork, s.startMetrics, s.openAdmin, p.AwaitCommit} {
		if err := step(); err != nil {
			return err
		}
	}
	s.svc.Thaw()
	s.adoptRelays(state.Stays)
	// The ports are still those of the predecessor's configuration.
	change, err := s.svc.Prepare(serviceOptions(s.cfg, s.log, s.pair.Load()))
	if err != nil {
		listen, port := s.svc.Wanted()
		s.log.Error("new server.listen and server.port cannot be used; the old values stay in effect", "listen", listen, "port", port, "error", err)
		next := *s.config() // a copy, because an operator may be reading it
		if next.Server.Listen = listen; len(next.Activated) == 0 {
			next.Server.Port = port
		}
		s.setConfig(&next)
		return nil
	}
	change.Commit()
	return nil
}

// adoptRelays takes over the signals that the predecessor receives from now on, and those
// of the parent that waits for the server.
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
