package netsvc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	// masterWrite is how long a client of the master port may take to read an
	// answer.
	masterWrite = 10 * time.Second
	lastWrite   = time.Second // where the connection is to end
	// answerBytes gathered before they are written, for pipelined requests.
	answerBytes = 8 << 10
	// requestBytes are read at a time.
	requestBytes = 4 << 10
)

// session is a connection to the master port. It is owned by its goroutine.
type session struct {
	svc     *Service
	id      uint64
	conn    transport.HalfCloser
	tcp     transport.TCP // beneath conn, or conn itself
	remote  netip.AddrPort
	since   time.Time
	framer  wire.Framer
	lines   int       // seen so far
	unended int       // bytes since the last line that have no price yet
	begun   bool      // one of them was not blank
	rest    time.Time // when its burst of requests is whole again
	idle    time.Time // when it has been idle for too long; zero: never
	held    []byte    // input that was read, and has to wait for the server to go on
	out     []byte
	deaf    bool          // the peer is gone: it gets no more answers
	reset   bool          // a write has met a reset that came before the end of the input
	broken  atomic.Bool   // the operator has closed it
	roused  chan struct{} // capacity 1: whoever waits for its rate is to look around
}

// admitMaster serves a connection to the master port, or says why not.
func (s *Service) admitMaster(c transport.Socket, addr netip.AddrPort) {
	if s.stop.Err() != nil {
		s.refuse(c.TCP(addr), isClosing, "ERR shutting-down the server is stopping\n")
		return
	}
	why, err := s.enter(addr.Addr())
	if err == nil {
		if b := s.banned(0, addr.Addr(), ""); b != nil {
			s.leave(addr.Addr())
			why, err = isBanned, wire.Errorf(wire.CodeDenied, "%s", banText(b))
		}
	}
	if err != nil {
		s.refusal("", addr, errLine(err))
		s.turnAway(c, addr, why, errLine(err))
		return
	}
	id, secure := s.sessions.Add(1), s.opts().Certificate != nil
	who := newCaller(c.TCP(addr), addr, nil)
	if secure {
		s.gate.enter(who)
	} else {
		s.between.Add(1)
	}
	s.tasks.Go(func() {
		defer s.leave(addr.Addr())
		if secure {
			err := s.secure(s.stop, who)
			if err == nil {
				s.between.Add(1)
			}
			s.gate.leave(who)
			if err != nil {
				s.refuse(who.conn, noHandshake, err.Error())
				return
			}
			who.tcp.SetDeadline(time.Time{})
		}
		ses := &session{svc: s, id: id, conn: who.conn, tcp: who.tcp, remote: addr, since: who.since, roused: make(chan struct{}, 1), framer: wire.NewFramer(s.opts().LineBytes)}
		ses.serve()
	})
}

func errLine(err error) string {
	var refusal *wire.Error
	if errors.As(err, &refusal) {
		return fmt.Sprintf("ERR %s %s\n", refusal.Code, refusal.Text)
	}
	return "ERR internal the server could not do that\n"
}

var (
	errBye     = errors.New("bye")
	errForeign = errors.New("the peer speaks another protocol")
	errHurried = errors.New("the peer's address asks for too much")
	errUnread  = errors.New("the peer does not read")
	errStopped = errors.New("the server stops")
	errStill   = errors.New("the server stands still")
	errMoved   = errors.New("another process has taken over")
	errBanned  = errors.New("the peer's address is banned")
)

