package netsvc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/netsvc/wire"
)

const (
	gateTime    = 30 * time.Second // for the right password, from the connection on
	gateTries   = 3                // passwords and other lines in one connection
	gateBuffer  = 1 << 10          // bytes read at a time
	mostWaiting = 1024             // connections before the gates of all ports

	// After a wrong password the next one from that address is looked at only
	// after a time, which doubles with each and is forgotten in the end.
	guessPause  = 250 * time.Millisecond
	guessLonger = time.Minute
	guessForget = time.Hour

	// A password that comes before its time is held for so long at most, then
	// its answer comes instead: who guesses on and on costs no more than that.
	holdGuess = time.Second
)

// gate is where connections wait that have to agree on TLS, or to give a
// password, before they see anything of a room or of the master port.
type gate struct {
	mu      sync.Mutex
	waiting []*caller // those that came first at the front
	guesses map[netip.Prefix]*guesser

	right, wrong, held, late, crowded atomic.Uint64
}

// caller is a connection before the gate.
type caller struct {
	tcp     conn
	conn    halfCloser // over tcp, once TLS is agreed on
	addr    netip.AddrPort
	room    *Room
	crowded atomic.Bool // it has to make room for another one

	// Owned by its goroutine.
	agreed bool // on TLS, or that there is none
	asked  bool // it has been told what is wanted
	passed bool // it has given the password
	reset  bool // a write has met a reset that came before the end of the input
	lines  int  // that count, so far
	framer wire.Framer
	held   []byte // input that was read, and has to wait; once passed, what came behind the password
}

// newCaller makes a caller of a connection to a room, or to the master port: nil.
func newCaller(c conn, addr netip.AddrPort, r *Room) *caller {
	who := &caller{tcp: c, conn: c, addr: addr, room: r}
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
		m.room.svc.held.Add(m.left.size())
	}
}

// guesser is an address that gives passwords. One of its passwords is looked at
// at a time.
type guesser struct {
	turn   chan struct{} // capacity 1
	users  int           // who has or awaits the turn; guarded by gate.mu
	wrong  int           // in a row; this and what follows belong to the turn
	until  time.Time     // no password is looked at before
	lately time.Time     // the last wrong one
}

