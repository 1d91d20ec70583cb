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
	// Version is what this binary's states look like. It is raised when an older
	// binary could not read them; see Hello.Speaks.
	Version = 2
	// oldestVersion is the oldest that this binary takes over from.
	oldestVersion = 1

	// envVar names the descriptor of the pair in the successor's environment.
	envVar = "ROOMD_TAKEOVER"
)

// Bounds of the steps. Members wait from FreezeTimeout on: at worst for all of what
// follows, and then the process that wanted to hand over goes on.
const (
	helloTimeout   = 10 * time.Second // starting, and reading the configuration
	FreezeTimeout  = 5 * time.Second  // until nothing moves any more
	adoptTimeout   = 10 * time.Second // sending, opening the database, taking in
	servingTimeout = 3 * time.Second
	ResumeTimeout  = 10 * time.Second // getting the database back
)

// ErrStopping is why a server that stops hands over to nobody.
var ErrStopping = errors.New("the server is stopping")

// Hello is what a successor says of itself.
type Hello struct {
	Version string `json:"version"`
	Speaks  [2]int `json:"speaks"` // the oldest and the newest states that it understands
	Schema  int    `json:"schema"` // of the database
	Data    string `json:"data"`   // the database, as an absolute path
}

// Check says why that binary cannot take over a database of the schema at that absolute
// path, which this one has open.
func (h Hello) Check(schema int, data string) error {
	switch {
	case h.Speaks[0] > Version || h.Speaks[1] < Version:
		return fmt.Errorf("roomd %s takes over from servers of the versions %d to %d, and this one is %d: stop it and start the new one",
			h.Version, h.Speaks[0], h.Speaks[1], Version)
	case h.Schema != schema:
		return fmt.Errorf("roomd %s would change the database (its schema from version %d to %d), and this one could not go back: stop it and start the new one",
			h.Version, schema, h.Schema)
	case h.Data != data: // the file may be reached by other links, but it must be that one
		return fmt.Errorf("server.data is another database, %s: stop the server and start it", h.Data)
	}
	return nil
}

// State goes before everything else.
type State struct {
	Version int    `json:"version"` // of the states; HandOver sets it
	From    string `json:"from"`    // the binary's
	// Activated is where the service manager has opened the master port.
	Activated []netip.AddrPort `json:"activated,omitempty"`
	// Stays says that the process that hands over waits for the server's end.
	Stays bool `json:"stays,omitempty"`
}

// Successor is the process that is to take over.
type Successor struct {
	pair   *Pair
	relay  *Relay
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has
	wait   func() error  // how, after ended

	mu        sync.Mutex
	aborted   bool
	committed bool // it has been told to serve, or is just being told
}

// Start starts a binary with our command line, and our standard files. hangups is where
// this process gets SIGHUP, which it does not while the other one starts.
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
	// What names a process must not be taken for a word to the new one.
	ours := []string{envVar, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(ours, name) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, envVar+"=3")
	cmd.Stdin = os.Stdin // a terminal that goes is its, too
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

// spawn starts a process that is deaf to SIGHUP and SIGUSR2 until it asks for them:
// those that come before it can take them do not end it. It reads its configuration
// after that, so a SIGHUP before means nothing to it.
func spawn(cmd *exec.Cmd, hangups chan<- os.Signal) error {
	signal.Ignore(syscall.SIGHUP)
	defer signal.Notify(hangups, syscall.SIGHUP)
	return withSignalBlocked(syscall.SIGUSR2, cmd.Start)
}

// PID is the process.
func (n *Successor) PID() int { return n.cmd.Process.Pid }

// Close closes the pair.
func (n *Successor) Close() { n.pair.Close() }

// Forward passes a signal on, once the successor serves.
func (n *Successor) Forward(sig syscall.Signal) { n.relay.Forward(sig) }

// setTimeout bounds everything from now on, unless there is no time at all.
func (n *Successor) setTimeout(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.aborted {
		n.pair.SetTimeout(d)
	}
}

// Abort makes everything that waits for the successor fail, from now on. Once it
// has been told to serve it is too late for that.
func (n *Successor) Abort() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.committed {
		n.aborted = true
		n.pair.SetTimeout(0)
	}
}

// commit reports whether the successor may be told to serve. Then Abort comes too
// late.
func (n *Successor) commit() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.committed = !n.aborted
	return n.committed
}

// Kill ends the successor for good, so that nothing it has touches anything.
func (n *Successor) Kill() error {
	n.cmd.Process.Kill()
	select {
	case <-n.exited:
		n.wait() // it was killed
		return nil
	case <-time.After(ResumeTimeout):
		return fmt.Errorf("process %d of the new binary cannot be killed", n.PID())
	}
}

// expect waits for a frame. step is what the successor has done by then, for errors.
func (n *Successor) expect(step, want string, v any) error {
	err := n.pair.Expect(want, v)
	var no remoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return fmt.Errorf("the new binary refuses: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new binary hangs: it has not %s in time", step)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		select {
		case <-n.exited:
			return fmt.Errorf("the new binary ended before it had %s: %s", step, exitReason(n.wait()))
		case <-time.After(time.Second):
			return fmt.Errorf("the new binary broke the connection to it before it had %s", step)
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

// Hello waits until the successor has read its configuration, and says what it is.
func (n *Successor) Hello() (h Hello, err error) {
	n.setTimeout(helloTimeout)
	err = n.expect("read its configuration", "hello", &h)
	return h, err
}

// Handover is what a server hands over, once nothing moves any more.
type Handover struct {
	State
	Parent *Relay // to the process that waits for the server; nil: there is none
	// Send sends everything else by the Successor's Send and SendListener.
	Send func() error
	// Commit is called when the successor has everything, just before it is told to
	// serve; after an error it is not.
	Commit func() error
}

// HandOver sends everything and waits until the successor serves. After an error it
// does not, and is to be killed.
func (n *Successor) HandOver(h Handover) error {
	n.setTimeout(adoptTimeout)
	if err := n.sendAll(h); err != nil {
		if why := n.expect("taken everything in", "adopted", nil); why != nil {
			return why // it knows better than the broken pipe
		}
		return fmt.Errorf("hand over: %w", err)
	}
	if err := n.expect("taken everything in", "adopted", new(struct{})); err != nil {
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
		return err // it knows better than a broken pipe
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

// SendListener sends a listener, with a name for what it is. It stays open here too.
func (n *Successor) SendListener(kind, name string, l syscall.Conn) error {
	return withDescriptor(l, func(fd int) error { return n.Send(kind, name, fd) })
}

// AwaitServerExit waits until the server has ended, by whatever process it was served last, and
// returns the exit status of that one; if a signal ended it, this process ends by the
// same one.
func (n *Successor) AwaitServerExit() (status int, err error) {
	n.relay.conn.SetDeadline(time.Time{})
	return awaitServerExit(n.relay, n.PID())
}
