package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/admin"
	"roomd/admin/english"
	"roomd/admin/term"
	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/metrics"
	"roomd/cmd/roomd/output"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/systemd"
	"roomd/cmd/roomd/upgrade"
	"roomd/netsvc"
	"roomd/store"
)

// stopBound is how long stopping may take. Every step of it is bounded by
// itself; this is for the disk that never answers. It is below TimeoutStopSec of
// the unit, so that the log says what the matter was.
const stopBound = 25 * time.Second

// launch is what the command line says about a server.
type launch struct {
	file    string // the configuration; empty: where it usually is
	port    int    // instead of server.port; 0: not given
	console bool
}

// server is what serve has put together.
type server struct {
	// Set by start, then read-only.
	launch
	out     *output.Writer
	lines   *output.Writer // of the log
	log     *slog.Logger
	tap     *admin.Tap
	format  *output.Log
	manager *systemd.Manager
	meter   *metrics.Collector
	st      *store.Store
	svc     *netsvc.Service
	shell   *admin.Server
	socket  *admin.Listener // nil: admin.socket is empty
	binary  string          // that this process is of
	given   []int           // sockets of the service manager, for the master port

	stopping context.Context         // done when the server is to stop
	halt     context.CancelCauseFunc // ends stopping
	before   *predecessor            // nil: there is none
	parent   *upgrade.Relay          // of the process that waits for the server; nil: there is none
	over     chan struct{}           // closed when another process has taken over

	direct   chan os.Signal // signals of the system, for heed
	passed   chan passed    // and of other processes
	ready    chan struct{}  // closed when the server serves
	deaf     chan struct{}  // closed when heed is to end
	deafened chan struct{}  // and when it has

	changing    sync.Mutex // held by a reload, an upgrade and the stop; nobody waits for it but the stop
	metricsDoor *net.TCPListener
	noSocket    bool               // there will be no admin socket, whatever is tried
	stopMetrics func()             // nil: metrics.listen is empty
	lost        error              // why the database could not be had back after an upgrade that failed
	successor   *upgrade.Successor // set before over is closed, then read-only

	pair atomic.Pointer[certificate.Pair] // nil in it: connections are plain

	mu  sync.Mutex
	cfg *config.Config // in effect; replaced as a whole
}

// serve runs the server until ctx is done, a signal or the operator says so.
// out gets what the person at the terminal wants to know, errw the log; with
// the console both are printed above its prompt.
func serve(ctx context.Context, how launch, out, errw io.Writer) (err error) {
	// Whoever reads what we print may go: a write fails then, and must not end the
	// process, as it does at descriptors 1 and 2 (os/signal, SIGPIPE).
	signal.Ignore(syscall.SIGPIPE)
	direct := how.catch()
	defer signal.Reset(how.stopSignals()...) // the others stay caught: they must not end a process that ends
	before, err := findPredecessor()
	if err != nil {
		return err
	}
	c, err := config.Load(how.file, how.port)
	if err != nil {
		return before.fail(err)
	}
	given, at, err := systemd.Sockets(os.Getenv)
	if err != nil {
		return err
	}
	c.Activated = at
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var console *admin.Console
	if how.console {
		if c.Admin.Socket == "" {
			return errors.New("the console needs admin.socket, which is empty")
		}
		if console, err = admin.NewConsole(c.Admin.Socket, admin.HistoryFile()); err != nil {
			return fmt.Errorf("open the console: %w", err)
		}
		defer func() { console.Leave() }()
		out, errw = console, console
	}
	s := &server{launch: how, cfg: c, given: given, stopping: ctx, halt: cancel, before: before, over: make(chan struct{}),
		direct: direct, passed: make(chan passed), ready: make(chan struct{}), deaf: make(chan struct{}), deafened: make(chan struct{})}
	heeding := false
	defer func() { // the last thing: until then a process that has handed over passes on what it gets
		close(s.deaf)
		if heeding {
			<-s.deafened
		}
	}()
	s.out, s.lines = output.New(out), output.New(errw)
	defer s.flush()
	s.tap, s.format = newTap(c, s.lines)
	s.log = slog.New(s.tap)
	if c.PassedOver != "" {
		s.log.Warn(c.PassedOver)
	}
	if s.manager, err = systemd.Connect(os.Getenv, s.log); err != nil {
		return err
	}
	defer s.manager.Close()
	if s.binary, err = os.Executable(); err != nil {
		return err
	}
	heeding = true
	go func() {
		defer close(s.deafened)
		s.heed()
	}()
	if before != nil {
		if err := s.takeOver(); err != nil {
			return before.fail(err) // what it has is the other process's
		}
	} else if err := s.start(); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			s.log.Info("stopped before the database was open", "found", err)
			err = nil
		}
		return errors.Join(err, s.stop())
	}
	why := s.run(console)
	if s.settle() {
		return s.leave()
	}
	began := time.Now()
	if why == context.Canceled {
		why = errors.New("an operator has said so")
	} else {
		s.shell.RecordStop(bySignal, "stop: "+why.Error())
	}
	s.log.Info("stopping", "why", why)
	if err := s.stop(); err != nil {
		return err
	}
	s.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
	return s.lost
}

