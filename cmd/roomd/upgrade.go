package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"roomd/admin"
	"roomd/store"
)

// An upgrade hands everything to a process of another binary, step by step:
//
//	this process                          its successor
//	starts it, with one end of a pair  →  reads its configuration
//	                                   ←  hello: what it understands
//	freezes the network, closes the database
//	sends descriptors and states       →  opens the database, takes them in
//	                                   ←  adopted
//	tells the manager its PID, go      →
//	                                   ←  serving; begins to
//	lets the connections go, ends
//
// Until the word "serving" is there the successor has touched no connection:
// whatever goes wrong, it is killed and this process goes on. After it the pair is
// a relay. The process ends if the service manager follows MAINPID, or if another
// one waits for the server already; else it stays, as the parent that waits.

const (
	// handoffVersion is what this binary's states look like. It is raised when
	// an older binary could not read them; see hello.Speaks.
	handoffVersion = 2
	// oldestVersion is the oldest that this binary takes over from.
	oldestVersion = 1

	// takeoverEnv names the descriptor of the pair in the successor's
	// environment.
	takeoverEnv = "ROOMD_TAKEOVER"
)

// Bounds of the steps. Members wait from freezeTime on: at worst for all of what
// follows, and then this process goes on.
const (
	helloTime  = 10 * time.Second // starting, and reading the configuration
	freezeTime = 5 * time.Second
	adoptTime  = 10 * time.Second // sending, opening the database, taking in
	servesTime = 3 * time.Second
	resumeTime = 10 * time.Second // getting the database back
	lingerTime = 7 * time.Second  // for members that cannot be handed over, and last answers
)

// hello is what a successor says of itself.
type hello struct {
	Version string `json:"version"`
	Speaks  [2]int `json:"speaks"` // the oldest and the newest states that it understands
	Schema  int    `json:"schema"` // of the database
	Data    string `json:"data"`   // the database, as an absolute path
}

// state goes before everything else.
type state struct {
	Version int    `json:"version"` // of the states
	From    string `json:"from"`    // the binary's
	// Activated is where the service manager has opened the master port.
	Activated []netip.AddrPort `json:"activated,omitempty"`
	// Stays says that the process that hands over waits for the server's end.
	Stays bool `json:"stays,omitempty"`
}

// successor is the process that is to take over.
type successor struct {
	*handoff
	relay *relay
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has
	exit  func() error  // how, after ended

	mu      sync.Mutex
	hurried bool
	going   bool // it has been told to serve, or is just being told
}

// follows reports whether the service manager takes the process that we name for
// the server. Process 1 cannot leave: all others would end with it.
func (s *server) follows() bool {
	return s.parent == nil && s.manager.Connected() && os.Getpid() != 1
}

// stays reports whether this process is to wait for the server once another one
// serves.
func (s *server) stays() bool { return s.parent == nil && !s.follows() }

// upgrade hands the server over to a process of that binary, which program has
// found. After nil this process serves no more, and is to end. After an
// error it serves as before. dry only starts the process and asks it whether it
// could take over.
func (s *server) upgrade(ctx context.Context, binary string, dry bool) (admin.Upgrade, error) {
	return s.upgradeInTurn(ctx, binary, dry, false)
}

// upgradeInTurn is upgrade; queued says that it waits for other changes.
func (s *server) upgradeInTurn(ctx context.Context, binary string, dry, queued bool) (report admin.Upgrade, err error) {
	defer recovered(s.log, "upgrade", &err)
	unlock, err := s.change(queued)
	if err != nil {
		return report, err
	}
	defer unlock()
	if s.console {
		return report, errors.New("the console is in this server's terminal: stop it and start it")
	}
	report.Binary = binary
	s.log.Info("upgrade", "binary", binary, "dry_run", dry)
	began := time.Now()
	defer func() {
		report.Took = time.Since(began).Round(time.Millisecond).String()
		if err != nil && !dry {
			s.log.Error("upgrade: this server goes on", "error", err)
			s.manager.Notify("STATUS=" + statusLine(s.svc, s.st))
		}
	}()
	next, err := s.startSuccessor(binary)
	if err != nil {
		return report, err
	}
	defer func() {
		if !s.handedOver() {
			next.close()
		}
	}()
	// A stop ends it at once: nothing is expected of the successor any more.
	defer context.AfterFunc(s.stopping, next.hurry)()
	if err := s.agree(next, &report); err != nil {
		return report, errors.Join(err, next.kill())
	}
	if dry {
		report.PID, report.Members = 0, s.svc.Status().Members
		return report, next.kill()
	}
	if err := s.handOver(ctx, next, &report); err != nil {
		return report, err
	}
	if s.parent != nil {
		if err := s.parent.name(report.PID); err != nil {
			s.log.Error("tell the process that waits for the server who serves", "error", err)
		}
	}
	s.log.Info("upgraded: another process serves", "pid", report.PID, "version", report.Version, "members", report.Members,
		"pause", report.Pause, "took", time.Since(began).Round(time.Millisecond).String())
	s.successor = next
	close(s.over)
	return report, nil
}

