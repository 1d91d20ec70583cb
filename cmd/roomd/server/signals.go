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

// The goroutine of handleSignals owns all signals of a process. SIGHUP reloads the
// configuration, SIGUSR2 upgrades to the binary on the disk; both wait for each other.
// SIGTERM and SIGINT stop the server, whatever else is running. A process that has handed
// over forwards its signals to its successor, for which they were meant.

// signals has the channels that handleSignals receives from, and those that begin and end it.
type signals struct {
	system        chan os.Signal     // from the system
	relayed       chan relayedSignal // from other processes
	serving       chan struct{}      // closed when the server serves
	closeSignals  chan struct{}      // closed when handleSignals has to return
	signalsClosed chan struct{}      // closed when handleSignals has returned
}

// relayedSignal is a signal that another process has forwarded.
type relayedSignal struct {
	sig  syscall.Signal
	from *upgrade.Relay
}

// relayFrom passes the signals that another process forwards to handleSignals.
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

// stopSignals returns the signals that stop a server. With a console in the terminal, Ctrl-C
// is a key of the console.
func (how Launch) stopSignals() []os.Signal {
	if how.Console {
		return []os.Signal{syscall.SIGTERM}
	}
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT}
}

// notifySignals starts to receive signals. They wait in the channel until handleSignals runs.
func (how Launch) notifySignals() chan os.Signal {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, append(how.stopSignals(), syscall.SIGHUP, syscall.SIGUSR2)...)
	return ch
}

// reapOrphans waits for children, as process 1 of a container has to: a process whose parent has
// ended becomes its child. While an upgrade is under way, and after it, the children are the
// upgrade's, which waits for all of them.
func (s *server) reapOrphans() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		s.changeMu.Lock()
		for !s.handedOver() {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.EINTR && pid <= 0 {
				break
			}
		}
		s.changeMu.Unlock()
	}
}

// handleSignals carries out signals until closeSignals is closed.
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
	attached      bool                   // the process was started at a terminal
	ready         bool                   // the server serves
	pending       []syscall.Signal       // to carry out, each kind once
	busy          chan struct{}          // closed when the running reload or upgrade ends; nil: none runs
	stopsFrom     map[*upgrade.Relay]int // number of stop signals, by the process that forwarded them; nil: direct
	stopForwarded bool                   // a stop that came before the successor served was forwarded
}

// receive accepts a signal. A stop signal that was sent to a group of processes arrives
// directly and forwarded by another process. So only a second signal from the same source
// ends the process at once.
func (h *signalLoop) receive(sig syscall.Signal, from *upgrade.Relay) {
	cause := fmt.Errorf("%s received", stopSignalNames[sig])
	if sig == syscall.SIGHUP && h.attached && !term.IsTerminal(os.Stdin) {
		// The close of a terminal also sends SIGHUP. Then the server stops, because nobody could
		// stop it any more.
		sig, cause = syscall.SIGTERM, errors.New("the terminal was closed")
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
			signal.Reset(h.stopSignals()...) // a second signal ends the process even if this goroutine hangs
		}
		h.halt(cause)
	case !slices.Contains(h.pending, sig):
		h.pending = append(h.pending, sig)
	}
}

// dispatch starts the next reload or upgrade, or forwards the signal to the successor. A
// server that is stopping starts nothing.
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
		if errors.Is(err, errHandedOver) { // while the signal waited for its turn
			h.successor.Forward(sig)
		}
	}(h.busy)
}

// upgradeBySignal is upgrade for a signal: it waits for its turn, and logs the result.
func (s *server) upgradeBySignal() error {
	binary, sum, err := upgrade.Program("", s.binary, true)
	if err == nil {
		s.shell.Record(signalCaller, "upgrade", admin.UpgradeBegun(binary, sum)) // before, because afterwards the database belongs to the successor
		_, err = s.upgrade(s.stopping, binary, false, true)
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

// awaitChange waits for a running reload or upgrade, and reports whether another process
// serves now.
func (s *server) awaitChange() bool {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	return s.handedOver()
}