// serve answers requests until the client leaves, is idle for too long, or the
// server stops.
func (c *session) serve() {
	c.svc.mu.Lock()
	c.svc.masters[c] = true
	c.svc.mu.Unlock()
	defer func() {
		c.svc.mu.Lock()
		defer c.svc.mu.Unlock()
		delete(c.svc.masters, c)
	}()
	defer func() {
		if p := recover(); p != nil {
			c.svc.log.Error("master", "remote", c.remote, "error", p, "stack", string(debug.Stack()))
			c.svc.counters.session(destroyed)
			c.conn.Close()
		}
	}()
	// Stopping wakes the reader; a request under way is finished and answered.
	defer c.svc.whenStopping(func() {
		c.conn.SetReadDeadline(time.Unix(1, 0))
		c.conn.SetWriteDeadline(time.Now().Add(lastWrite))
	})()
	err := c.converse()
	heard := errors.Is(err, io.EOF)
	if c.svc.stop.Err() != nil && !heard {
		c.out = append(c.out, "ERR shutting-down the server is stopping\n"...)
	}
	defer c.svc.engine.Closed()
	if errors.Is(err, errMoved) {
		c.out = append(c.out, "ERR shutting-down "+movedText+"\n"...)
	}
	if b := c.svc.banned(0, c.remote.Addr(), ""); b != nil && errors.Is(err, errBanned) {
		c.out = append(c.out, errLine(wire.Errorf(wire.CodeDenied, "%s", banText(b)))...)
	}
	cause := c.why(err)
	if c.flush() != nil && !errors.Is(err, errUnread) && !c.broken.Load() {
		cause = unread
	}
	if c.deaf && cause == left {
		cause = vanished
	}
	c.svc.counters.session(cause)
	if cause == vanished || cause == unread || c.broken.Load() {
		c.conn.Close()
		return
	}
	transport.CloseGently(c.conn, heard)
}

// Causes of the end of a session, beside those of members.
const (
	answered Cause = "answered" // JOIN or QUIT
	idling   Cause = "idle"     // no line for limits.master_idle
	unread   Cause = "unread"   // it does not read its answers
	hurried  Cause = "hurried"  // its address asks for too much
)

// why is the cause that an error stands for.
func (c *session) why(err error) Cause {
	switch {
	case c.broken.Load():
		return kicked
	case errors.Is(err, io.EOF):
		return left
	case errors.Is(err, errForeign):
		return foreign
	case errors.Is(err, errHurried):
		return hurried
	case errors.Is(err, errBanned):
		return kicked
	case c.svc.stop.Err() != nil, errors.Is(err, errMoved):
		return stopping
	case errors.Is(err, errBye):
		return answered
	case errors.Is(err, errUnread):
		return unread
	case errors.Is(err, os.ErrDeadlineExceeded):
		return idling
	}
	return vanished
}

// banned reports whether the connection is to end, as its address is banned or the
// operator has closed it.
func (c *session) banned() bool {
	return c.broken.Load() || c.svc.banned(0, c.remote.Addr(), "") != nil
}

// converse reads and answers. It returns why it ended.
func (c *session) converse() error {
	c.svc.engine.Register(c)
	c.svc.between.Add(-1)
	defer c.svc.engine.Forget(c)
	lines := -1
	if !c.idle.IsZero() {
		lines = c.lines // another process has begun to wait
	}
	for {
		// Bytes that never make a line do not count: a line has its time.
		if idle := c.svc.opts().MasterIdle; idle > 0 && lines != c.lines {
			c.idle = time.Now().Add(idle)
			lines = c.lines
		}
		c.tcp.SetReadDeadline(c.idle)
		if c.svc.stop.Err() != nil {
			return c.svc.stop.Err()
		}
		if c.banned() {
			return errBanned
		}
		if c.svc.engine.Frozen() {
			if !c.svc.engine.Park(c) {
				return errMoved
			}
			continue
		}
		err := c.serveInput()
		if err == nil {
			err = c.flush()
		}
		if err != nil && !errors.Is(err, errStill) && !c.woken(err) {
			return err
		}
	}
}

// serveInput waits for requests and answers them. At the end of the stream the
// error is io.EOF.
func (c *session) serveInput() error {
	if held := c.held; held != nil {
		c.held = nil
		return c.take(held)
	}
	p, done, err := c.read()
	if err == nil {
		// An answer may wait for the client, who must not keep a buffer meanwhile.
		p = bytes.Clone(p)
		done()
		return c.take(p)
	}
	// A reset may have cut the last line short, unless the peer had closed its
	// side before: Linux tells that by EPIPE.
	whole := (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)) && !c.reset
	if !whole {
		return err // it may be no end at all: what there is of a line stays
	}
	before := c.framer
	if line, over, ok := c.framer.Tail(); ok {
		if e := c.line(line, over); errors.Is(e, errStill) {
			c.framer = before
			return nil
		} else if e != nil {
			return e
		}
	}
	return err
}

