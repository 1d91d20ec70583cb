package upgrade

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// Version is the version of the states that this binary sends. It is raised when an older
	// binary could not read them; see Hello.Speaks.
	Version = 2
	// oldestVersion is the oldest version that this binary can adopt.
	oldestVersion = 1

	// envVar passes the descriptor of the pair to the successor.
	envVar = "ROOMD_TAKEOVER"
)

// Bounds of the steps. Members wait from the freeze on: in the worst case for all following
// steps, and then the old process continues.
const (
	helloTimeout   = 10 * time.Second // start, and reading the configuration
	FreezeTimeout  = 5 * time.Second  // until the network is frozen
	adoptTimeout   = 10 * time.Second // sending, opening the database, adopting
	servingTimeout = 3 * time.Second
	ResumeTimeout  = 10 * time.Second // reopening the database after a failed upgrade
)

// ErrStopping refuses an upgrade while the server stops.
var ErrStopping = errors.New("the server is stopping")

// Hello describes a successor.
type Hello struct {
	Version string `json:"version"`
	Speaks  [2]int `json:"speaks"`          // the oldest and the newest version of states that it reads
	Schema  int    `json:"schema"`          // of the database
	Data    string `json:"data"`            // the database, as an absolute path
	Doors   bool   `json:"doors,omitempty"` // it takes over doors and their sessions; older binaries know none
}

// Check returns an error if that binary cannot take over the database of this process, with
// this schema and absolute path.
func (h Hello) Check(schema int, data string) error {
	switch {
	case h.Speaks[0] > Version || h.Speaks[1] < Version:
		return fmt.Errorf("roomd %s takes over from servers with state versions %d to %d, and this server has version %d: stop this server and start the new one",
			h.Version, h.Speaks[0], h.Speaks[1], Version)
	case h.Schema != schema:
		return fmt.Errorf("roomd %s would migrate the database from schema version %d to %d, and this server could not read it after a failed upgrade: stop this server and start the new one",
			h.Version, schema, h.Schema)
	case h.Data != data: // other links may lead to the same file
		return fmt.Errorf("server.data names another database, %s: stop the server and start it again", h.Data)
	}
	return nil
}

// State is the first frame of a handover.
type State struct {
	Version int    `json:"version"` // of the states; set by HandOver
	From    string `json:"from"`    // version of the binary
	// Activated are the addresses on which the service manager has opened the master port.
	Activated []netip.AddrPort `json:"activated,omitempty"`
	// Stays says that the old process stays as the parent of the server.
	Stays bool `json:"stays,omitempty"`
}

// Successor is the process that takes over from this one.
type Successor struct {
	pair   *Pair
	relay  *Relay
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has exited
	wait   func() error  // how, after ended

	mu        sync.Mutex
	aborted   bool
	committed bool // it was told to serve, or is being told
}

// Start starts a binary with the command line and the standard files of this process. hangups
// is the channel on which this process receives SIGHUP; it receives none during the start.
func Start(binary string, hangups chan<- os.Signal) (*Successor, error) {
	pair, theirs, err := newPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(binary, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	// These variables are for one process: the new one must not read them as its own.
	ours := []string{envVar, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(ours, name) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, envVar+"=3")
	cmd.Stdin = os.Stdin // so that the successor also notices the close of a terminal
	if err := spawn(cmd, hangups); err != nil {
		pair.Close()
		return nil, fmt.Errorf("start the new binary: %w", err)
	}
	next := &Successor{pair: pair, relay: &Relay{conn: pair.conn}, cmd: cmd, exited: make(chan struct{}), wait: sync.OnceValue(cmd.Wait)}
	go func() {
		awaitExit(cmd.Process.Pid, next.wait)
		close(next.exited)
	}()
	return next, nil
}

// spawn starts a process that ignores SIGHUP and blocks SIGUSR2 until it handles them, so
// that an early signal does not end it. The process reads its configuration later than that,
// so a lost SIGHUP does no harm.
func spawn(cmd *exec.Cmd, hangups chan<- os.Signal) error {
	signal.Ignore(syscall.SIGHUP)
	defer signal.Notify(hangups, syscall.SIGHUP)
	return withSignalBlocked(syscall.SIGUSR2, cmd.Start)
}

// PID returns the process number.
func (n *Successor) PID() int { return n.cmd.Process.Pid }

// Close closes the pair.
func (n *Successor) Close() { n.pair.Close() }

// Forward sends a signal to the successor, once it serves.
func (n *Successor) Forward(sig syscall.Signal) { n.relay.Forward(sig) }

// setTimeout bounds all following steps together, unless the upgrade was aborted.
func (n *Successor) setTimeout(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.aborted {
		n.pair.SetTimeout(d)
	}
}

// Abort makes every wait for the successor fail from now on. It does nothing once the
// successor was told to serve.
func (n *Successor) Abort() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.committed {
		n.aborted = true
		n.pair.SetTimeout(0)
	}
}