// startSuccessor starts a binary with our command line.
func (s *server) startSuccessor(binary string) (*successor, error) {
	h, theirs, err := newHandoff()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(binary, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	// What names a process must not be taken for a word to the new one.
	ours := []string{takeoverEnv, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(ours, name) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, takeoverEnv+"=3")
	cmd.Stdin = os.Stdin // a terminal that goes is its, too
	if err := s.spawn(cmd); err != nil {
		h.close()
		return nil, fmt.Errorf("start the new binary: %w", err)
	}
	next := &successor{handoff: h, relay: &relay{conn: h.conn}, cmd: cmd, ended: make(chan struct{}), exit: sync.OnceValue(cmd.Wait)}
	go func() {
		waitable(cmd.Process.Pid, next.exit)
		close(next.ended)
	}()
	return next, nil
}

// within bounds everything from now on, unless there is no time at all.
func (n *successor) within(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.hurried {
		n.handoff.within(d)
	}
}

// hurry makes everything that waits for the successor fail, from now on. Once it
// has been told to serve it is too late for that.
func (n *successor) hurry() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.going {
		n.hurried = true
		n.handoff.within(0)
	}
}

// commit reports whether the successor may be told to serve. Then hurry comes too
// late.
func (n *successor) commit() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.going = !n.hurried
	return n.going
}

// kill ends the successor for good, so that nothing it has touches anything.
func (n *successor) kill() error {
	n.cmd.Process.Kill()
	select {
	case <-n.ended:
		n.exit() // it was killed
		return nil
	case <-time.After(resumeTime):
		return fmt.Errorf("process %d of the new binary cannot be killed", n.cmd.Process.Pid)
	}
}

// say is expect with a sentence for the operator.
func (n *successor) say(step, want string, v any) error {
	err := n.expect(want, v)
	var no refusedThere
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return fmt.Errorf("the new binary refuses: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new binary hangs: it has not %s in time", step)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		select {
		case <-n.ended:
			return fmt.Errorf("the new binary ended before it had %s: %s", step, exitText(n.exit()))
		case <-time.After(time.Second):
			return fmt.Errorf("the new binary broke the connection to it before it had %s", step)
		}
	}
	return fmt.Errorf("the new binary: %w", err)
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// agree finds out whether the successor can take over at all. Nothing stands
// still yet.
func (s *server) agree(next *successor, report *admin.Upgrade) error {
	next.within(helloTime)
	var h hello
	if err := next.say("read its configuration", "hello", &h); err != nil {
		return err
	}
	report.Version, report.PID = h.Version, next.cmd.Process.Pid
	switch err := s.st.InPlace(); {
	case err != nil:
		return err
	case h.Speaks[0] > handoffVersion || h.Speaks[1] < handoffVersion:
		return fmt.Errorf("roomd %s takes over from servers of the versions %d to %d, and this one is %d: stop it and start the new one",
			h.Version, h.Speaks[0], h.Speaks[1], handoffVersion)
	case h.Schema != store.Schema:
		return fmt.Errorf("roomd %s would change the database (its schema from version %d to %d), and this one could not go back: stop it and start the new one",
			h.Version, store.Schema, h.Schema)
	case h.Data != s.st.Path(): // the file may be reached by other links, but it must be that one
		return fmt.Errorf("server.data is another database, %s: stop the server and start it", h.Data)
	}
	return nil
}

// handOver makes everything stand still, and either the successor serve or
// everything go on as it was.
func (s *server) handOver(ctx context.Context, next *successor, report *admin.Upgrade) error {
	s.manager.Notify("STATUS=upgrading: handing over to process " + strconv.Itoa(report.PID))
	if err := s.st.Fold(); err != nil { // it would take time when everything stands still
		s.log.Warn("upgrade: the successor has the whole journal to read", "error", err)
	}
	began := time.Now()
	frozen, cancel := context.WithTimeout(ctx, freezeTime)
	defer cancel()
	if err := s.svc.Freeze(frozen); err != nil {
		return errors.Join(fmt.Errorf("bring the server to a stand: %w", err), next.kill())
	}
	if err := s.st.Suspend(); err != nil {
		s.svc.Thaw()
		return errors.Join(fmt.Errorf("release the database: %w", err), next.kill())
	}
	if s.socket != nil {
		s.socket.Pause()
	}
	err := s.transfer(next, report)
	if err != nil {
		if s.follows() {
			s.manager.Notify("MAINPID=" + strconv.Itoa(os.Getpid()))
		}
		if s.stays() {
			err = errors.Join(err, adoptOrphans(false))
		}
		err = errors.Join(err, next.kill())
		if lost := s.takeBack(); lost != nil {
			// Without the database there is nothing to go on with. A caller that asks for it is
			// refused, and the server ends, to be started again.
			err = errors.Join(err, lost, s.st.Close())
			s.lost = lost
			s.halt(lost)
		}
		s.svc.Thaw()
		if s.socket != nil {
			s.socket.Resume()
		}
	}
	report.Pause = time.Since(began).Round(time.Millisecond).String()
	return err
}