// Wake makes a session that waits for input, or for its rate, look around.
func (c *session) Wake() {
	c.tcp.SetReadDeadline(time.Unix(1, 0))
	select {
	case c.roused <- struct{}{}:
	default:
	}
}

// hurry is Wake for a session that is to end: what it writes has lastWrite.
func (c *session) hurry() {
	c.tcp.SetWriteDeadline(time.Now().Add(lastWrite))
	c.Wake()
}

// HungUp reports whether the peer has closed its side, or is gone.
func (c *session) HungUp() bool { return transport.HungUp(c.tcp) }

// Drop closes the descriptor, which another process has too.
func (c *session) Drop() { c.conn.Close() }

// woken reports whether a read has ended by Wake: the client was not idle for
// too long.
func (c *session) woken(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && (c.idle.IsZero() || time.Now().Before(c.idle))
}

// read is ReadTCP, if the connection is nothing but TCP: others hold their
// buffer while they wait.
func (c *session) read() (p []byte, done func(), err error) {
	if c.conn == c.tcp {
		return transport.ReadTCP(c.tcp, requestBuffer)
	}
	return transport.Read(c.conn, requestBuffer)
}

// requestBuffer is the part of a buffer that requests are read into.
func requestBuffer(b []byte) []byte { return b[:requestBytes] }

func (c *session) take(p []byte) error {
	for {
		line, over, rest, ok := c.framer.Cut(p)
		refusals, there := c.framer.Asked()
		if c.out = append(c.out, refusals...); there {
			c.out = append(c.out, "OK "+hereText+"\n"...)
		}
		price := 1.0
		if len(line) == 0 {
			// What comes between requests adds up, until it has the price of one.
			if c.unended += weight(len(p)-len(rest), len(refusals) > 0 || there, ok); c.unended < requestBytes {
				price = 0
			}
		}
		if price > 0 {
			c.unended = 0
		}
		if !ok {
			return c.slow(price)
		}
		if c.svc.stop.Err() != nil {
			return errStopped
		}
		if c.deaf { // what has an effect has its price below
			price = 0
		}
		err := c.slow(price)
		if err == nil || errors.Is(err, errStill) && over > 0 {
			err = c.line(line, over)
		}
		if errors.Is(err, errStill) {
			c.held = slices.Concat(line, []byte{'\n'}, rest)
			return nil
		}
		if err != nil {
			return err
		}
		if len(c.out) > answerBytes {
			if err := c.flush(); err != nil {
				return err
			}
		}
		p = rest
	}
}

// flush writes the answers. A peer that has gone does not get them, but what it
// has asked for before is done: reading comes to its end.
func (c *session) flush() error {
	out := c.out
	c.out = nil // an idle session holds no buffer
	if c.deaf {
		return nil
	}
	patience := masterWrite
	if c.svc.stop.Err() != nil || c.banned() {
		patience = lastWrite
	}
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(out)
	c.deaf = err != nil
	c.reset = errors.Is(err, syscall.ECONNRESET)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errUnread
	}
	return nil
}

// line answers one request. An error ends the connection.
func (c *session) line(line []byte, over int) error {
	c.lines++
	if wire.Blank(line) && over == 0 {
		c.svc.counters.blank.Add(1)
		return nil
	}
	if !c.begun {
		c.begun = true
		if p := wire.Foreign(line, over > 0); p != "" {
			c.svc.counters.foreign(p)
			c.out = append(c.out, foreignAnswer(p)...)
			return errForeign
		}
	}
	if over > 0 {
		c.svc.counters.tooLong.Add(1)
		c.fail(wire.Errorf(wire.CodeTooLong, "the line has %d bytes, the limit is %d", over, c.svc.opts().LineBytes))
		return nil
	}
	req, err := wire.ParseRequest(c.svc.counters.clean(line))
	price := c.svc.price(req.Verb)
	if c.deaf {
		if err != nil || onlyAnswers(req.Verb) {
			return nil
		}
		price++
	}
	if err == nil {
		err = c.slow(price)
	}
	if err == nil && c.banned() { // since its lines were read
		err = errBanned
	}
	if err == nil {
		err = c.request(req)
	}
	switch err {
	case errBye, errHurried, errUnread, errStopped, errStill, errBanned:
		return err
	}
	if err != nil {
		c.fail(err)
	}
	return nil
}
