package server

import (
	"context"
	"errors"
	"net"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/metrics"
)

// The chat does not need the metrics and the admin socket. If the machine does not let the
// server open one of them at the start (an address that is missing, a folder that is
// missing or read-only), the server logs a warning and tries again later. After an upgrade
// a listener that the predecessor had must be open, or the upgrade fails.

// listeners are for operators. They may be opened after the start, and a reload opens them
// again.
type listeners struct {
	adminSocket     *admin.Listener // nil: not open
	adminDisabled   bool            // the admin socket cannot be opened at all
	metricsListener *net.TCPListener
	stopMetrics     func() // nil: the metrics are not served
}

const ( // between attempts to open a listener, doubled each time
	minRetry = time.Second
	maxRetry = 10 * time.Second
)

// newCollector makes the collector of the metrics.
func (s *server) newCollector() *metrics.Collector {
	c := metrics.New(s.Version, s.Commit, s.Go)
	c.PerRoom.Store(s.cfg.Metrics.PerRoom)
	c.Profiles.Store(s.cfg.Metrics.Profiles)
	return c
}

// startMetrics opens the metrics at the start. An address that cannot be opened is an error
// only if the predecessor served the metrics.
func (s *server) startMetrics() error {
	err := s.openMetrics()
	if err == nil || s.inherited.metricsListener != nil {
		return err
	}
	s.log.Warn("metrics cannot be served yet; retrying", "error", err)
	return nil
}

// openMetrics serves the metrics if the configuration wants it and they are not served yet.
func (s *server) openMetrics() error {
	addr, in := s.config().Metrics.Listen, s.inherited
	if addr == "" || s.metricsListener != nil {
		return nil
	}
	if in.metricsListener != nil && in.metricsAddr == addr {
		s.serveMetrics(in.metricsListener)
		return nil
	}
	ln, err := metrics.Listen(addr)
	if err != nil {
		return err
	}
	s.serveMetrics(ln)
	return nil
}

func (s *server) serveMetrics(ln *net.TCPListener) {
	s.metricsListener, s.stopMetrics = ln, s.collector.Serve(ln, s.log)
}

// startAdminSocket opens the admin socket at the start. A socket that this machine cannot
// open is an error only if the predecessor had one, or the server's console needs it.
func (s *server) startAdminSocket() error {
	err := s.openAdminSocket()
	var unavailable admin.UnavailableError
	if !errors.As(err, &unavailable) || s.inherited.adminSocket != nil || s.Console {
		return err
	}
	if s.adminDisabled = unavailable.Permanent; s.adminDisabled {
		s.log.Warn("admin socket cannot be opened; the server runs without a console", "error", err)
	} else {
		s.log.Warn("admin socket cannot be opened yet; retrying", "error", err)
	}
	return nil
}

// openAdminSocket opens the admin socket if the configuration wants it and it is not open
// yet.
func (s *server) openAdminSocket() (err error) {
	c, in := s.config(), s.inherited
	switch {
	case c.Admin.Socket == "" || s.adminSocket != nil || s.adminDisabled:
	case in.adminSocket != nil && in.adminPath == c.Admin.Socket:
		s.adminSocket, err = s.shell.Serve(in.adminSocket, c.SocketMode())
	default:
		s.adminSocket, err = s.shell.Listen(c.Admin.Socket, c.SocketMode())
	}
	return err
}

// retryListeners opens the listeners that could not be opened at the start. It returns when
// all are open or ctx is done.
func (s *server) retryListeners(ctx context.Context) {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		if unlock, err := s.beginChange(false); err == nil { // else a reload runs, or the server stops
			missing := s.openMissing()
			unlock()
			if !missing {
				return
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// openMissing tries to open the listeners that are not open, and reports whether one is
// still missing. The caller holds changeMu.
func (s *server) openMissing() (missing bool) {
	hadMetrics, hadAdmin := s.metricsListener != nil, s.adminSocket != nil
	missing = s.openMetrics() != nil
	if !hadMetrics && s.metricsListener != nil {
		s.log.Info("metrics are served now", "address", s.config().Metrics.Listen)
	}
	err := s.openAdminSocket()
	switch {
	case errors.As(err, new(admin.UnavailableError)):
		missing = true
	case err != nil:
		s.adminDisabled = true
		s.log.Error("admin socket cannot be opened; the server runs without a console", "error", err)
	case !hadAdmin && s.adminSocket != nil:
		s.log.Info("admin socket is open now", "socket", s.config().Admin.Socket)
	}
	return missing
}