// knock does the handshake with who has entered the gate, asks for the password
// of the room, whichever of them there is, and then lets the connection in. It is
// the connection's goroutine until then.
func (r *Room) knock(who *caller, l *lock) {
	g := &r.svc.gate
	ctx, cancel := context.WithCancel(r.svc.stop)
	defer cancel()
	passed := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-r.quit:
			cancel()
			who.tcp.SetReadDeadline(time.Unix(1, 0))
		case <-passed:
		}
	})
	why, err := r.comeIn(ctx, who, l)
	g.leave(who)
	close(passed)
	watch.Wait()
	end, ok := func() {}, true
	if err == nil {
		if end, ok = r.svc.alterParked(who); !ok {
			err = refusal("* " + movedText + "\n")
		}
	}
	r.svc.still.forget(who)
	defer r.svc.still.closing.Add(-1)
	if err == nil {
		defer end()
		who.tcp.SetDeadline(time.Time{})
		r.welcome(r.svc.linkThrough(who.conn, who.tcp, who.addr), who.addr, who)
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
func (r *Room) comeIn(ctx context.Context, who *caller, l *lock) (why Barred, err error) {
	if err := r.svc.secure(ctx, who); err != nil {
		return noHandshake, err
	}
	if l == nil {
		return "", nil
	}
	r.svc.still.register(who)
	ctx, cancel := context.WithTimeout(ctx, gateTime)
	defer cancel()
	if err := who.within(ctx, gateTime); err != nil {
		return noPassword, err
	}
	err = r.ask(ctx, who, l)
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

// wake makes a caller that waits for input look around.
func (w *caller) wake() { w.tcp.SetReadDeadline(time.Unix(1, 0)) }

// tell writes a line. That it cannot be written is no reason to leave unread what
// the connection has sent: reading comes to its end.
func (w *caller) tell(line string) {
	_, err := io.WriteString(w.conn, line)
	w.reset = w.reset || errors.Is(err, syscall.ECONNRESET)
}

// answerTelnet answers what a telnet client has asked for.
func (w *caller) answerTelnet() {
	refusals, there := w.framer.Asked()
	if len(refusals) > 0 {
		w.tell(string(refusals))
	}
	if there {
		w.tell("* " + hereText + "\n")
	}
}

// ask reads lines until one of them gives the password. What was read behind
// that line is held.
func (r *Room) ask(ctx context.Context, who *caller, l *lock) error {
	const prompt = "* this room has a password: /pass PASSWORD\n"
	if who.passed {
		return nil
	}
	if !who.asked {
		who.tell(prompt)
		who.asked = true
	}
	buf := make([]byte, gateBuffer)
	until := time.Now().Add(gateTime)
	for {
		who.tcp.SetReadDeadline(until)
		if r.svc.still.frozen.Load() {
			if !r.svc.still.park(who) {
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
		n, err := who.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(until) {
			continue // woken
		}
		rest := buf[:n]
		for {
			line, over, more, ok := who.framer.Cut(rest)
			who.answerTelnet()
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
			if p := wire.Foreign(line, over > 0); p != "" && who.lines == 0 {
				r.svc.counters.foreign(p)
				return refusal("")
			}
			who.lines++
			answer, inside, failed := r.answerGate(ctx, who, l, line, over > 0)
			switch {
			case inside:
				who.passed, who.held = true, rest
				return nil
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
func (r *Room) answerGate(ctx context.Context, who *caller, l *lock, line []byte, over bool) (answer string, inside bool, err error) {
	c, perr := wire.ParseCommand(wire.Clean(line))
	switch {
	case over || perr != nil && c.Name != "pass" || perr == nil && c.Do != wire.Pass && c.Do != wire.Quit:
		return "* the password comes first: /pass PASSWORD\n", false, nil
	case perr != nil:
		return "* " + perr.Error() + "\n", false, nil
	case c.Do == wire.Quit:
		return "", false, refusal("* bye\n")
	}
	g := &r.svc.gate
	from, wait, err := r.svc.guess(ctx, who.addr.Addr())
	if err != nil {
		return "", false, err
	}
	if wait > 0 {
		g.held.Add(1)
		return fmt.Sprintf("* your address has given wrong passwords: wait %v before the next one\n", wait.Round(100*time.Millisecond)), false, nil
	}
	defer g.done(from)
	right := false
	if p, err := wire.ParsePassword(c.Text); err == nil {
		if right, err = l.opens(ctx, p, from.doubted(time.Now())); err != nil {
			if ctx.Err() == nil {
				r.svc.log.Error("password", "room", r.name(), "error", err)
				err = refusal("* the server could not compare the password\n")
			}
			return "", false, err
		}
	}
	if right {
		g.right.Add(1)
		return "", true, nil
	}
	g.wrong.Add(1)
	wait = from.failed(time.Now())
	r.svc.log.Info("wrong password", "room", r.name(), "remote", who.addr, "in_a_row", from.wrong, "next_after", wait)
	return fmt.Sprintf("* that is not the password; the next one may come after %v\n", wait), false, nil
}

// doubted reports whether the address has given a wrong password of late.
func (u *guesser) doubted(now time.Time) bool { return u.wrong > 0 && now.Sub(u.lately) <= guessForget }

// failed notes a wrong password and returns how long the next one has to wait.
func (u *guesser) failed(now time.Time) time.Duration {
	if !u.doubted(now) {
		u.wrong = 0
	}
	wait := min(guessPause<<min(u.wrong, 20), guessLonger)
	u.wrong++
	u.lately, u.until = now, now.Add(wait)
	return wait
}

// guess waits until an address may have a password looked at; its turn must be
// done. If that takes too long it returns how long it would take yet.
func (s *Service) guess(ctx context.Context, a netip.Addr) (from *guesser, wait time.Duration, err error) {
	for left := holdGuess; ; {
		if from, err = s.gate.turn(ctx, a); err != nil {
			return nil, 0, err
		}
		if wait = time.Until(from.until); wait <= 0 {
			return from, 0, nil
		}
		s.gate.done(from)
		if left <= 0 {
			return nil, wait, nil
		}
		pause := min(wait, left)
		left -= pause
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.still.freezing():
			left = 0
		case <-ctx.Done():
			t.Stop()
			return nil, 0, ctx.Err()
		}
		t.Stop()
	}
}

// turn waits until an address may have a password compared, or be told that it
// may not yet.
func (g *gate) turn(ctx context.Context, a netip.Addr) (*guesser, error) {
	u := g.guesser(block(a))
	select {
	case u.turn <- struct{}{}:
		return u, nil
	case <-ctx.Done():
		g.unuse(u)
		return nil, ctx.Err()
	}
}

// done ends a turn.
func (g *gate) done(u *guesser) {
	<-u.turn
	g.unuse(u)
}

func (g *gate) unuse(u *guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.users--
}

// guesser finds what is known of an address. Of more than mostAddresses some
// that nobody uses are forgotten: those that guess no more, then any.
func (g *gate) guesser(k netip.Prefix) *guesser {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.guesses[k]
	if u == nil {
		if len(g.guesses) >= mostAddresses {
			g.forget()
		}
		if g.guesses == nil {
			g.guesses = make(map[netip.Prefix]*guesser)
		}
		u = &guesser{turn: make(chan struct{}, 1)}
		g.guesses[k] = u
	}
	u.users++
	return u
}

func (g *gate) forget() {
	now := time.Now()
	for k, u := range g.guesses {
		if u.users == 0 && now.Sub(u.lately) > guessForget {
			delete(g.guesses, k)
		}
	}
	for k, u := range g.guesses { // in no order: a flood of addresses drives out its own
		if len(g.guesses) < mostAddresses*3/4 {
			return
		}
		if u.users == 0 {
			delete(g.guesses, k)
		}
	}
}

// enter lets a connection wait. If very many do, the one that has waited longest
// makes room: who has a password gives it soon.
func (g *gate) enter(who *caller) *caller {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, who)
	if len(g.waiting) > mostWaiting {
		oldest := g.waiting[0]
		g.waiting = g.waiting[1:]
		oldest.crowded.Store(true)
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
