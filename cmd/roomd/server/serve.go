package server

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
	"roomd/cmd/roomd/systemd"
	"roomd/cmd/roomd/upgrade"
	"roomd/netsvc"
	"roomd/store"
)

// StopTimeout is how long stopping may take. Every step of it is bounded by
// itself; this is for the disk that never answers. It is below TimeoutStopSec of
// the unit, so that the log says what the matter was.
const StopTimeout = 25 * time.Second

// Launch is what the command line says about a server, and what binary this is.
type Launch struct {
	File    string // the configuration; empty: where it usually is
	Port    int    // instead of server.port; 0: not given
	Console bool   // in this terminal

	Version, Commit, Go string
}

// server is what Serve has put together.
type server struct {
	// Set at the start, then read-only.
	Launch
	outputs
	manager   *systemd.Manager
	collector *metrics.Collector
	st        *store.Store
	svc       *netsvc.Service
	shell     *admin.Server
	binary    string // that this process is of
	given     []int  // sockets of the service manager, for the master port

	stopping context.Context         // done when the server is to stop
	halt     context.CancelCauseFunc // ends stopping
	processes
	signals

	changeMu  sync.Mutex // held by a reload, an upgrade, a late opening and the stop
	listeners            // guarded by changeMu

	pair atomic.Pointer[certificate.Pair] // nil in it: connections are plain

	mu  sync.Mutex
	cfg *config.Config // in effect; replaced as a whole
}

// outputs are what a server prints and logs to.
type outputs struct {
	out    *output.Writer
	lines  *output.Writer // of the log
	log    *slog.Logger
	tap    *admin.Tap
	format *output.Log
}

// listeners are what is not for chatters. They may be opened late, and again by a reload.
type listeners struct {
	adminSocket     *admin.Listener // nil: admin.socket is empty
	adminDisabled   bool            // there will be no admin socket, whatever is tried
	metricsListener *net.TCPListener
	stopMetrics     func() // nil: metrics.listen is empty
}

// processes is what a server knows of the processes before and after it.
type processes struct {
	predecessor     *predecessor       // nil: there is none
	parent          *upgrade.Relay     // of the process that waits for the server; nil: there is none
	successorServes chan struct{}      // closed when another process has taken over
	successor       *upgrade.Successor // set before successorServes is closed, then read-only
	databaseLost    error              // why the database could not be had back after an upgrade that failed
}

// Serve runs the server until ctx is done, a signal or the operator says so.
// out gets what the person at the terminal wants to know, errw the log; with
// the console both are printed above its prompt. After an upgrade it may wait for the end
// of the process that serves: its exit status is the error then, as an ExitStatus.
func Serve(ctx context.Context, how Launch, out, errw io.Writer) (err error) {
	// Whoever reads what we print may go: a write fails then, and must not end the
	// process, as it does at descriptors 1 and 2 (os/signal, SIGPIPE).
	signal.Ignore(syscall.SIGPIPE)
	direct := how.notifySignals()
	defer signal.Reset(how.stopSignals()...) // the others stay caught: they must not end a process that ends
	before, err := findPredecessor()
	if err != nil {
		return err
	}
	c, err := config.Load(how.File, how.Port)
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
	if how.Console {
		if c.Admin.Socket == "" {
			return errors.New("admin.socket is empty, and --console needs an admin socket")
		}
		if console, err = admin.NewConsole(c.Admin.Socket, admin.HistoryFile()); err != nil {
			return fmt.Errorf("open the console: %w", err)
		}
		defer func() { console.Leave() }()
		out, errw = console, console
	}
	s := &server{Launch: how, cfg: c, given: given, stopping: ctx, halt: cancel, processes: processes{predecessor: before, successorServes: make(chan struct{})},
		signals: signals{system: direct, relayed: make(chan relayedSignal), serving: make(chan struct{}), closeSignals: make(chan struct{}), signalsClosed: make(chan struct{})}}
	heeding := false
	defer func() { // the last thing: until then a process that has handed over passes on what it gets
		close(s.closeSignals)
		if heeding {
			<-s.signalsClosed
		}
	}()
	s.out, s.lines = output.New(out), output.New(errw)
	defer s.flush()
	s.tap, s.format = newTap(c, s.lines)
	s.log = slog.New(s.tap)
	if c.Ignored != "" {
		s.log.Warn(c.Ignored)
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
		defer close(s.signalsClosed)
		s.handleSignals()
	}()
	if before != nil {
		if err := s.adopt(); err != nil {
			return before.fail(err) // what it has is the other process's
		}
	} else if err := s.start(); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			s.log.Info("server stopped before the database was open", "cause", err)
			err = nil
		}
		return errors.Join(err, s.stop())
	}
	why := s.run(console)
	if s.awaitChange() {
		err := s.retire()
		if err == nil && !s.staysAsParent() {
			s.shell.Stopped(errors.New("another process has just taken over; the stop is forwarded to it"))
		}
		s.shell.Stopped(err)
		return err
	}
	began := time.Now()
	if why == context.Canceled {
		why = errors.New("operator command")
	} else {
		s.shell.RecordStop(signalCaller, "stop: "+why.Error())
	}
	s.log.Info("server stopping", "cause", why)
	err = s.stop()
	s.shell.Stopped(errors.Join(err, s.databaseLost))
	if err != nil {
		return err
	}
	s.log.Info("server stopped", "took", time.Since(began).Round(time.Millisecond))
	return s.databaseLost
}

