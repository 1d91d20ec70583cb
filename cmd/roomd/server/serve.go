package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
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
	"roomd/netsvc/irc"
	"roomd/netsvc/web"
	"roomd/store"
)

// StopTimeout bounds the stop as a whole, for a disk that never answers; each step has a
// bound of its own. It is below TimeoutStopSec of the unit, so that the log gives the reason.
const StopTimeout = 25 * time.Second

// Launch has the flags of the command line, and the version of this binary.
type Launch struct {
	File    string // the configuration; empty: see config.Load
	Port    int    // instead of server.port; 0: not given
	Console bool   // open the console in this terminal

	Version, Commit, Go string
}

// server is the state of Serve.
type server struct {
	// Set at the start, then read-only.
	Launch
	outputs
	manager   *systemd.Manager
	collector *metrics.Collector
	st        *store.Store
	svc       *netsvc.Service
	irc       *irc.Server
	web       *web.Door
	shell     *admin.Server
	binary    string // path of the program of this process
	given     []int  // sockets of the service manager, for the master port

	stopping context.Context         // done when the server has to stop
	halt     context.CancelCauseFunc // ends stopping
	processes
	signals

	changeMu  sync.Mutex // held by a reload, an upgrade, the opening of a listener and the stop
	listeners            // guarded by changeMu

	pair atomic.Pointer[certificate.Pair] // a nil Pair: no TLS

	mu  sync.Mutex
	cfg *config.Config // in effect; a reload replaces the pointer
}

// outputs are the standard output and the log of a server.
type outputs struct {
	out    *output.Writer
	lines  *output.Writer // of the log
	log    *slog.Logger
	tap    *admin.Tap
	format *output.Log
}

// processes are the other processes of this server: before, beside and after this one.
type processes struct {
	predecessor     *upgrade.Predecessor // nil: this process was not started by an upgrade
	inherited       inherited            // from the predecessor
	parent          *upgrade.Relay       // to the process that waits for the server; nil: there is none
	successorServes chan struct{}        // closed when another process has taken over
	successor       *upgrade.Successor   // set before successorServes is closed, then read-only
	databaseLost    error                // why the database could not be reopened after a failed upgrade
}

// Serve runs the server until ctx is done, or a signal or an operator stops it. out gets a
// summary for the person at the terminal, errw the log; the console prints both above its
// prompt. After an upgrade Serve may wait for the process that serves now, and return the
// exit status of that process as an ExitStatus.
func Serve(ctx context.Context, how Launch, out, errw io.Writer) (err error) {
	// If the reader of the output or the log exits, a write must fail and not end the process,
	// as it does on the descriptors 1 and 2 (os/signal, SIGPIPE).
	signal.Ignore(syscall.SIGPIPE)
	system := how.notifySignals()
	defer signal.Reset(how.stopSignals()...) // SIGHUP and SIGUSR2 stay caught: they must not end a process that is stopping
	before, err := upgrade.FindPredecessor()
	if err != nil {
		return err
	}
	c, err := config.Load(how.File, how.Port)
	if err != nil {
		return before.Fail(err)
	}
	given, addrs, err := systemd.Sockets(os.Getenv)
	if err != nil {
		return err
	}
	c.Activated = addrs
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
		signals: signals{system: system, relayed: make(chan relayedSignal), serving: make(chan struct{}), closeSignals: make(chan struct{}), signalsClosed: make(chan struct{})}}
	signalsHandled := false
	defer func() { // last: until then a process that has handed over forwards its signals
		close(s.closeSignals)
		if signalsHandled {
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
	signalsHandled = true
	if os.Getpid() == 1 {
		go s.reapOrphans() // until the process ends
	}
	go func() {
		defer close(s.signalsClosed)
		s.handleSignals()
	}()
	if before != nil {
		if err := s.adopt(); err != nil {
			return before.Fail(err) // everything that is open belongs to the other process
		}
	} else if err := s.start(); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			s.log.Info("server stopped before the database was open", "cause", err)
			err = nil
		}
		return errors.Join(err, s.stop())
	}
	cause := s.run(console)
	if s.awaitChange() {
		err := s.retire()
		if err == nil && !s.staysAsParent() {
			s.shell.Stopped(errors.New("another process has just taken over; the stop is forwarded to it"))
		}
		s.shell.Stopped(err)
		return err
	}
	began := time.Now()
	if cause == context.Canceled {
		cause = errors.New("operator command")
	} else {
		s.shell.RecordStop(signalCaller, "stop: "+cause.Error())
	}
	s.log.Info("server stopping", "cause", cause)
	err = s.stop()
	s.shell.Stopped(errors.Join(err, s.databaseLost))
	if err != nil {
		return err
	}
	s.log.Info("server stopped", "took", time.Since(began).Round(time.Millisecond))
	return s.databaseLost
}

