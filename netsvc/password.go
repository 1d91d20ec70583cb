package netsvc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"roomd/netsvc/ban"
	"roomd/netsvc/passwd"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	passwordTimeout  = 30 * time.Second // for the right password, from the connection on
	maxPasswordLines = 3                // passwords and other lines in one connection
	maxPasswordInput = 8 << 10          // bytes between lines, in one connection (chargedBytes)
)

// passwordSession is a connection whose client must give a room's password.
type passwordSession struct {
	requestSession
	password *passwd.Password // of the room when the client connected

	// Owned by the holder of the read lock.
	passed bool // the client has given the password; the pending input follows that line
}

// closingText is an error that ends a connection, and the text for the client.
type closingText string

func (e closingText) Error() string { return string(e) }

// errNoPassword ends the password sessions of a room whose password was removed.
const errNoPassword = closingText("* the room has no password any more; connect again\n")

func (r *Room) newPasswordSession(k *transport.Conn, addr netip.AddrPort, since time.Time, p *passwd.Password) *passwordSession {
	return &passwordSession{
		requestSession: requestSession{svc: r.svc, conn: k, remote: addr, room: r, since: since, timeoutErr: errPasswordTimeout, framer: wire.NewFramer(r.svc.opts().LineBytes)},
		password:       p,
	}
}

// afterHandshake admits a connection after its TLS handshake, or refuses it.
func (r *Room) afterHandshake(h *handshakeConn, k *transport.Conn, err error) {
	if err != nil {
		if h.Evicted() {
			err = errEvicted
		}
		why, say := r.refuseEntry(h.Client(), h.reason, err)
		r.svc.refuse(h.Conn(), why, say)
		return
	}
	r.beginSession(k, h.Client(), h.Since())
}

// refuseEntry releases a connection that err keeps from the room. It returns the reason, which
// is the given one unless it finds another, and the text for the client.
func (r *Room) refuseEntry(addr netip.AddrPort, why RefusalReason, err error) (RefusalReason, string) {
	q, say := &r.svc.queue, ""
	var text closingText
	cause, closed := r.ending()
	b := r.svc.banned(r.id, addr.Addr(), "")
	if b != nil {
		why = RefusedBan
	}
	switch {
	case closed, errors.Is(err, errStopped):
		if why = RefusedClosing; !closed {
			cause = CauseStopping
		}
		ev := r.farewell(cause)
		say = string(ev.AppendText(nil))
	case errors.Is(err, errEvicted):
		q.evicted.Add(1)
		say = wire.Notice("very many are waiting here; try again")
	case errors.Is(err, errPasswordTimeout):
		q.timedOut.Add(1)
		say = wire.Notice(fmt.Sprintf("no password came within %v", passwordTimeout))
	case errors.Is(err, errMoved):
		say = wire.Notice(upgradeText)
	case errors.Is(err, errBanned) && b != nil:
		say = r.noticeLine(ban.Text(b))
	case errors.As(err, &text):
		say = string(text)
	}
	r.svc.releaseConn(addr.Addr())
	r.svc.publishRefusal(r.name(), addr, why, say)
	return why, say
}

// begin puts the session into the admission queue, and asks for the password unless asked says
// that another process has done so. resumes says that nothing is read or written before the
// engine runs; then Resume is called.
func (c *passwordSession) begin(asked, resumes bool) {
	s, q, passed := c.svc, &c.svc.queue, c.passed
	if !asked && !passed {
		c.unwritten = []byte(wire.Notice(wire.AskPassword + ": /pass PASSWORD"))
	}
	err := errStopped
	s.mu.Lock()
	if !s.stopping {
		q.mu.Lock() // Finish waits for it
		if err = c.conn.Start(c, resumes); err != nil {
			err = closingText(c.room.noticeLine(busyText))
		} else {
			s.tasks.Add(1)
			q.addLocked(c)
			if !passed {
				c.setDeadline(c.since.Add(passwordTimeout))
			}
		}
		q.mu.Unlock()
	}
	s.mu.Unlock()
	if err != nil {
		why, say := c.room.refuseEntry(c.remote, refusedDescriptors, err)
		s.refuse(c.conn.Detach(c.remote), why, say)
		return
	}
	if resumes {
		return
	}
	c.Writable()
	if err := c.endReason(); err != nil { // perhaps from before the session was in the queue
		c.end(err)
	} else if !passed && c.room.password.Load() == nil {
		c.end(errNoPassword)
	}
}

func (c *passwordSession) Data(p []byte) transport.Outcome { return c.onData(c, p) }

func (c *passwordSession) Resume() transport.Outcome { return c.onResume(c) }

func (c *passwordSession) PeerClosed(err error) transport.Outcome { return c.onPeerClosed(c, err) }

func (c *passwordSession) outcome(err error) transport.Outcome {
	if errors.Is(err, errBecameMember) {
		return transport.Replaced
	}
	return c.requestSession.outcome(err)
}

// take limits the input without a line with text. It is not called after the password.
func (c *passwordSession) take(p []byte) (pendingInput, error) {
	in, _ := c.cut(p, wire.Notice(telnetReply))
	if c.unended > maxPasswordInput {
		return in, closingText(wire.Notice("the password comes first, and much else has come"))
	}
	return in, nil
}

