package netsvc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/netsvc/passwd"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	gateTime    = 30 * time.Second // for the right password, from the connection on
	gateTries   = 3                // passwords and other lines in one connection
	gateBuffer  = 1 << 10          // bytes read at a time
	gateInput   = 8 << 10          // bytes between lines, in one connection (weight)
	mostWaiting = 1024             // connections before the gates of all ports
)

// gate is where connections wait that have to agree on TLS, or to give a
// password, before they see anything of a room or of the master port.
type gate struct {
	mu      sync.Mutex
	waiting []*caller // those that came first at the front

	right, wrong, held, late, crowded atomic.Uint64
}

// caller is a connection before the gate.
type caller struct {
	tcp      transport.TCP
	conn     transport.HalfCloser // over tcp, once TLS is agreed on
	addr     netip.AddrPort
	room     *Room
	since    time.Time
	crowded  atomic.Bool     // it has to make room for another one
	crowd    context.Context // canceled then
	enough   context.CancelFunc
	securing atomic.Bool // TLS is being agreed on

	// Owned by its goroutine.
	agreed  bool // on TLS, or that there is none
	asked   bool // it has been told what is wanted
	passed  bool // it has given the password
	reset   bool // a write has met a reset that came before the end of the input
	lines   int  // that count, so far
	between int  // bytes between them
	framer  wire.Framer
	held    []byte // input that was read, and has to wait; once passed, what came behind the password
}

// HungUp reports whether the peer has closed its side, or is gone.
func (w *caller) HungUp() bool { return transport.HungUp(w.tcp) }

// Drop closes the descriptor, which another process has too.
func (w *caller) Drop() { w.conn.Close() }

// newCaller makes a caller of a connection to a room, or to the master port: nil.
func newCaller(c transport.TCP, addr netip.AddrPort, r *Room) *caller {
	who := &caller{tcp: c, conn: c, addr: addr, room: r, since: time.Now()}
	who.crowd, who.enough = context.WithCancel(context.Background())
	if r != nil {
		who.framer = wire.NewFramer(r.svc.opts().LineBytes)
	}
	return who
}

// goOn makes a member go on where it was before the gate: what was read behind the
// password is still to be handled.
func (m *Member) goOn(w *caller) {
	m.framer, m.begun = w.framer, w.lines > 0
	m.reset.Store(w.reset)
	if len(w.held) > 0 {
		m.left = &leftover{rest: w.held}
		m.room.svc.engine.Keep(m.left.size())
	}
}

// knock does the handshake with a caller at the gate, asks for the password
// of the room, whichever of them there is, and then lets the connection in. It is
// the connection's goroutine until then.
func (r *Room) knock(who *caller, p *passwd.Password) {
	g := &r.svc.gate
	ctx, cancel := context.WithCancel(r.svc.stop)
	defer cancel()
	passed := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-r.quit:
			cancel()
			who.hurry()
		case <-passed:
		}
	})
	why, err := r.comeIn(ctx, who, p)
	r.svc.between.Add(1)
	defer r.svc.between.Add(-1)
	g.leave(who)
	close(passed)
	watch.Wait()
	end, ok := func() {}, true
	if err == nil {
		if end, ok = r.svc.engine.AlterParked(who); !ok {
			err = refusal("* " + movedText + "\n")
		}
	}
	r.svc.engine.Forget(who)
	defer r.svc.engine.Closed()
	if err == nil {
		defer end()
		who.tcp.SetDeadline(time.Time{})
		r.welcome(r.svc.engine.ConnOver(who.conn, who.tcp, who.addr), who.addr, who)
		return
	}
	if cause, closed := r.ending(); closed {
		ev := r.farewell(cause)
		why, err = isClosing, refusal(ev.AppendText(nil))
	} else if who.crowded.Load() {
		g.crowded.Add(1)
		err = refusal("* very many are waiting here; try again\n")
	} else if r.svc.banned(r.id, who.addr.Addr(), "") != nil {
		why = isBanned
	}
	r.svc.leave(who.addr.Addr())
	var say refusal
	errors.As(err, &say)
	r.svc.refusal(r.name(), who.addr, string(say))
	r.svc.refuse(who.conn, why, string(say))
}

// within gives the connection so much time, unless it is to end.
func (who *caller) within(ctx context.Context, d time.Duration) error {
	who.tcp.SetDeadline(time.Now().Add(d))
	if ctx.Err() != nil || who.crowded.Load() { // and whoever wants that may have been too early
		return refusal("")
	}
	return nil
}

// comeIn does what stands before the room: the handshake and the password.
func (r *Room) comeIn(ctx context.Context, who *caller, p *passwd.Password) (why Barred, err error) {
	if err := r.svc.secure(ctx, who); err != nil {
		return noHandshake, err
	}
	if p == nil {
		return "", nil
	}
	r.svc.engine.Register(who)
	left := gateTime
	if !who.passed {
		left = min(left, left-time.Since(who.since)) // it may have come to the process before
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	defer context.AfterFunc(who.crowd, cancel)() // not before: TLS would close the connection, which is to be told
	if err := who.within(ctx, left); err != nil {
		return noPassword, err
	}
	err = r.ask(ctx, who, p)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		if _, closed := r.ending(); !closed && !who.crowded.Load() {
			r.svc.gate.late.Add(1)
			err = refusal(fmt.Sprintf("* no password came within %v\n", gateTime))
		}
	}
	return noPassword, err
}

