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
	minRetry = time.Second // between tries, and then twice that
	maxRetry = 10 * time.Second
)

// newCollector makes what collects the metrics of this roomd.
func (s *server) newCollector() *metrics.Collector { return metrics.New(s.Version, s.Commit, s.Go) }

// openMetrics begins to serve the metrics, if they are wanted: on the
// predecessor's socket, if that is where it should be.
func (s *server) openMetrics() error {
	s.collector.PerRoom.Store(s.cfg.Metrics.PerRoom)
	s.collector.Profiles.Store(s.cfg.Metrics.Profiles)
	addr, had := s.cfg.Metrics.Listen, s.predecessor
	if addr == "" {
		return nil
	}
	if had != nil && had.metricsListener != nil && had.metricsAddr == addr {
		s.serveMetrics(had.metricsListener)
		return nil
	}
	ln, err := metrics.Listen(addr)
	switch {
	case err == nil:
		s.serveMetrics(ln)
	case had != nil && had.metricsListener != nil:
		return err
	default:
		s.log.Warn("metrics cannot be served yet; retrying", "error", err)
	}
	return nil
}

// openAdminSocket opens the admin socket, or takes it over, if it is wanted.
func (s *server) openAdminSocket(had *predecessor) (err error) {
	c := s.cfg
	switch {
	case c.Admin.Socket == "":
		return nil
	case had.adminSocket != nil && had.adminPath == c.Admin.Socket:
		s.adminSocket, err = s.shell.Serve(had.adminSocket, c.SocketMode())
		return err
	}
	s.adminSocket, err = s.shell.Listen(c.Admin.Socket, c.SocketMode())
	var not admin.UnavailableError
	if !errors.As(err, &not) || had.adminSocket != nil || s.Console {
		return err
	}
	if s.adminDisabled = not.Permanent; not.Permanent {
		s.log.Warn("admin socket cannot be opened; the server runs without a console", "error", err)
	} else {
		s.log.Warn("admin socket cannot be opened yet; retrying", "error", err)
	}
	return nil
}

// retryListeners opens what could not be opened at the start, until all is open or ctx
// is done.
func (s *server) retryListeners(ctx context.Context) {
	for wait := minRetry; s.listenersMissing(); wait = min(2*wait, maxRetry) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		unlock, err := s.beginChange(false)
		if err != nil {
			continue // a reload, most likely
		}
		s.openMissing()
		unlock()
	}
}

// listenersMissing reports whether there is something to open.
func (s *server) listenersMissing() bool {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	c := s.config()
	return c.Metrics.Listen != "" && s.metricsListener == nil || c.Admin.Socket != "" && s.adminSocket == nil && !s.adminDisabled
}

// openMissing tries to open what is not open. changeMu is held.
func (s *server) openMissing() {
	c := s.config()
	if c.Metrics.Listen != "" && s.metricsListener == nil {
		if ln, err := metrics.Listen(c.Metrics.Listen); err == nil {
			s.serveMetrics(ln)
			s.log.Info("metrics are served now", "address", c.Metrics.Listen)
		}
	}
	if c.Admin.Socket == "" || s.adminSocket != nil || s.adminDisabled {
		return
	}
	socket, err := s.shell.Listen(c.Admin.Socket, c.SocketMode())
	var not admin.UnavailableError
	switch {
	case err == nil:
		s.adminSocket = socket
		s.log.Info("admin socket is open now", "socket", c.Admin.Socket)
	case !errors.As(err, &not):
		s.adminDisabled = true
		s.log.Error("admin socket cannot be opened; the server runs without a console", "error", err)
	}
}