// handle makes a member of the session after the line that gives the password.
func (c *passwordSession) handle(in *pendingInput) error {
	if in.isLine && !c.passed {
		if err := c.line(in.line, in.over); err != nil {
			return err
		}
	}
	in.isLine, in.line = false, nil
	if !c.passed {
		return nil
	}
	if len(in.rest) > 0 {
		c.setPendingInput(&pendingInput{pendingLines: pendingLines{rest: bytes.Clone(in.rest)}})
	}
	return c.becomeMember()
}

// line answers a line. closingText ends the session.
func (c *passwordSession) line(line []byte, over int) error {
	if wire.IsBlank(line) && over == 0 {
		return nil
	}
	if other := wire.DetectProtocol(line, over > 0); other != "" && c.lines == 0 {
		c.svc.counters.foreignConns.add(other)
		return closingText("")
	}
	answer, err := c.answerLine(line, over > 0)
	if err != nil || c.passed {
		return err
	}
	if c.lines++; c.lines == maxPasswordLines {
		return closingText(answer)
	}
	c.out = append(c.out, answer...)
	return nil
}

func (c *passwordSession) answerLine(line []byte, over bool) (answer string, err error) {
	k, perr := wire.ParseCommand(wire.Clean(line))
	switch {
	case over || perr != nil && k.Name != "pass" || perr == nil && k.Do != wire.Pass && k.Do != wire.Quit:
		return wire.Notice("the password comes first: /pass PASSWORD"), nil
	case perr != nil:
		return wire.Notice(perr.Error()), nil
	case k.Do == wire.Quit:
		return "", closingText(wire.Notice("bye"))
	case !c.canWait:
		return "", errMustWait
	}
	text, _ := wire.ParsePassword(k.Text)
	return c.checkPassword(text)
}

// becomeMember makes the connection a member's, and returns errBecameMember. The member handles
// the pending input.
func (c *passwordSession) becomeMember() error {
	if err := c.flush(); err != nil {
		return err
	}
	end, ok := c.svc.engine.TryBeginChange()
	if !ok {
		return errMustWait
	}
	defer end()
	c.mu.Lock()
	err := c.err
	if err == nil {
		c.err, c.closed, c.outputEnded = errBecameMember, true, true
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	defer c.svc.tasks.Done()
	defer c.stopTimer()
	defer c.svc.queue.remove(c)
	defer c.setPendingInput(nil)
	for !c.await(c.isDrained, lastWriteTimeout) {
	}
	c.room.beginLineSession(c.conn.Replace(c.remote), c.remote, c)
	return errBecameMember
}

// takeInputOf has the session read on where the password session ended.
func (s *lineSession) takeInputOf(c *passwordSession) {
	s.framer, s.begun = c.framer, c.lines > 0
	if c.sawReset {
		s.set(isReset)
	}
	if p := c.pendingBytes(); len(p) > 0 {
		s.pending = &pendingLines{rest: p}
		s.member.room.svc.engine.AddPending(s.pending.size())
	}
}

// Finish tells the client why it is refused, and closes the connection.
func (c *passwordSession) Finish() {
	c.end(errBug) // has no effect if the session has ended
	if err := c.endErr(); errors.Is(err, errBecameMember) {
		return // the conn is a member's
	}
	defer c.svc.tasks.Done()
	done, gently := c.svc.engine.TryLinger()
	defer done()
	c.svc.queue.remove(c)
	c.stopTimer()
	c.setPendingInput(nil)
	err := c.endErr()
	why, say := c.room.refuseEntry(c.remote, RefusedPassword, err)
	c.svc.counters.refusals.add(why)
	c.out = append(c.out, say...)
	c.send()
	written := !c.isAborted() && c.await(c.isWritten, lastWriteTimeout)
	c.close(!written || errors.Is(err, errBug), !gently || errors.Is(err, io.EOF))
}

// checkPassword compares a password with the newest one of the room. text is "" if the client
// gave none. The answer is for the client; without one and without an error it was right.
func (c *passwordSession) checkPassword(text string) (answer string, err error) {
	r, q, p := c.room, &c.svc.queue, c.password
	if now := r.password.Load(); now != nil {
		p = now
	}
	ctx, cancel := context.WithCancel(c.svc.stop)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	ended := c.err
	c.mu.Unlock()
	if ended != nil {
		return "", ended
	}
	err = c.svc.guesses.Check(ctx, c.svc.engine.Suspending(), p, c.remote.Addr(), text)
	var throttled passwd.Throttled
	var wrong passwd.Wrong
	switch {
	case err == nil:
		q.right.Add(1)
		r.rememberAddr(c.remote.Addr())
		c.passed = true
		return "", nil
	case errors.As(err, &throttled):
		q.throttled.Add(1)
		return wire.Notice(string(throttled)), nil
	case errors.As(err, &wrong):
		q.wrong.Add(1)
		c.svc.log.Info("wrong password", "room", r.name(), "remote", c.remote, "next_after", wrong.Next)
		return wire.Notice(wrong.Error()), nil
	case errors.Is(err, passwd.ErrSuspended):
		err = errMustWait
	case ctx.Err() == nil:
		c.svc.log.Error("password cannot be compared", "room", r.name(), "error", err)
		err = closingText(wire.Notice("the server could not compare the password"))
	}
	return "", err
}

// rememberAddr notes that an address has a member in the room, or had one: it does not compete
// with strangers who guess the password.
func (r *Room) rememberAddr(a netip.Addr) {
	if p := r.password.Load(); p != nil {
		r.svc.mu.Lock()
		rooms := len(r.svc.rooms)
		r.svc.mu.Unlock()
		r.svc.guesses.Remember(time.Now(), p, a, rooms)
	}
}
