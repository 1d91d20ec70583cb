package netsvc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	// answerTimeout is how long a client of the master port may take to read an
	// answer.
	answerTimeout    = 10 * time.Second
	lastWriteTimeout = time.Second // where the connection is to end
	// answerBytes gathered before they are written, for pipelined requests.
	answerBytes = 8 << 10
	// loopLines of one read are answered on a loop, and what is behind them in a
	// goroutine: others are to have their turn.
	loopLines = 32
	// requestBytes between requests have the price of one.
	requestBytes = 4 << 10
)

// masterSession is a connection to the master port.
type masterSession struct {
	requestSession
	id uint64 // set before it is registered, then read-only

	// Owned by the holder of the read lock.
	lines   int       // seen so far
	unended int       // bytes since the last line that have no price yet
	begun   bool      // one of them was not blank
	gotLine bool      // one since idle was set
	fullAt  time.Time // when its burst of requests is whole again
	paid    float64   // of the price of the request that is held
}

// admitMaster serves a connection to the master port, or says why not.
func (s *Service) admitMaster(c transport.Socket, addr netip.AddrPort) {
	if s.stop.Err() != nil {
		s.refuse(c.TCP(addr), refusedClosing, "ERR shutting-down the server is stopping\n")
		return
	}
	why, err := s.acquireConn(addr.Addr())
	if err == nil {
		if b := s.banned(0, addr.Addr(), ""); b != nil {
			s.releaseConn(addr.Addr())
			why, err = refusedBan, wire.Errorf(wire.CodeDenied, "%s", banText(b))
		}
	}
	if err != nil {
		s.publishRefusal("", addr, errLine(err))
		s.refuseNew(c, addr, why, errLine(err))
		return
	}
	id := s.sessions.Add(1)
	if s.opts().Certificate == nil {
		s.beginMaster(s.newMaster(s.engine.NewConn(c, addr), addr, id, time.Now()), 0)
		return
	}
	s.handshake(c.TCP(addr), addr, nil, func(who *handshake, k *transport.Conn, err error) {
		if err != nil {
			s.releaseConn(addr.Addr())
			s.refuse(who.conn, refusedHandshake, err.Error())
			return
		}
		s.beginMaster(s.newMaster(k, addr, id, who.since), 0)
	})
}

func (s *Service) newMaster(k *transport.Conn, addr netip.AddrPort, id uint64, since time.Time) *masterSession {
	return &masterSession{
		requestSession: requestSession{svc: s, conn: k, remote: addr, since: since, timeoutErr: errIdle, framer: wire.NewFramer(s.opts().LineBytes)},
		id:             id,
	}
}

// beginMaster registers a session and begins to read it, under the lock that Stop takes.
// If it is not 0, idle is when it has been idle for too long.
func (s *Service) beginMaster(c *masterSession, idle time.Duration) (err error) {
	why, text := refusedClosing, "ERR shutting-down the server is stopping\n"
	s.mu.Lock()
	begins := !s.stopping
	if begins {
		if err = c.conn.Start(c, c.pendingInput != nil); err != nil {
			why, text, begins = refusedDescriptors, busyReply, false
		}
	}
	if begins {
		if idle = cmp.Or(idle, s.opts().MasterIdle); idle > 0 {
			c.setDeadline(time.Now().Add(idle))
		}
		s.masterSessions[c] = true
		s.tasks.Add(1)
	}
	s.mu.Unlock()
	if !begins {
		s.releaseConn(c.remote.Addr())
		s.refuse(c.conn.Detach(c.remote), why, text)
	}
	return err
}

func errLine(err error) string {
	var refusal *wire.Error
	if errors.As(err, &refusal) {
		return fmt.Sprintf("ERR %s %s\n", refusal.Code, refusal.Text)
	}
	return "ERR internal the server could not do that\n"
}

var (
	errDone            = errors.New("bye")
	errForeign         = errors.New("the peer speaks another protocol")
	errRateLimited     = errors.New("the peer's address asks for too much")
	errUnread          = errors.New("the peer does not read")
	errStopped         = errors.New("the server stops")
	errMustWait        = errors.New("it has to wait")
	errMoved           = errors.New("another process has taken over")
	errBanned          = errors.New("the peer's address is banned")
	errIdle            = errors.New("the peer says nothing")
	errPasswordTimeout = errors.New("the peer has not done in time what it is to do")
	errClosing         = errors.New("the room closes")
	errEvicted         = errors.New("very many wait")
	errBecameMember    = errors.New("the session is a member now")
	errBug             = errors.New("a bug ends the session")
)