// flush brings out what was printed and logged, as far as its readers take it in
// time.
func (s *server) flush() {
	until := time.Now().Add(output.FlushTimeout)
	s.lines.Flush(time.Until(until))
	s.out.Flush(time.Until(until))
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
	s.shell.ResumePlans(s.predecessor != nil)
	c := s.config()
	may, why := c.MayDelete()
	s.log.Info("access policy", "may_create", c.Access.Create, "may_delete", may, "cause", why)
	for _, w := range c.Risks() {
		s.log.Warn(w)
	}
	s.log.Info("server ready", "master", masterAddresses(s.svc), "version", s.Version, "config", configName(c), "database", absolute(c.Server.Data), "pid", os.Getpid())
	announce(s.out, s.Version, c, s.svc)
	s.manager.Notify("READY=1", "STATUS="+statusLine(s.svc, s.st))
	var attending sync.WaitGroup
	attending.Go(func() { s.runWatchdog(ctx) })
	attending.Go(func() { certificate.Watch(ctx, s.pair.Load) })
	attending.Go(func() { s.retryListeners(ctx) })
	close(s.serving)
	if console == nil {
		fmt.Fprintln(s.out, "ready; Ctrl-C stops the server, roomd admin opens its console")
	} else {
		fmt.Fprintln(s.out, "ready; help lists the commands, quit and Ctrl-D stop the server")
		console.ConfirmLeave = func() string { return quitWarning(s.svc) }
		s.runConsole(ctx, console)
		cancel(errors.New("the operator left the console"))
	}
	select {
	case <-ctx.Done():
	case <-s.successorServes:
		cancel(nil)
	}
	attending.Wait()
	return context.Cause(ctx)
}

// consoleTimeout is how long a stop waits for the console.
const consoleTimeout = 2 * time.Second

// runConsole returns when the operator has left, or the server is to stop: then
// the console has a moment to do so, and holds up nothing.
func (s *server) runConsole(ctx context.Context, console *admin.Console) {
	left := make(chan struct{})
	go func() {
		defer term.RestoreOnPanic()
		defer close(left)
		console.Run()
	}()
	select {
	case <-left:
	case <-ctx.Done():
		console.Close()
		select {
		case <-left:
		case <-time.After(consoleTimeout):
		}
	}
}

// quitWarning is what is asked before the console's end stops a server that has
// members.
func quitWarning(svc *netsvc.Service) string {
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
	s.manager.Notify("STOPPING=1", "STATUS=stopping: sending pending lines to the members")
	defer time.AfterFunc(StopTimeout, func() {
		s.log.Error("stop takes too long, probably because the disk does not answer; the process exits now, and acknowledged lines are on disk", "after", StopTimeout)
		s.flush()
		os.Exit(1)
	}).Stop()
	s.changeMu.Lock() // a reload that is under way comes to its end
	defer s.changeMu.Unlock()
	if s.collector != nil {
		s.collector.Ready.Store(false)
	}
	if s.shell != nil {
		s.shell.SuspendPlans() // what is due from now on fails, and is to stay on disk
	}
	if s.svc != nil {
		s.svc.Stop()
	}
	if s.stopMetrics != nil { // until now who asked was told that we stop
		s.stopMetrics()
	}
	var err error
	if s.adminSocket != nil {
		err = s.adminSocket.Close()
	}
	if s.st != nil {
		err = errors.Join(err, s.st.Close())
	}
	return err
}

// masterAddresses is where the master port really listens.
func masterAddresses(svc *netsvc.Service) string {
	var all []string
	for _, a := range svc.Listening() {
		all = append(all, a.String())
	}
	return cmp.Or(strings.Join(all, " "), "none yet")
}

// announce says where everything is. A few rooms are listed, many are counted.
func announce(out io.Writer, version string, c *config.Config, svc *netsvc.Service) {
	const most = 10
	fmt.Fprintf(out, "roomd %s, process %d, configuration: %s, database: %s\n", version, os.Getpid(), configName(c), absolute(c.Server.Data))
	fmt.Fprintf(out, "master port  %s\n", masterAddresses(svc))
	if at := c.Master(); at != "" {
		fmt.Fprintf(out, "for clients  %s\n", at)
	}
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
			fmt.Fprintf(out, "room %-8s unbound: %s\n", r.Name, r.Unbound)
			continue
		}
		fmt.Fprintf(out, "room %-8s port %d\n", r.Name, r.Port)
	}
}