// flush brings out what was printed and logged, as far as its readers take it in
// time.
func (s *server) flush() {
	until := time.Now().Add(output.FlushTime)
	s.lines.Flush(time.Until(until))
	s.out.Flush(time.Until(until))
}

// start opens everything. What it has opened when it fails is stop's to close.
func (s *server) start() error {
	c := s.cfg
	// The metrics come first: they say that the server is not ready yet.
	s.meter = newMeter()
	if err := s.openMetrics(); err != nil {
		return err
	}
	s.manager.Notify("STATUS=opening the database " + netsvc.Printable(c.Server.Data))
	if err := s.open(); err != nil {
		return err
	}
	s.manager.Notify("STATUS=binding the rooms")
	if err := s.svc.Start(); err != nil {
		return err
	}
	return s.openDoors()
}

// open opens the database and makes the service over it.
func (s *server) open() (err error) {
	if w := s.cfg.FitDescriptors(); w != "" {
		s.log.Warn(w)
	}
	options := storeOptions(s.cfg)
	options.Events.Observe = s.meter.Observe
	options.CompactAbove = compactAbove
	options.Context = s.stopping
	options.Events.Latched = func(why error) {
		if why == nil {
			s.log.Info("the database is checked and takes lines again")
			return
		}
		s.log.Error("no line and no change is kept until the database has been opened again, which is tried from now on", "error", why)
	}
	var full time.Time // when that was said; it may come and go with each line
	options.Events.Filled = func(is bool) {
		if is && time.Since(full) > time.Minute {
			full = time.Now()
			s.log.Error("the disk is full: lines and changes are refused until there is space", "database", s.cfg.Server.Data)
		}
	}
	said := time.Now()
	options.Progress = func(done, total int64) {
		if time.Since(said) < time.Second {
			return
		}
		said = time.Now()
		s.log.Info("the database is being rewritten", "percent", progress.Percent(done, total))
		// sd_notify(3): the start may take so much longer, from now on.
		s.manager.Notify(fmt.Sprintf("STATUS=rewriting the database: %d %%", progress.Percent(done, total)), "EXTEND_TIMEOUT_USEC=60000000")
	}
	var evicted int // rooms, not told of yet
	var told time.Time
	options.Events.Evicted = func(rooms int) {
		if evicted += rooms; time.Since(told) > time.Minute { // who makes and deletes rooms in a loop is not to fill the log
			s.log.Warn("the trash is full: rooms that were deleted first are removed before rooms.trash is over", "rooms", evicted)
			evicted, told = 0, time.Now()
		}
	}
	options.Events.Jumped = func(by time.Duration) {
		s.log.Warn("the clock has gone ahead without us (it was set, or the server or the machine was asleep): lines and rooms in the trash age by that in an hour, and not at all if it is set back before", "by", by.Round(time.Second))
	}
	options.Events.Stalled = func(took time.Duration, over bool) {
		if over {
			s.log.Warn("the disk answers again; what waited goes on", "took", took.Round(time.Millisecond))
			return
		}
		s.log.Error("the disk does not answer: lines and changes wait, reading goes on", "for", took.Round(time.Millisecond))
	}
	if s.st, err = store.Open(s.cfg.Server.Data, options); err != nil {
		return err
	}
	for _, w := range s.st.Warnings() {
		s.log.Warn("the database", "found", w)
	}
	pair, err := certificate.Load(s.cfg.TLS.Cert, s.cfg.TLS.Key, s.log)
	if err != nil {
		return err
	}
	s.pair.Store(pair)
	o := serviceOptions(s.cfg, s.log, pair)
	o.Master = s.given
	s.svc = netsvc.New(s.st, o)
	return nil
}