// isEnd reports whether an error that reading has met is the end of the input.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) }

// Data answers what needs no waiting.
func (c *masterSession) Data(p []byte) transport.Outcome {
	c.canWait = false
	return c.next(c.serve(pendingInput{pendingLines: pendingLines{rest: p}}))
}

// Resume answers what is held.
func (c *masterSession) Resume() transport.Outcome {
	c.work(true)
	defer c.work(false)
	err := c.flush() // what the client has not taken yet
	if l := c.pendingInput; err == nil && l != nil {
		c.setPendingInput(nil)
		err = c.serve(*l)
	}
	return c.next(err)
}

// PeerClosed answers the last line.
func (c *masterSession) PeerClosed(err error) transport.Outcome {
	c.work(true)
	before := c.framer
	if line, over, ok := c.framer.Tail(); ok && c.tailIsComplete(err) {
		switch e := c.line(line, over); {
		case errors.Is(e, errMustWait):
			c.framer = before
			return transport.Retry
		case e != nil:
			err = e
		}
	}
	c.end(err)
	return transport.Stop
}

// work notes that something is under way that may wait, and that the client is not idle
// meanwhile.
func (c *masterSession) work(busy bool) {
	c.canWait = busy
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy = busy; !busy && c.timer != nil {
		c.timer.Reset(time.Until(c.deadline))
	}
}

// next is that of a session. Bytes that never make a line do not count as something that
// the client says: a line has its time.
func (c *masterSession) next(err error) transport.Outcome {
	next := c.requestSession.next(err)
	if idle := c.svc.opts().MasterIdle; next == transport.Continue && idle > 0 && c.gotLine {
		c.gotLine = false
		c.setDeadline(time.Now().Add(idle))
	}
	return next
}

// Panicked reports a bug that is met while serving the session.
func (c *masterSession) Panicked(p any, stack []byte) {
	c.svc.log.Error("fault at the master port", "remote", c.remote, "error", p, "stack", string(stack))
	go c.end(errBug)
}

// Finish says the last words, and closes the connection.
func (c *masterSession) Finish() {
	defer c.svc.tasks.Done()
	defer c.svc.releaseConn(c.remote.Addr())
	defer func() {
		c.svc.mu.Lock()
		defer c.svc.mu.Unlock()
		c.stopTimer()
		delete(c.svc.masterSessions, c)
	}()
	c.end(errBug) // unless it has ended
	c.setPendingInput(nil)
	err := c.endErr()
	heard := errors.Is(err, io.EOF)
	if c.svc.stop.Err() != nil && !heard {
		c.out = append(c.out, "ERR shutting-down the server is stopping\n"...)
	}
	if errors.Is(err, errMoved) {
		c.out = append(c.out, "ERR shutting-down "+movedText+"\n"...)
	}
	if b := c.svc.banned(0, c.remote.Addr(), ""); b != nil && errors.Is(err, errBanned) {
		c.out = append(c.out, errLine(wire.Errorf(wire.CodeDenied, "%s", banText(b)))...)
	}
	cause := c.cause(err)
	breaks := cause == unread || cause == causeInternal || c.isAborted()
	if c.send(); !breaks && !c.await(c.isWritten, answerTimeout) && !c.isAborted() {
		cause = unread
	}
	if c.isPeerGone() && cause == causeLeft {
		cause = causeVanished
	}
	c.svc.counters.countSessionEnd(cause)
	c.close(breaks || cause == causeVanished || cause == unread || c.isAborted(), heard)
}

// Causes of the end of a session, beside those of members.
const (
	answered    Cause = "answered"     // JOIN or QUIT
	idleTooLong Cause = "idle"         // no line for limits.master_idle
	unread      Cause = "unread"       // it does not read its answers
	rateLimited Cause = "rate limited" // its address asks for too much
)