// transfer sends everything and waits until the successor serves.
func (s *server) transfer(next *successor, report *admin.Upgrade) (err error) {
	defer recovered(s.log, "upgrade", &err)
	next.within(adoptTime)
	if err := s.sendAll(next, report); err != nil {
		if why := next.say("taken everything in", "adopted", nil); why != nil {
			return why // it knows better than the broken pipe
		}
		return fmt.Errorf("hand over: %w", err)
	}
	if err := next.say("taken everything in", "adopted", new(struct{})); err != nil {
		return err
	}
	if !next.commit() {
		return errStopping
	}
	switch status := "STATUS=upgrading: process " + strconv.Itoa(report.PID) + " takes over"; {
	case s.follows():
		// From the manager's view the successor is the server before it says so.
		s.manager.Notify("MAINPID="+strconv.Itoa(report.PID), status)
	case s.stays():
		// It may hand over in its turn and end, while we still end what we have.
		if err := adoptOrphans(true); err != nil {
			return err
		}
		s.manager.Notify(status)
	}
	next.within(servesTime)
	sent := next.send("go", struct{}{})
	if err := next.say("begun to serve", "serving", new(struct{})); err != nil {
		return err // it knows better than a broken pipe
	}
	return sent
}

// sendAll sends what there is to take over.
func (s *server) sendAll(next *successor, report *admin.Upgrade) error {
	if err := next.send("state", state{handoffVersion, thisVersion().Version, s.config().Activated, s.stays()}); err != nil {
		return err
	}
	if s.parent != nil {
		if err := withDescriptor(s.parent.conn, func(fd int) error { return next.send("parent", "parent", fd) }); err != nil {
			return err
		}
	}
	if s.socket != nil {
		if err := withDescriptor(s.socket.Conn(), func(fd int) error {
			return next.send("admin", s.config().Admin.Socket, fd)
		}); err != nil {
			return err
		}
	}
	if s.metricsDoor != nil {
		if err := withDescriptor(s.metricsDoor, func(fd int) error {
			return next.send("metrics", s.config().Metrics.Listen, fd)
		}); err != nil {
			return err
		}
	}
	members, err := s.svc.HandOver(next.send)
	report.Members = members
	if err != nil {
		return err
	}
	return next.send("end", struct{}{})
}

// withDescriptor lends the descriptor of a listener. Taking it by File would make
// it blocking, for the successor too.
func withDescriptor(l syscall.Conn, fn func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = fn(int(fd)) }), err)
}

// takeBack gets the database again. The killed successor has let go of it; if
// somebody else has it for a moment, that is waited for.
func (s *server) takeBack() error {
	until, said := time.Now().Add(resumeTime), ""
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.st.Resume()
		if err == nil {
			return nil
		}
		if time.Now().Add(pause).After(until) {
			return fmt.Errorf("take the database back: %w", err)
		}
		if said != err.Error() {
			said = err.Error()
			s.log.Warn("the database cannot be had back; trying again", "error", err)
		}
		time.Sleep(pause)
	}
}

// leave ends what this process still does once another one has taken over: for
// members that could not be handed over, and for the answer to the command. Then
// it ends, or waits for the server's end and ends in the same way.
func (s *server) leave() error {
	s.shell.LeavePlans()
	// The file is the other process's: whoever still asks for it is refused.
	if err := s.st.Close(); err != nil {
		s.log.Error("leave the database to the other process", "error", err)
	}
	if s.stopMetrics != nil {
		s.stopMetrics()
	}
	s.svc.Abandon(lingerTime)
	if s.socket != nil {
		s.socket.Retire(lingerTime)
	}
	if !s.stays() {
		return nil
	}
	pid := s.successor.cmd.Process.Pid
	s.log.Info("this process waits for the server's end, and passes signals on", "pid", pid)
	s.successor.relay.conn.SetDeadline(time.Time{})
	debug.FreeOSMemory()
	return awaitEnd(s.successor.relay, pid)
}

// spawn starts a process that is deaf to SIGHUP and SIGUSR2 until it asks for them:
// those that come before it can take them do not end it. It reads its configuration
// after that, so a SIGHUP before means nothing to it.
func (s *server) spawn(cmd *exec.Cmd) error {
	signal.Ignore(syscall.SIGHUP)
	defer signal.Notify(s.direct, syscall.SIGHUP)
	return withBlocked(syscall.SIGUSR2, cmd.Start)
}
