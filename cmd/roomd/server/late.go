package server

import (
	"context"
	"errors"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/metrics"
)

// The metrics and the admin socket are beside what the server is for: that the
// machine does not let us open them at the moment (an address that is not there
// yet, a folder that is missing or read-only) is a warning, and it is tried again.
// A process that takes over is stricter: what the other one had must be had.

const (
	lateMin = time.Second // between tries, and then twice that
	lateMax = 10 * time.Second
)

// newMeter makes what collects the metrics of this roomd.
func (s *server) newMeter() *metrics.Collector { return metrics.New(s.Version, s.Commit, s.Go) }

// openMetrics begins to serve the metrics, if they are wanted: on the
// predecessor's socket, if that is where it should be.
func (s *server) openMetrics() error {
	s.meter.PerRoom.Store(s.cfg.Metrics.PerRoom)
	s.meter.Profiles.Store(s.cfg.Metrics.Profiles)
	addr, had := s.cfg.Metrics.Listen, s.before
	if addr == "" {
		return nil
	}
	if had != nil && had.metrics != nil && had.metricsAddr == addr {
		s.serveMetrics(had.metrics)
		return nil
	}
	ln, err := metrics.Listen(addr)
	switch {
	case err == nil:
		s.serveMetrics(ln)
	case had != nil && had.metrics != nil:
		return err
	default:
		s.log.Warn("there are no metrics yet; trying again", "error", err)
	}
	return nil
}

// openSocket opens the admin socket, or takes it over, if it is wanted.
func (s *server) openSocket(had *predecessor) (err error) {
	c := s.cfg
	switch {
	case c.Admin.Socket == "":
		return nil
	case had.admin != nil && had.adminPath == c.Admin.Socket:
		s.socket, err = s.shell.Serve(had.admin, c.SocketMode())
		return err
	}
	s.socket, err = s.shell.Listen(c.Admin.Socket, c.SocketMode())
	var not admin.Unavailable
	if !errors.As(err, &not) || had.admin != nil || s.Console {
		return err
	}
	if s.noSocket = not.Ever; not.Ever {
		s.log.Warn("this server has no console", "error", err)
	} else {
		s.log.Warn("there is no console yet; trying again", "error", err)
	}
	return nil
}

// openLate opens what could not be opened at the start, until all is open or ctx
// is done.
func (s *server) openLate(ctx context.Context) {
	for wait := lateMin; s.lacksDoors(); wait = min(2*wait, lateMax) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		unlock, err := s.change(false)
		if err != nil {
			continue // a reload, most likely
		}
		s.openLacking()
		unlock()
	}
}

// lacksDoors reports whether there is something to open.
func (s *server) lacksDoors() bool {
	s.changing.Lock()
	defer s.changing.Unlock()
	c := s.config()
	return c.Metrics.Listen != "" && s.metricsDoor == nil || c.Admin.Socket != "" && s.socket == nil && !s.noSocket
}

// openLacking tries to open what is not open. changing is held.
func (s *server) openLacking() {
	c := s.config()
	if c.Metrics.Listen != "" && s.metricsDoor == nil {
		if ln, err := metrics.Listen(c.Metrics.Listen); err == nil {
			s.serveMetrics(ln)
			s.log.Info("the metrics are there now", "address", c.Metrics.Listen)
		}
	}
	if c.Admin.Socket == "" || s.socket != nil || s.noSocket {
		return
	}
	socket, err := s.shell.Listen(c.Admin.Socket, c.SocketMode())
	var not admin.Unavailable
	switch {
	case err == nil:
		s.socket = socket
		s.log.Info("the console is there now", "socket", c.Admin.Socket)
	case !errors.As(err, &not):
		s.noSocket = true
		s.log.Error("this server has no console", "error", err)
	}
}
