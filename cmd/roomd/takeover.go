package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"roomd/cmd/roomd/config"
	"roomd/store"
	"roomd/store/disk"
)

// predecessor is the process that this one takes over from.
type predecessor struct {
	*handoff
	admin   *net.UnixListener // nil: it has none
	metrics *net.TCPListener  // nil: it has none
	parent  *net.UnixConn     // of the process that waits for the server; nil: there is none

	adminPath, metricsAddr string // where they listen
}

// findPredecessor looks into the environment whether this process was started
// to take over. Without one it returns nil.
func findPredecessor() (*predecessor, error) {
	v := os.Getenv(takeoverEnv)
	if v == "" {
		return nil, nil
	}
	os.Unsetenv(takeoverEnv)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", takeoverEnv, v)
	}
	syscall.CloseOnExec(fd)
	h, err := handoffOn(uintptr(fd))
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	h.within(helloTime + freezeTime + adoptTime)
	return &predecessor{handoff: h}, nil
}

// fail tells the other process, if there is one, why this one cannot take over.
func (p *predecessor) fail(err error) error {
	if p == nil {
		return err
	}
	p.within(time.Second)
	if e := p.send("failed", err.Error()); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// introduce says what this binary understands.
func (p *predecessor) introduce(c *config.Config) error {
	data, err := disk.Real(c.Server.Data)
	if err != nil {
		return err
	}
	return p.send("hello", hello{thisVersion().Version, [2]int{oldestVersion, handoffVersion}, store.Schema, data})
}

// begin receives what comes before the network's states.
func (p *predecessor) begin() (s state, err error) {
	if err := p.expect("state", &s); err != nil {
		return s, err
	}
	if s.Version < oldestVersion || s.Version > handoffVersion {
		return s, fmt.Errorf("its states are of version %d", s.Version)
	}
	return s, nil
}

// next receives a frame for the network. What is ours is kept before; at the end
// the kind is empty.
func (p *predecessor) next() (kind string, body []byte, fds []int, err error) {
	for {
		kind, body, fds, err := p.receive()
		if err != nil {
			return "", nil, nil, err
		}
		switch kind {
		case "parent":
			if p.parent, err = connOf(fds); err != nil {
				return "", nil, nil, err
			}
		case "admin":
			if err := p.listener(body, fds, &p.adminPath, func(l net.Listener) (ok bool) {
				p.admin, ok = l.(*net.UnixListener)
				return ok
			}); err != nil {
				return "", nil, nil, err
			}
		case "metrics":
			if err := p.listener(body, fds, &p.metricsAddr, func(l net.Listener) (ok bool) {
				p.metrics, ok = l.(*net.TCPListener)
				return ok
			}); err != nil {
				return "", nil, nil, err
			}
		case "end":
			return "", nil, nil, nil
		default:
			return kind, body, fds, nil
		}
	}
}

// connOf makes a connection of a frame's one descriptor.
func connOf(fds []int) (*net.UnixConn, error) {
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors came for one connection", len(fds))
	}
	h, err := handoffOn(uintptr(fds[0]))
	if err != nil {
		return nil, err
	}
	return h.conn, nil
}

// listener makes a listener of a frame's one descriptor.
func (p *predecessor) listener(body []byte, fds []int, name *string, keep func(net.Listener) bool) error {
	if len(fds) != 1 {
		return fmt.Errorf("%d descriptors came for one listener", len(fds))
	}
	if err := json.Unmarshal(body, name); err != nil {
		return err
	}
	f := os.NewFile(uintptr(fds[0]), *name)
	defer f.Close() // FileListener has one of its own
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	if !keep(l) {
		return fmt.Errorf("what came as %s is no such socket", *name)
	}
	return nil
}

// ready says that everything is taken in, and waits for the word to serve. When
// it returns nil the other process has been told that this one does.
func (p *predecessor) ready() error {
	if err := p.send("adopted", struct{}{}); err != nil {
		return err
	}
	p.within(adoptTime + servesTime)
	if err := p.expect("go", new(struct{})); err != nil {
		return err
	}
	return p.send("serving", struct{}{})
}

// takeOver is start for a process that has a predecessor. Until it returns nil no
// connection has been touched; after an error the process must end as it is.
func (s *server) takeOver() error {
	p := s.before
	if s.console {
		return errors.New("a server with a console in its terminal cannot take over")
	}
	s.changing.Lock() // no reload before the ports are what they are to be
	defer s.changing.Unlock()
	if err := p.introduce(s.cfg); err != nil {
		return err
	}
	was, err := p.begin()
	if err != nil {
		return err
	}
	// Everybody waits, and all that is read is kept: nothing is to be collected.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s.cfg.Activated = was.Activated
	s.meter = newMeter()
	if err := s.open(); err != nil {
		return err
	}
	if err := s.svc.Adopt(p.next); err != nil {
		return err
	}
	if err := s.openMetrics(); err != nil {
		return err
	}
	if err := s.openDoors(); err != nil {
		return err
	}
	if err := p.ready(); err != nil {
		return err
	}
	s.svc.Thaw()
	s.inherit(was.Stays)
	// The ports are those of the other process's configuration still.
	change, err := s.svc.Prepare(serviceOptions(s.cfg, s.log, s.pair.Load()))
	if err != nil {
		listen, port := s.svc.Wanted()
		s.log.Error("server.listen and server.port stay what they were", "listen", listen, "port", port, "error", err)
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

// inherit takes over the signals that the other process gets from now on, and
// those of the one that waits for the server.
func (s *server) inherit(stays bool) {
	before := &relay{conn: s.before.conn, parent: stays}
	switch {
	case stays:
		s.parent = before
	case s.before.parent != nil:
		s.parent = &relay{conn: s.before.parent, parent: true}
		s.listen(s.parent)
	}
	s.listen(before)
}