// openDoors opens what is not for chatters: the admin socket and the metrics. A
// predecessor's are taken over, if they are where they should be.
func (s *server) openDoors() error {
	c, had := s.cfg, s.before
	if had == nil {
		had = new(predecessor)
	}
	s.shell = &admin.Server{
		Service: s.svc, Store: s.st, Log: s.tap, Stop: func() { s.halt(nil) }, Config: func() []admin.Setting { return settings(s.config()) },
		Bounds: config.Bounds, Reload: s.reload, Program: func(binary string, trusted bool) (path, sum string, err error) {
			return upgrade.Program(binary, s.binary, trusted)
		}, Upgrade: s.upgrade, Version: thisVersion().Version, From: from(c),
		Addresses: func() string { return addresses(s.svc) }, Data: absolute(c.Server.Data), Group: c.Admin.Group,
		Files:   func() []string { return ownFiles(s.config()) },
		Dropped: s.lines.State, Certificate: func() *admin.Certificate { return certificateOf(s.pair.Load().About()) },
	}
	if err := s.shell.LoadPlans(); err != nil {
		return err
	}
	if err := s.openSocket(had); err != nil {
		return err
	}
	from := metrics.Sources{
		Service: s.svc, Store: s.st, Outputs: map[string]func() (uint64, time.Duration){"log": s.lines.State},
		Certificate: func() (until, since time.Time) {
			if c := s.pair.Load().About(); c != nil {
				until, since = c.Until, c.Since
			}
			return
		},
	}
	if !s.console { // there both are lines above the prompt
		from.Outputs["stdout"] = s.out.State
	}
	if err := s.meter.Watch(from); err != nil {
		return err
	}
	s.meter.Ready.Store(true)
	return nil
}

// serveMetrics begins to serve the metrics.
func (s *server) serveMetrics(ln *net.TCPListener) {
	s.metricsDoor, s.stopMetrics = ln, s.meter.Serve(ln, s.log)
}

// config is the configuration in effect, not to be changed.
func (s *server) config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// run says that the server is ready, waits for its end, and returns why it is to
// stop: context.Canceled if the operator has said so.
func (s *server) run(console *admin.Console) error {
	ctx, cancel := context.WithCancelCause(s.stopping)
	defer cancel(nil)
	s.shell.ResumePlans(s.before != nil)
	c := s.config()
	may, why := c.MayDelete()
	s.log.Info("access", "may_create", c.Access.Create, "may_delete", may, "why", why)
	for _, w := range c.Risks() {
		s.log.Warn(w)
	}
	s.log.Info("ready", "master", addresses(s.svc), "version", thisVersion().Version, "config", from(c), "database", absolute(c.Server.Data), "pid", os.Getpid())
	announce(s.out, c, s.svc)
	s.manager.Notify("READY=1", "STATUS="+statusLine(s.svc, s.st))
	var attending sync.WaitGroup
	attending.Go(func() { s.attendManager(ctx) })
	attending.Go(func() { certificate.Attend(ctx, s.pair.Load) })
	attending.Go(func() { s.openLate(ctx) })
	close(s.ready)
	if console == nil {
		fmt.Fprintln(s.out, "ready; Ctrl-C stops, roomd admin opens the console")
	} else {
		fmt.Fprintln(s.out, "ready; help lists the commands, quit and Ctrl-D stop the server")
		console.MayLeave = func() string { return leaving(s.svc) }
		s.attendConsole(ctx, console)
		cancel(errors.New("the console was left"))
	}
	select {
	case <-ctx.Done():
	case <-s.over:
		cancel(nil)
	}
	attending.Wait()
	return context.Cause(ctx)
}

