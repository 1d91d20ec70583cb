package server

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"roomd/admin"
	"roomd/admin/term"
	"roomd/cmd/roomd/upgrade"
)

// All signals have one owner from the beginning of a process to its end, the
// goroutine of handleSignals: SIGHUP reads the configuration again, SIGUSR2 lets the binary
// on disk take over, one after the other; SIGTERM and SIGINT stop, whatever else
// is under way. A process that has handed over passes on what it gets: its
// successor is the server that they were meant for.

// signals is where signals come from, and how handleSignals begins and ends.
type signals struct {
	system        chan os.Signal     // signals of the system
	relayed       chan relayedSignal // and of other processes
	serving       chan struct{}      // closed when the server serves
	closeSignals  chan struct{}      // closed when handleSignals is to end
	signalsClosed chan struct{}      // and when it has
}

// relayedSignal is a signal that another process passes on.
type relayedSignal struct {
	sig  syscall.Signal
	from *upgrade.Relay
}

// relayFrom gives what comes from another process to handleSignals.
func (s *server) relayFrom(r *upgrade.Relay) {
	r.Listen(func(sig syscall.Signal) bool {
		select {
		case s.relayed <- relayedSignal{sig, r}:
			return true
		case <-s.closeSignals:
			return false
		}
	}, func() { s.log.Warn("parent process has exited; the server stops") })
}

// stopSignalNames are the stop signals for people.
var stopSignalNames = map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"}

// stopSignals are those that stop a server. With the console Ctrl-C is the
// console's.
func (how Launch) stopSignals() []os.Signal {
	if how.Console {
		return []os.Signal{syscall.SIGTERM}
	}
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT}
}

// notifySignals begins to take signals. What comes before handleSignals runs waits.
func (how Launch) notifySignals() chan os.Signal {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, append(how.stopSignals(), syscall.SIGHUP, syscall.SIGUSR2)...)
	return ch
}

// handleSignals does what signals ask for, until closeSignals is closed.
func (s *server) handleSignals() {
	h := &signalLoop{server: s, attached: s.Console || term.IsTerminal(os.Stdin), stopsFrom: make(map[*upgrade.Relay]int)}
	ready, over, stopping := s.serving, s.successorServes, s.stopping.Done()
	for {
		select {
		case sig := <-s.system:
			h.receive(sig.(syscall.Signal), nil)
		case p := <-s.relayed:
			h.receive(p.sig, p.from)
		case <-ready:
			ready, h.ready = nil, true
		case <-h.busy:
			h.busy = nil
		case <-over:
			over = nil
		case <-stopping:
			stopping = nil
		case <-s.closeSignals:
			for len(s.system) > 0 && s.handedOver() {
				h.receive((<-s.system).(syscall.Signal), nil)
			}
			return
		}
		h.dispatch()
	}
}

// signalLoop is the state of handleSignals.
type signalLoop struct {
	*server
	attached      bool                   // to a terminal, at the beginning
	ready         bool                   // the server serves
	pending       []syscall.Signal       // to be done, each kind once
	busy          chan struct{}          // closed when what is under way is done; nil: nothing is
	stopsFrom     map[*upgrade.Relay]int // signals to stop, by where they came from
	stopForwarded bool                   // a stop that came before the successor served
}

// receive takes a signal. One that is meant to stop comes to the process, through
// another one, or both, if it was sent to a group of processes: only what comes
// the same way twice says that it is to end at once.
func (h *signalLoop) receive(sig syscall.Signal, from *upgrade.Relay) {
	why := fmt.Errorf("%s received", stopSignalNames[sig])
	if sig == syscall.SIGHUP && h.attached && !term.IsTerminal(os.Stdin) {
		// A terminal that has gone says SIGHUP too: then the server stops, as nobody
		// could end it any more.
		sig, why = syscall.SIGTERM, errors.New("the terminal was closed")
	}
	stop := sig == syscall.SIGTERM || sig == syscall.SIGINT
	switch {
	case h.handedOver():
		h.successor.Forward(sig)
	case stop:
		if h.stopsFrom[from]++; h.stopsFrom[from] > 1 {
			upgrade.ExitBySignal(sig)
		}
		if from == nil {
			signal.Reset(h.stopSignals()...) // a second one ends us even if this goroutine hangs
		}
		h.halt(why)
	case !slices.Contains(h.pending, sig):
		h.pending = append(h.pending, sig)
	}
}

// dispatch begins what is to be done next, or leaves it to the successor. A server
// that stops does nothing else.
func (h *signalLoop) dispatch() {
	if h.handedOver() {
		if h.stopping.Err() != nil && !h.stopForwarded {
			h.stopForwarded = true
			h.successor.Forward(syscall.SIGTERM)
		}
		for _, sig := range h.pending {
			h.successor.Forward(sig)
		}
		h.pending = nil
		return
	}
	if !h.ready || h.busy != nil || len(h.pending) == 0 || h.stopping.Err() != nil {
		return
	}
	sig := h.pending[0]
	h.pending = h.pending[1:]
	h.busy = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		var err error
		if sig == syscall.SIGHUP {
			err = h.reloadBySignal()
		} else {
			err = h.upgradeBySignal()
		}
		if errors.Is(err, errHandedOver) { // while it waited for its turn
			h.successor.Forward(sig)
		}
	}(h.busy)
}

// upgradeBySignal is upgrade for a signal, which waits for its turn; the log says
// how it went.
func (s *server) upgradeBySignal() error {
	binary, sum, err := upgrade.Program("", s.binary, true)
	if err == nil {
		s.shell.Record(signalCaller, "upgrade", admin.UpgradeBegun(binary, sum)) // as afterwards the database is another process's
		_, err = s.upgradeQueued(s.stopping, binary, false, true)
	}
	if err != nil {
		s.shell.Record(signalCaller, "upgrade", err.Error())
	}
	return err
}

// handedOver reports whether another process serves.
func (s *server) handedOver() bool {
	select {
	case <-s.successorServes:
		return true
	default:
		return false
	}
}

// awaitChange waits for a change that is under way and reports whether it was an
// upgrade, after which another process serves.
func (s *server) awaitChange() bool {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	return s.handedOver()
}