// flush waits until the output and the log are written, for FlushTimeout at most.
func (s *server) flush() {
	until := time.Now().Add(output.FlushTimeout)
	s.lines.Flush(time.Until(until))
	s.out.Flush(time.Until(until))
}

// config returns the configuration in effect. The caller must not change it.
func (s *server) config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

func (s *server) setConfig(c *config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg = c
}

// run announces that the server is ready, waits until it has to stop, and returns the
// cause: context.Canceled for a command of an operator.
func (s *server) run(console *admin.Console) error {
	ctx, cancel := context.WithCancelCause(s.stopping)
	defer cancel(nil)
	s.shell.ResumePlans(s.predecessor != nil)
	c := s.config()
	mayDelete, why := c.MayDelete()
	s.log.Info("access policy", "may_create", c.Access.Create, "may_delete", mayDelete, "cause", why)
	for _, w := range c.Risks() {
		s.log.Warn(w)
	}
	attrs := []any{"master", masterAddresses(s.svc)}
	for _, d := range s.svc.Doors() {
		if len(d.Listening) > 0 {
			attrs = append(attrs, d.Name, addressList(d.Listening))
		}
	}
	s.log.Info("server ready", append(attrs, "version", s.Version, "config", configName(c), "database", absolute(c.Server.Data), "pid", os.Getpid())...)
	announce(s.out, s.Version, c, s.svc)
	s.manager.Notify("READY=1", "STATUS="+statusLine(s.svc, s.st))
	var background sync.WaitGroup
	background.Go(func() { s.runWatchdog(ctx) })
	background.Go(func() { certificate.Watch(ctx, s.pair.Load) })
	background.Go(func() { s.retryListeners(ctx) })
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
	background.Wait()
	return context.Cause(ctx)
}

// consoleTimeout bounds how long a stop waits for the console.
const consoleTimeout = 2 * time.Second

// runConsole returns when the operator has left the console. When the server has to stop, it
// closes the console and waits for consoleTimeout at most.
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

// quitWarning is the question before the end of the console stops a server that has
// members; empty: there is nothing to ask.
func quitWarning(svc *netsvc.Service) string {
	st := svc.Status()
	if st.Members == 0 {
		return ""
	}
	return fmt.Sprintf("stops the server; members: %d, rooms: %d", st.Members, st.Rooms)
}

// stop closes everything that start has opened.
func (s *server) stop() error {
	s.manager.Notify("STOPPING=1", "STATUS=stopping: sending pending lines to the members")
	defer time.AfterFunc(StopTimeout, func() {
		s.log.Error("stop takes too long, probably because the disk does not answer; the process exits now, and acknowledged lines are on disk", "after", StopTimeout)
		s.flush()
		os.Exit(1)
	}).Stop()
	s.changeMu.Lock() // wait for a reload that is running
	defer s.changeMu.Unlock()
	if s.collector != nil {
		s.collector.Ready.Store(false)
	}
	if s.shell != nil {
		s.shell.SuspendPlans() // plans that become due during the stop would fail; they stay on disk
	}
	if s.svc != nil {
		s.svc.Stop()
	}
	if s.stopMetrics != nil { // until now /readyz has answered that the server stops
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

// masterAddresses returns the addresses on which the master port is open.
func masterAddresses(svc *netsvc.Service) string { return addressList(svc.Listening()) }

func addressList(addrs []netip.AddrPort) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return cmp.Or(strings.Join(all, " "), "none yet")
}

// announce prints the files, the addresses and the first rooms of the server.
func announce(out io.Writer, version string, c *config.Config, svc *netsvc.Service) {
	const most = 10
	fmt.Fprintf(out, "roomd %s, process %d, configuration: %s, database: %s\n", version, os.Getpid(), configName(c), absolute(c.Server.Data))
	fmt.Fprintf(out, "master port  %s\n", masterAddresses(svc))
	if at := c.Master(); at != "" {
		fmt.Fprintf(out, "for clients  %s\n", at)
	}
	for _, u := range c.PageURLs() {
		fmt.Fprintf(out, "page         %s\n", u)
	}
	for _, m := range svc.Missing() {
		fmt.Fprintf(out, "missing      %s: %s\n", m.Addr, m.Cause)
	}
	for _, d := range svc.Doors() {
		for _, a := range d.Listening {
			fmt.Fprintf(out, "%-12s %s\n", d.Name, a)
		}
		for _, m := range d.Missing() {
			fmt.Fprintf(out, "missing      %s on %s\n", d.Name, m)
		}
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
