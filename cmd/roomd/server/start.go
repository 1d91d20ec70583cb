package server

import (
	"context"
	"fmt"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/metrics"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/upgrade"
	"roomd/netsvc"
	"roomd/netsvc/irc"
	"roomd/netsvc/web"
	"roomd/store"
)

// compactMinBytes is the size of a database file from which on the server compacts it at
// the start, if more than half of it is free.
const compactMinBytes = 64 << 20

// start opens everything. If it fails, stop closes what is open.
func (s *server) start() error {
	// The metrics come first: /readyz says that the server is starting.
	s.collector = s.newCollector()
	if err := s.startMetrics(); err != nil {
		return err
	}
	s.manager.Notify("STATUS=opening the database " + netsvc.Printable(s.cfg.Server.Data))
	if err := s.openStore(); err != nil {
		return err
	}
	s.manager.Notify("STATUS=binding the ports of the rooms")
	if err := s.svc.Start(); err != nil {
		return err
	}
	return s.openAdmin()
}

// openStore opens the database and the certificate, and makes the service over them.
func (s *server) openStore() (err error) {
	if w := s.cfg.FitDescriptors(); w != "" {
		s.log.Warn(w)
	}
	options := StoreOptions(s.cfg)
	options.CompactAbove = compactMinBytes
	options.Context = s.stopping
	options.Events = s.storeEvents()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	options.Progress = func(done, total int64) {
		select {
		case <-tick.C:
		default:
			return
		}
		s.log.Info("database is being rewritten", "percent", progress.Percent(done, total))
		// sd_notify(3): the start may take a minute more from now on.
		s.manager.Notify(fmt.Sprintf("STATUS=rewriting the database: %d %%", progress.Percent(done, total)), "EXTEND_TIMEOUT_USEC=60000000")
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
	s.irc = irc.New(ircOptions(s.cfg, s.Version))
	s.web = web.New(webOptions(s.cfg, s.Version, s.log))
	o.Doors = []netsvc.DoorOptions{{Door: s.irc, Listen: s.cfg.IRC.Listen}, {Door: s.web, Master: s.cfg.Web.Listen.Master, Listen: s.cfg.Web.Listen.Addrs()}}
	s.svc = netsvc.New(s.st, o)
	return nil
}

// storeEvents counts the commits of the database, and logs its troubles.
func (s *server) storeEvents() store.Events {
	var fullLogged, evictedLogged time.Time // clients can cause both events over and over: at most one line a minute
	evicted := 0                            // rooms that are not logged yet
	return store.Events{
		Committed: s.collector.Observe,
		ReadOnly: func(err error) {
			if err == nil {
				s.log.Info("database is writable again after a check")
				return
			}
			s.log.Error("database is read-only after a failed write: lines and changes are refused; recovery is retried until it succeeds", "error", err)
		},
		DiskFull: func(full bool) {
			if full && time.Since(fullLogged) > time.Minute {
				fullLogged = time.Now()
				s.log.Error("disk is full: lines and changes are refused until there is space", "database", s.cfg.Server.Data)
			}
		},
		Evicted: func(rooms int) {
			if evicted += rooms; time.Since(evictedLogged) > time.Minute {
				s.log.Warn("trash is full: the rooms that were deleted first are removed before rooms.trash has passed", "rooms", evicted)
				evicted, evictedLogged = 0, time.Now()
			}
		},
		ClockJumped: func(by time.Duration) {
			s.log.Warn("clock jumped ahead (it was set, or the machine was suspended): lines and trash age by the jump in an hour, unless the clock is set back before", "by", by.Round(time.Second))
		},
		SlowDisk: func(took time.Duration, over bool) {
			if over {
				s.log.Warn("disk answers again; lines and changes continue", "took", took.Round(time.Millisecond))
				return
			}
			s.log.Error("slow disk: a write does not return; lines and changes wait, reading continues", "for", took.Round(time.Millisecond))
		},
	}
}

// openAdmin opens the operators' side of the server: the commands, the admin socket and the
// collection of metrics.
func (s *server) openAdmin() error {
	c := s.cfg
	s.shell = &admin.Server{
		Service: s.svc, Store: s.st, Log: s.tap, Stop: func() { s.halt(nil) }, Config: func() []admin.Setting { return settings(s.config()) },
		Reload: func(dry bool) ([]admin.Change, error) { return s.reload(dry, false) },
		Program: func(binary string, trusted bool) (path, sum string, err error) {
			return upgrade.Program(binary, s.binary, trusted)
		},
		Upgrade: func(ctx context.Context, binary string, dry bool) (admin.Upgrade, error) {
			return s.upgrade(ctx, binary, dry, false)
		},
		Version: s.Version, ConfigFile: configName(c), Database: absolute(c.Server.Data), Group: c.Admin.Group,
		Addresses: func() (listening, advertised string) { return masterAddresses(s.svc), s.config().Master() },
		Files:     func() []string { return ServerFiles(s.config()) }, LogDropped: s.lines.State, NotReady: s.collector.NotReady,
		Certificate: func() *admin.Certificate { return (*admin.Certificate)(s.pair.Load().Status()) },
	}
	if err := s.shell.LoadPlans(); err != nil {
		return err
	}
	if err := s.startAdminSocket(); err != nil {
		return err
	}
	sources := metrics.Sources{
		Service: s.svc, Store: s.st, Outputs: map[string]func() (uint64, time.Duration){"log": s.lines.State},
		Certificate: func() (until, since time.Time) {
			if c := s.pair.Load().Status(); c != nil {
				until, since = c.Expires, c.Loaded
			}
			return
		},
	}
	if !s.Console { // with a console, log and stdout are the same lines above the prompt
		sources.Outputs["stdout"] = s.out.State
	}
	if err := s.collector.Watch(sources); err != nil {
		return err
	}
	s.collector.Ready.Store(true)
	return nil
}