// commit reports whether the successor may be told to serve. After that Abort does nothing.
func (n *Successor) commit() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.committed = !n.aborted
	return n.committed
}

// Kill kills the successor and waits for its exit, so that it touches nothing any more.
func (n *Successor) Kill() error {
	n.cmd.Process.Kill()
	select {
	case <-n.exited:
		n.wait() // to reap it
		return nil
	case <-time.After(ResumeTimeout):
		return fmt.Errorf("process %d of the new binary cannot be killed", n.PID())
	}
}

// expect waits for a frame. step describes, for errors, the work before that frame.
func (n *Successor) expect(step, want string, v any) error {
	err := n.pair.Expect(want, v)
	var no remoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return fmt.Errorf("the new binary refuses: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new binary does not answer: it has not %s in time", step)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		select {
		case <-n.exited:
			return fmt.Errorf("the new binary exited before it had %s: %s", step, exitReason(n.wait()))
		case <-time.After(time.Second):
			return fmt.Errorf("the new binary closed its connection before it had %s", step)
		}
	}
	return fmt.Errorf("the new binary: %w", err)
}

func exitReason(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// Hello waits until the successor has read its configuration, and returns its description.
func (n *Successor) Hello() (h Hello, err error) {
	n.setTimeout(helloTimeout)
	err = n.expect("read its configuration", "hello", &h)
	return h, err
}

// Handover is what a frozen server hands over.
type Handover struct {
	State
	Parent *Relay // to the process that waits for the server; nil: there is none
	// Send sends everything else, with Successor.Send and Successor.SendListener.
	Send func() error
	// Commit is called when the successor has everything, before it is told to serve. After
	// an error it is not told.
	Commit func() error
}

// HandOver sends everything and waits until the successor serves. After an error the
// successor does not serve, and the caller has to kill it.
func (n *Successor) HandOver(h Handover) error {
	n.setTimeout(adoptTimeout)
	if err := n.sendAll(h); err != nil {
		if why := n.expect("adopted the state", "adopted", nil); why != nil {
			return why // the successor's reason explains the broken pipe
		}
		return fmt.Errorf("hand over: %w", err)
	}
	if err := n.expect("adopted the state", "adopted", new(struct{})); err != nil {
		return err
	}
	if !n.commit() {
		return ErrStopping
	}
	if err := h.Commit(); err != nil {
		return err
	}
	n.setTimeout(servingTimeout)
	sent := n.Send("go", struct{}{})
	if err := n.expect("begun to serve", "serving", new(struct{})); err != nil {
		return err // the successor's reason explains a broken pipe
	}
	return sent
}

func (n *Successor) sendAll(h Handover) error {
	h.State.Version = Version
	if err := n.Send("state", h.State); err != nil {
		return err
	}
	if h.Parent != nil {
		if err := n.SendListener("parent", "parent", h.Parent.conn); err != nil {
			return err
		}
	}
	if err := h.Send(); err != nil {
		return err
	}
	return n.Send("end", struct{}{})
}

// Send sends a frame; see Pair.Send.
func (n *Successor) Send(kind string, v any, fds ...int) error { return n.pair.Send(kind, v, fds...) }

// SendListener sends a listener and its address. The listener stays open in this process.
func (n *Successor) SendListener(kind, name string, l syscall.Conn) error {
	return withDescriptor(l, func(fd int) error { return n.Send(kind, name, fd) })
}

// AwaitServerExit waits until the last process that served has exited, and returns its exit
// status. If a signal ended that process, the same signal ends this one.
func (n *Successor) AwaitServerExit() (status int, err error) {
	n.relay.conn.SetDeadline(time.Time{})
	return awaitServerExit(n.relay, n.PID())
}
