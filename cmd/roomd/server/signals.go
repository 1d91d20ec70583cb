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
// goroutine of heed: SIGHUP reads the configuration again, SIGUSR2 lets the binary
// on disk take over, one after the other; SIGTERM and SIGINT stop, whatever else
// is under way. A process that has handed over passes on what it gets: its
// successor is the server that they were meant for.

// incoming is where signals come from, and when heed begins and ends.
type incoming struct {
	direct   chan os.Signal // signals of the system
	passed   chan passed    // and of other processes
	ready    chan struct{}  // closed when the server serves
	deaf     chan struct{}  // closed when heed is to end
	deafened chan struct{}  // and when it has
}

// passed is a signal that another process passes on.
type passed struct {
	sig  syscall.Signal
	from *upgrade.Relay
}

// listen gives what comes from another process to heed.
func (s *server) listen(r *upgrade.Relay) {
	r.Listen(func(sig syscall.Signal) bool {
		select {
		case s.passed <- passed{sig, r}:
			return true
		case <-s.deaf:
			return false
		}
	}, func() { s.log.Warn("the process that waits for this server is gone; stopping") })
}

// stopSignals are those that stop a server. With the console Ctrl-C is the
// console's.
func (how Launch) stopSignals() []os.Signal {
	if how.Console {
		return []os.Signal{syscall.SIGTERM}
	}
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT}
}

// catch begins to take signals. What comes before heed waits.
func (how Launch) catch() chan os.Signal {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, append(how.stopSignals(), syscall.SIGHUP, syscall.SIGUSR2)...)
	return ch
}

// heed does what signals ask for, until s.deaf is closed.
func (s *server) heed() {
	h := &heeding{server: s, attached: s.Console || term.IsTerminal(os.Stdin), stops: make(map[*upgrade.Relay]int)}
	ready, over, stopping := s.ready, s.over, s.stopping.Done()
	for {
		select {
		case sig := <-s.direct:
			h.take(sig.(syscall.Signal), nil)
		case p := <-s.passed:
			h.take(p.sig, p.from)
		case <-ready:
			ready, h.ready = nil, true
		case <-h.busy:
			h.busy = nil
		case <-over:
			over = nil
		case <-stopping:
			stopping = nil
		case <-s.deaf:
			for len(s.direct) > 0 && s.handedOver() {
				h.take((<-s.direct).(syscall.Signal), nil)
			}
			return
		}
		h.next()
	}
}

// heeding is what heed knows.
type heeding struct {
	*server
	attached bool                   // to a terminal, at the beginning
	ready    bool                   // the server serves
	wanted   []syscall.Signal       // to be done, each kind once
	busy     chan struct{}          // closed when what is under way is done; nil: nothing is
	stops    map[*upgrade.Relay]int // signals to stop, by where they came from
	passedOn bool                   // a stop that came before the successor served
}

// take takes a signal. One that is meant to stop comes to the process, through
// another one, or both, if it was sent to a group of processes: only what comes
// the same way twice says that it is to end at once.
func (h *heeding) take(sig syscall.Signal, from *upgrade.Relay) {
	why := fmt.Errorf("%v signal received", sig)
	if sig == syscall.SIGHUP && h.attached && !term.IsTerminal(os.Stdin) {
		// A terminal that has gone says SIGHUP too: then the server stops, as nobody
		// could end it any more.
		sig, why = syscall.SIGTERM, errors.New("the terminal has gone")
	}
	stop := sig == syscall.SIGTERM || sig == syscall.SIGINT
	switch {
	case h.handedOver():
		h.successor.Pass(sig)
	case stop:
		if h.stops[from]++; h.stops[from] > 1 {
			upgrade.EndBy(sig)
		}
		if from == nil {
			signal.Reset(h.stopSignals()...) // a second one ends us even if this goroutine hangs
		}
		h.halt(why)
	case !slices.Contains(h.wanted, sig):
		h.wanted = append(h.wanted, sig)
	}
}

// next begins what is to be done next, or leaves it to the successor. A server
// that stops does nothing else.
func (h *heeding) next() {
	if h.handedOver() {
		if h.stopping.Err() != nil && !h.passedOn {
			h.passedOn = true
			h.successor.Pass(syscall.SIGTERM)
		}
		for _, sig := range h.wanted {
			h.successor.Pass(sig)
		}
		h.wanted = nil
		return
	}
	if !h.ready || h.busy != nil || len(h.wanted) == 0 || h.stopping.Err() != nil {
		return
	}
	sig := h.wanted[0]
	h.wanted = h.wanted[1:]
	h.busy = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		var err error
		if sig == syscall.SIGHUP {
			err = h.reloadBySignal()
		} else {
			err = h.upgradeBySignal()
		}
		if errors.Is(err, errMoved) { // while it waited for its turn
			h.successor.Pass(sig)
		}
	}(h.busy)
}

// upgradeBySignal is upgrade for a signal, which waits for its turn; the log says
// how it went.
func (s *server) upgradeBySignal() error {
	binary, sum, err := upgrade.Program("", s.binary, true)
	if err == nil {
		s.shell.Record(bySignal, "upgrade", admin.Begun(binary, sum)) // as afterwards the database is another process's
		_, err = s.upgradeInTurn(s.stopping, binary, false, true)
	}
	if err != nil {
		s.shell.Record(bySignal, "upgrade", err.Error())
	}
	return err
}

// handedOver reports whether another process serves.
func (s *server) handedOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// settle waits for a change that is under way and reports whether it was an
// upgrade, after which another process serves.
func (s *server) settle() bool {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.handedOver()
}
