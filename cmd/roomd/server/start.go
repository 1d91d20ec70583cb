package server

import (
	"fmt"
	"net"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/metrics"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/upgrade"
	"roomd/netsvc"
	"roomd/store"
)

// compactMinBytes is how long a file is, in bytes, that the server compacts at
// start if more than half of it is free.
const compactMinBytes = 64 << 20

// start opens everything. What it has opened when it fails is stop's to close.
func (s *server) start() error {
	c := s.cfg
	// The metrics come first: they say that the server is not ready yet.
	s.collector = s.newCollector()
	if err := s.openMetrics(); err != nil {
		return err
	}
	s.manager.Notify("STATUS=opening the database " + netsvc.Printable(c.Server.Data))
	if err := s.open(); err != nil {
		return err
	}
	s.manager.Notify("STATUS=binding the ports of the rooms")
	if err := s.svc.Start(); err != nil {
		return err
	}
	return s.openAdmin()
}

// open opens the database and makes the service over it.
func (s *server) open() (err error) {
	if w := s.cfg.FitDescriptors(); w != "" {
		s.log.Warn(w)
	}
	options := StoreOptions(s.cfg)
	options.Events.Committed = s.collector.Observe
	options.CompactAbove = compactMinBytes
	options.Context = s.stopping
	options.Events.ReadOnly = func(why error) {
		if why == nil {
			s.log.Info("database is writable again after a check")
			return
		}
		s.log.Error("database is read-only after a failed write: lines and changes are refused; recovery is retried until it succeeds", "error", why)
	}
	var full time.Time // when that was said; it may come and go with each line
	options.Events.DiskFull = func(is bool) {
		if is && time.Since(full) > time.Minute {
			full = time.Now()
			s.log.Error("disk is full: lines and changes are refused until there is space", "database", s.cfg.Server.Data)
		}
	}
	said := time.Now()
	options.Progress = func(done, total int64) {
		if time.Since(said) < time.Second {
			return
		}
		said = time.Now()
		s.log.Info("database is being rewritten", "percent", progress.Percent(done, total))
		// sd_notify(3): the start may take so much longer, from now on.
		s.manager.Notify(fmt.Sprintf("STATUS=rewriting the database: %d %%", progress.Percent(done, total)), "EXTEND_TIMEOUT_USEC=60000000")
	}
	var evicted int // rooms, not told of yet
	var told time.Time
	options.Events.Evicted = func(rooms int) {
		if evicted += rooms; time.Since(told) > time.Minute { // a client that makes and deletes rooms in a loop is not to fill the log
			s.log.Warn("trash is full: the rooms that were deleted first are removed before rooms.trash has passed", "rooms", evicted)
			evicted, told = 0, time.Now()
		}
	}
	options.Events.ClockJumped = func(by time.Duration) {
		s.log.Warn("clock jumped ahead (it was set, or the machine was suspended): lines and trash age by the jump in an hour, unless the clock is set back before", "by", by.Round(time.Second))
	}
	options.Events.SlowDisk = func(took time.Duration, over bool) {
		if over {
			s.log.Warn("disk answers again; lines and changes continue", "took", took.Round(time.Millisecond))
			return
		}
		s.log.Error("slow disk: a write does not return; lines and changes wait, reading continues", "for", took.Round(time.Millisecond))
	}
	if s.st, err = store.Open(s.cfg.Server.Data, options); err != nil {
		return err
	}
	for _, w := range s.st.Warnings() {
		s.log.Warn("database needs attention", "cause", w)
	}
	pair, err := certificate.Load(s.cfg.TLS.Cert, s.cfg.TLS.Key, s.log)
	if err != nil {
		return err
	}
	s.pair.Store(pair)
	o := serviceOptions(s.cfg, s.log, pair)
	o.MasterFDs = s.given
	s.svc = netsvc.New(s.st, o)
	return nil
}

// openAdmin opens what is not for chatters: the admin socket and the metrics. A
// predecessor's are taken over, if they are where they should be.
func (s *server) openAdmin() error {
	c, had := s.cfg, s.predecessor
	if had == nil {
		had = new(predecessor)
	}
	s.shell = &admin.Server{
		Service: s.svc, Store: s.st, Log: s.tap, Stop: func() { s.halt(nil) }, Config: func() []admin.Setting { return settings(s.config()) },
		Reload: s.reload, Program: func(binary string, trusted bool) (path, sum string, err error) {
			return upgrade.Program(binary, s.binary, trusted)
		}, Upgrade: s.upgrade, Version: s.Version, ConfigFile: configName(c),
		Addresses: func() (listening, advertised string) { return masterAddresses(s.svc), s.config().Master() }, Database: absolute(c.Server.Data), Group: c.Admin.Group,
		Files:      func() []string { return ServerFiles(s.config()) },
		LogDropped: s.lines.State, Certificate: func() *admin.Certificate { return adminCertificate(s.pair.Load().Status()) },
	}
	if err := s.shell.LoadPlans(); err != nil {
		return err
	}
	if err := s.openAdminSocket(had); err != nil {
		return err
	}
	from := metrics.Sources{
		Service: s.svc, Store: s.st, Outputs: map[string]func() (uint64, time.Duration){"log": s.lines.State},
		Certificate: func() (until, since time.Time) {
			if c := s.pair.Load().Status(); c != nil {
				until, since = c.Until, c.Since
			}
			return
		},
	}
	if !s.Console { // there both are lines above the prompt
		from.Outputs["stdout"] = s.out.State
	}
	if err := s.collector.Watch(from); err != nil {
		return err
	}
	s.collector.Ready.Store(true)
	return nil
}

// serveMetrics begins to serve the metrics.
func (s *server) serveMetrics(ln *net.TCPListener) {
	s.metricsListener, s.stopMetrics = ln, s.collector.Serve(ln, s.log)
}