// refusal is what a connection is told before it is closed.
type refusal string

func (e refusal) Error() string { return string(e) }

// Wake makes a caller that waits for input look around.
func (w *caller) Wake() { w.tcp.SetReadDeadline(time.Unix(1, 0)) }

// hurry is Wake for a caller that is to end: what it writes has lastWrite.
func (w *caller) hurry() {
	w.tcp.SetWriteDeadline(time.Now().Add(lastWrite))
	w.Wake()
}

// tell writes a line. That it cannot be written is no reason to leave unread what
// the connection has sent: reading comes to its end.
func (w *caller) tell(line string) {
	_, err := io.WriteString(w.conn, line)
	w.reset = w.reset || errors.Is(err, syscall.ECONNRESET)
}

// answerTelnet answers what a telnet client has asked for, and reports whether there
// was something.
func (w *caller) answerTelnet() bool {
	refusals, there := w.framer.Asked()
	if len(refusals) > 0 {
		w.tell(string(refusals))
	}
	if there {
		w.tell("* " + hereText + "\n")
	}
	return len(refusals) > 0 || there
}

// ask reads lines until one of them gives the password. What was read behind
// that line is held.
func (r *Room) ask(ctx context.Context, who *caller, p *passwd.Password) error {
	const prompt = "* " + wire.AskPassword + ": /pass PASSWORD\n"
	if who.passed {
		return nil
	}
	if !who.asked {
		who.tell(prompt)
		who.asked = true
	}
	buf := make([]byte, gateBuffer)
	until, _ := ctx.Deadline()
read:
	for {
		who.tcp.SetReadDeadline(until)
		if r.svc.engine.Frozen() {
			if !r.svc.engine.Park(who) {
				return refusal("* " + movedText + "\n")
			}
			continue
		}
		if who.crowded.Load() {
			return os.ErrDeadlineExceeded
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if b := r.svc.banned(r.id, who.addr.Addr(), ""); b != nil {
			return refusal(r.line(banText(b) + "\n"))
		}
		var err error
		rest := who.held
		if who.held = nil; len(rest) == 0 {
			var n int
			n, err = who.conn.Read(buf)
			rest = buf[:n]
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) {
			continue // woken
		}
		for {
			line, over, more, ok := who.framer.Cut(rest)
			if n := weight(len(rest)-len(more), who.answerTelnet(), ok); !ok || wire.Blank(line) && over == 0 {
				if who.between += n; who.between > gateInput {
					return refusal("* the password comes first, and much else has come\n")
				}
			}
			if !ok && !who.reset && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)) {
				more = nil
				line, over, ok = who.framer.Tail()
			}
			if !ok {
				break
			}
			if rest = more; wire.Blank(line) && over == 0 {
				continue
			}
			if other := wire.Foreign(line, over > 0); other != "" && who.lines == 0 {
				r.svc.counters.foreign(other)
				return refusal("")
			}
			who.lines++
			answer, inside, failed := r.answerGate(ctx, who, p, line, over > 0)
			switch {
			case inside:
				who.passed, who.held = true, rest
				return nil
			case errors.Is(failed, errStill): // it is looked at when the server goes on
				who.lines--
				who.held = slices.Concat(line, []byte{'\n'}, rest)
				continue read
			case failed != nil:
				return failed
			case who.lines == gateTries:
				return refusal(answer)
			}
			who.tell(answer)
		}
		if err != nil {
			return err
		}
	}
}

// answerGate looks at a line given at the gate.
func (r *Room) answerGate(ctx context.Context, who *caller, p *passwd.Password, line []byte, over bool) (answer string, inside bool, err error) {
	c, perr := wire.ParseCommand(wire.Clean(line))
	switch {
	case over || perr != nil && c.Name != "pass" || perr == nil && c.Do != wire.Pass && c.Do != wire.Quit:
		return "* the password comes first: /pass PASSWORD\n", false, nil
	case perr != nil:
		return "* " + perr.Error() + "\n", false, nil
	case c.Do == wire.Quit:
		return "", false, refusal("* bye\n")
	}
	text, _ := wire.ParsePassword(c.Text)
	return r.answerPassword(ctx, who, p, text)
}

// enter lets a connection wait. If very many do, the one that has waited longest
// makes room: a caller that has a password gives it soon.
func (g *gate) enter(who *caller) *caller {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, who)
	if len(g.waiting) > mostWaiting {
		oldest := g.waiting[0]
		g.waiting = g.waiting[1:]
		oldest.crowded.Store(true)
		oldest.enough()
		oldest.tcp.SetReadDeadline(time.Unix(1, 0))
	}
	return who
}

func (g *gate) leave(who *caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == who {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return
		}
	}
}