// consoleBound is how long a stop waits for the console.
const consoleBound = 2 * time.Second

// attendConsole returns when the operator has left, or the server is to stop: then
// the console has a moment to do so, and holds up nothing.
func (s *server) attendConsole(ctx context.Context, console *admin.Console) {
	left := make(chan struct{})
	go func() {
		defer term.Guard()
		defer close(left)
		console.Run()
	}()
	select {
	case <-left:
	case <-ctx.Done():
		console.Close()
		select {
		case <-left:
		case <-time.After(consoleBound):
		}
	}
}

// leaving is what is asked before the console's end stops a server that has
// members.
func leaving(svc *netsvc.Service) string {
	members := 0
	rooms := svc.List()
	for _, r := range rooms {
		members += r.Members
	}
	if members == 0 {
		return ""
	}
	return fmt.Sprintf("stops the server; members: %d, rooms: %d", members, len(rooms))
}

// stop ends what start has begun.
func (s *server) stop() error {
	s.manager.Notify("STOPPING=1", "STATUS=stopping: members get what is pending")
	defer time.AfterFunc(stopBound, func() {
		s.log.Error("stopping hangs, most likely at the disk; the process ends as it is: what was acknowledged is there", "after", stopBound)
		s.flush()
		os.Exit(exitFailed)
	}).Stop()
	s.changing.Lock() // a reload that is under way comes to its end
	defer s.changing.Unlock()
	if s.meter != nil {
		s.meter.Ready.Store(false)
	}
	if s.shell != nil {
		s.shell.LeavePlans() // what is due from now on fails, and is to stay on disk
	}
	if s.svc != nil {
		s.svc.Stop()
	}
	if s.stopMetrics != nil { // until now who asked was told that we stop
		s.stopMetrics()
	}
	var err error
	if s.socket != nil {
		err = s.socket.Close()
	}
	if s.st != nil {
		err = errors.Join(err, s.st.Close())
	}
	return err
}

// addresses is where the master port really listens.
func addresses(svc *netsvc.Service) string {
	var all []string
	for _, a := range svc.Listening() {
		all = append(all, a.String())
	}
	return cmp.Or(strings.Join(all, " "), "none yet")
}

// announce says where everything is. A few rooms are listed, many are counted.
func announce(out io.Writer, c *config.Config, svc *netsvc.Service) {
	const most = 10
	fmt.Fprintf(out, "roomd %s, process %d, configuration: %s, database: %s\n", thisVersion().Version, os.Getpid(), from(c), absolute(c.Server.Data))
	fmt.Fprintf(out, "master port  %s\n", addresses(svc))
	for _, m := range svc.Missing() {
		fmt.Fprintf(out, "missing      %s: %s\n", m.Addr, m.Cause)
	}
	rooms := svc.List()
	for i, r := range rooms {
		if i == most {
			fmt.Fprintf(out, "and %s more\n", english.Plural(len(rooms)-most, "room"))
			break
		}
		if r.Unbound != "" {
			fmt.Fprintf(out, "room %-8s waits: %s\n", r.Name, r.Unbound)
			continue
		}
		fmt.Fprintf(out, "room %-8s port %d\n", r.Name, r.Port)
	}
}