// cause is what an error at the end stands for.
func (c *masterSession) cause(err error) Cause {
	switch {
	case c.isAborted():
		return causeKicked
	case errors.Is(err, io.EOF):
		return causeLeft
	case errors.Is(err, errBug):
		return causeInternal
	case errors.Is(err, errForeign):
		return causeForeign
	case errors.Is(err, errRateLimited):
		return rateLimited
	case errors.Is(err, errBanned):
		return causeKicked
	case c.svc.stop.Err() != nil, errors.Is(err, errMoved):
		return causeStopping
	case errors.Is(err, errDone):
		return answered
	case errors.Is(err, errUnread):
		return unread
	case errors.Is(err, errIdle):
		return idleTooLong
	}
	return causeVanished
}

// serve answers input: what is held of it, and what comes behind that. With errLater
// the rest is held.
func (c *masterSession) serve(in pendingInput) error {
	if err := c.endReason(); err != nil {
		return err
	}
	for first := c.lines; ; {
		err := errMustWait
		if c.canWait || c.lines-first < loopLines {
			err = c.charge(in.price)
		}
		if err == nil {
			in.price = 0
		}
		if in.isLine && (err == nil || c.canWait && errors.Is(err, errMustWait) && in.over > 0) {
			err = c.line(in.line, in.over)
		}
		if err == nil {
			if in.isLine {
				c.lines++
				c.gotLine = true
			}
			in.isLine, c.paid = false, 0
			if len(c.out) > answerBytes {
				err = c.flush()
			}
		}
		if errors.Is(err, errMustWait) {
			in.line, in.rest = bytes.Clone(in.line), bytes.Clone(in.rest)
			c.setPendingInput(&in)
		}
		if err != nil || len(in.rest) == 0 {
			return err
		}
		in = c.take(in.rest)
		if in.isLine && c.svc.stop.Err() != nil {
			return errStopped
		}
	}
}

// take takes the next line off p, and answers what a telnet client has asked for. What
// comes between requests adds up, until it has the price of one.
func (c *masterSession) take(p []byte) (in pendingInput) {
	in.price = 1
	in.line, in.over, in.rest, in.isLine = c.framer.Cut(p)
	refusals, there := c.framer.TelnetRequests()
	if c.out = append(c.out, refusals...); there {
		c.out = append(c.out, "OK "+hereText+"\n"...)
	}
	if len(in.line) == 0 {
		if c.unended += chargedBytes(len(p)-len(in.rest), len(refusals) > 0 || there, in.isLine); c.unended < requestBytes {
			in.price = 0
		}
	}
	if in.price > 0 {
		c.unended = 0
	}
	if in.isLine && c.isPeerGone() { // what has an effect has its price below
		in.price = 0
	}
	return in
}

// line answers one request. An error ends the connection.
func (c *masterSession) line(line []byte, over int) error {
	if wire.IsBlank(line) && over == 0 {
		c.svc.counters.blank.Add(1)
		return nil
	}
	if !c.begun {
		c.begun = true
		if p := wire.DetectProtocol(line, over > 0); p != "" {
			c.svc.counters.countForeign(p)
			c.out = append(c.out, foreignAnswer(p)...)
			return errForeign
		}
	}
	if over > 0 {
		c.svc.counters.tooLong.Add(1)
		c.fail(wire.Errorf(wire.CodeTooLong, "the line has %d bytes, the limit is %d", over, c.svc.opts().LineBytes))
		return nil
	}
	text := wire.Clean(line)
	req, err := wire.ParseRequest(text)
	if err == nil {
		err = c.answer(req)
	}
	if err != errMustWait && text != string(line) {
		c.svc.counters.cleaned.Add(1)
	}
	switch err {
	case errDone, errRateLimited, errUnread, errStopped, errMustWait, errBanned, errMoved:
		return err
	}
	if err != nil {
		c.fail(err)
	}
	return nil
}

// answer carries out a request that is paid for. What takes long is for Resume.
func (c *masterSession) answer(req wire.Request) error {
	const cheap = 0.2
	price := c.svc.requestCost(req.Verb)
	if !c.canWait && price > cheap {
		return errMustWait
	}
	if c.isPeerGone() {
		if onlyAnswers(req.Verb) {
			return nil
		}
		price++
	}
	if err := c.charge(price - c.paid); err != nil {
		return err
	}
	c.paid = price
	if err := c.endReason(); err != nil { // since its lines were read
		return err
	}
	return c.request(req)
}
