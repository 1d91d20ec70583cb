package netsvc

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"roomd/netsvc/ban"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// requestBytes between requests cost as much as one request.
const requestBytes = 4 << 10

// masterSession is a connection to the master port.
type masterSession struct {
	requestSession
	id uint64 // set before it is registered, then read-only

	// Owned by the holder of the read lock.
	begun   bool      // there was a line that is not blank
	gotLine bool      // there was a line since the deadline was set
	fullAt  time.Time // when its burst of requests is full again
	paid    float64   // for the request that has to wait
}

// admitMaster begins a session at the master port, or tells the client why it is refused.
func (s *Service) admitMaster(c transport.Socket, addr netip.AddrPort) {
	if s.stop.Err() != nil {
		s.refuse(c.TCP(addr), RefusedClosing, "ERR shutting-down the server is stopping\n")
		return
	}
	why, err := s.acquireUnbanned(addr.Addr())
	if err != nil {
		s.publishRefusal("", addr, why, errLine(err))
		s.refuseNew(c, addr, why, errLine(err))
		return
	}
	id := s.sessionIDs.Add(1)
	if !s.needsHandshake(addr.Addr()) {
		s.beginMaster(s.newMaster(s.engine.NewConn(c, addr), addr, id, time.Now()), 0)
		return
	}
	s.startHandshake(c.TCP(addr), addr, handshakeFor{}, func(h *handshakeConn, k *transport.Conn, err error) {
		if err != nil {
			text := err.Error()
			if errors.Is(err, errMoved) {
				text = "ERR shutting-down " + upgradeText + "\n"
			}
			s.releaseConn(h.Client().Addr())
			s.refuse(h.Conn(), h.reason, text)
			return
		}
		s.beginMaster(s.newMaster(k, h.Client(), id, h.Since()), 0)
	})
}

func (s *Service) newMaster(k *transport.Conn, addr netip.AddrPort, id uint64, since time.Time) *masterSession {
	return &masterSession{
		requestSession: requestSession{svc: s, conn: k, remote: addr, since: since, timeoutErr: errIdle, framer: wire.NewFramer(s.opts().LineBytes)},
		id:             id,
	}
}

// beginMaster registers a session and begins to read it, under the lock that Stop takes. idle
// is the time to the session's deadline; 0: limits.master_idle.
func (s *Service) beginMaster(c *masterSession, idle time.Duration) (err error) {
	why, text := RefusedClosing, "ERR shutting-down the server is stopping\n"
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

// errLine is the answer to a request that has failed.
func errLine(err error) string {
	var refusal *wire.Error
	if errors.As(err, &refusal) {
		return fmt.Sprintf("ERR %s %s\n", refusal.Code, refusal.Text)
	}
	return "ERR internal the server could not do that\n"
}

func (c *masterSession) Data(p []byte) transport.Outcome { return c.onData(c, p) }

func (c *masterSession) Resume() transport.Outcome { return c.onResume(c) }

func (c *masterSession) PeerClosed(err error) transport.Outcome { return c.onPeerClosed(c, err) }

// outcome begins the idle time again if there was a line: bytes that never make a line do not
// keep a session from being idle.
func (c *masterSession) outcome(err error) transport.Outcome {
	if errors.Is(err, errBecameHTTP) {
		return transport.Replaced
	}
	o := c.requestSession.outcome(err)
	if idle := c.svc.opts().MasterIdle; o == transport.Continue && idle > 0 && c.gotLine {
		c.gotLine = false
		c.setDeadline(time.Now().Add(idle))
	}
	return o
}

// Finish tells the client why the session ends, and closes the connection.
func (c *masterSession) Finish() {
	defer c.svc.tasks.Done()
	defer c.svc.releaseConn(c.remote.Addr())
	defer func() {
		c.svc.mu.Lock()
		defer c.svc.mu.Unlock()
		c.stopTimer()
		delete(c.svc.masterSessions, c)
	}()
	c.end(errBug) // has no effect if the session has ended
	c.setPendingInput(nil)
	err := c.endErr()
	peerClosed := errors.Is(err, io.EOF)
	if c.svc.stop.Err() != nil && !peerClosed {
		c.out = append(c.out, "ERR shutting-down the server is stopping\n"...)
	}
	if errors.Is(err, errMoved) {
		c.out = append(c.out, "ERR shutting-down "+upgradeText+"\n"...)
	}
	if b := c.svc.banned(0, c.remote.Addr(), ""); b != nil && errors.Is(err, errBanned) {
		c.out = append(c.out, errLine(wire.Errorf(wire.CodeDenied, "%s", ban.Text(b)))...)
	}
	cause := c.cause(err)
	abort := cause == unread || cause == CauseInternal || c.isAborted()
	if c.send(); !abort && !c.await(c.isWritten, answerTimeout) && !c.isAborted() {
		cause = unread
	}
	if c.isPeerGone() && cause == CauseLeft {
		cause = CauseVanished
	}
	c.svc.counters.sessionEnds.add(cause)
	c.close(abort || cause == CauseVanished || cause == unread || c.isAborted(), peerClosed)
}

// Causes of the end of a session. It also has some of those of members.
const (
	answered    Cause = "answered"     // JOIN or QUIT
	idleTooLong Cause = "idle"         // no line for limits.master_idle
	unread      Cause = "unread"       // the client did not read its answers
	rateLimited Cause = "rate limited" // the address has sent too many requests
)

// cause returns the cause of the end that an error stands for.
func (c *masterSession) cause(err error) Cause {
	switch {
	case c.isAborted():
		return CauseKicked
	case errors.Is(err, io.EOF):
		return CauseLeft
	case errors.Is(err, errBug):
		return CauseInternal
	case errors.Is(err, errForeign):
		return CauseForeign
	case errors.Is(err, errRateLimited):
		return rateLimited
	case errors.Is(err, errBanned):
		return CauseKicked
	case c.svc.stop.Err() != nil, errors.Is(err, errMoved):
		return CauseStopping
	case errors.Is(err, errDone):
		return answered
	case errors.Is(err, errUnread):
		return unread
	case errors.Is(err, errIdle):
		return idleTooLong
	}
	return CauseVanished
}

// take sets the cost: 1 for a line with text, and for each requestBytes between such lines.
func (c *masterSession) take(p []byte) (pendingInput, error) {
	in, hasText := c.cut(p, "OK "+telnetReply+"\n")
	if hasText || c.unended >= requestBytes {
		in.cost, c.unended = 1, 0
	}
	if in.isLine && c.isPeerGone() { // answer charges requests that have an effect
		in.cost = 0
	}
	return in, nil
}

func (c *masterSession) handle(in *pendingInput) error {
	err := c.charge(in.cost)
	if err == nil {
		in.cost = 0
	}
	// A line that is too long is not kept whole, so no other process could answer it.
	if in.isLine && (err == nil || c.canWait && errors.Is(err, errMustWait) && in.over > 0) {
		err = c.line(in.line, in.over)
	}
	if errors.Is(err, errHTTP) {
		err = c.becomeHTTP(in)
	}
	if err != nil {
		return err
	}
	if in.isLine {
		c.lines++
		c.gotLine = true
	}
	in.isLine, c.paid = false, 0
	if len(c.out) > answerBytes && len(in.rest) > 0 {
		return c.flush()
	}
	return nil
}

// line answers one request. An error ends the session, but errMustWait.
func (c *masterSession) line(line []byte, over int) error {
	if wire.IsBlank(line) && over == 0 {
		c.svc.counters.blank.Add(1)
		return nil
	}
	if !c.begun {
		p := wire.DetectProtocol(line, over > 0)
		if p == wire.HTTP && over == 0 && c.svc.httpDoor != nil {
			if !c.canWait {
				return errMustWait
			}
			return errHTTP
		}
		if c.begun = true; p != "" {
			c.svc.counters.foreignConns.add(p)
			c.out = append(c.out, p.Answer()...)
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

// errHTTP says that the client speaks HTTP, and that there is a door for it.
var errHTTP = errors.New("the client speaks HTTP")

// becomeHTTP gives the connection to the door of HTTP, with the line that was read and what follows it,
// and returns errBecameHTTP.
func (c *masterSession) becomeHTTP(in *pendingInput) error {
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
		c.err, c.closed, c.outputEnded = errBecameHTTP, true, true
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	for !c.await(c.isDrained, lastWriteTimeout) {
	}
	c.svc.inTransition.Add(1)
	defer c.svc.inTransition.Add(-1)
	c.stopTimer()
	c.setPendingInput(nil)
	c.svc.mu.Lock()
	delete(c.svc.masterSessions, c)
	c.svc.mu.Unlock()
	head := slices.Concat(in.line, []byte("\r\n"), in.rest)
	c.svc.httpDoor.serveHTTP(c.conn.Release(c.remote), c.remote, c.since, head)
	c.svc.tasks.Done()
	return errBecameHTTP
}

// answer executes a request, after it has charged the rate limit for the cost of the request beyond
// that of its line. On an event loop it returns errMustWait for an expensive one: Resume executes it.
func (c *masterSession) answer(req wire.Request) error {
	const cheap = 0.2
	cost := c.svc.requestCost(req.Verb)
	if !c.canWait && cost > cheap {
		return errMustWait
	}
	if c.isPeerGone() {
		if onlyAnswers(req.Verb) {
			return nil
		}
		cost++
	}
	if err := c.charge(cost - c.paid); err != nil {
		return err
	}
	c.paid = cost
	if err := c.endReason(); err != nil { // charge may have waited
		return err
	}
	return c.request(req)
}

// requestCost is what a request costs beyond its line. The cost of a line is 1.
func (s *Service) requestCost(v wire.Verb) float64 {
	switch v {
	case wire.VerbCreate, wire.VerbDelete:
		return 4
	case wire.VerbList:
		const rooms = 500 // cost as much as a line
		return float64(s.RoomCount()) / rooms
	}
	return 0
}

// onlyAnswers reports whether a request has no effect but its answer.
func onlyAnswers(v wire.Verb) bool { return v == wire.VerbList || v == wire.VerbHelp }

// fail answers ERR. An error that is not for clients is logged.
func (c *masterSession) fail(err error) {
	var refusal *wire.Error
	if !errors.As(err, &refusal) {
		c.svc.log.Error("request failed", "remote", c.remote, "error", err)
	}
	c.out = append(c.out, errLine(err)...)
}

// request carries out a request. The error is the answer, or ends the session.
func (c *masterSession) request(req wire.Request) error {
	switch req.Verb {
	case wire.VerbCreate:
		return c.create(req)
	case wire.VerbJoin:
		return c.join(req)
	case wire.VerbList:
		return c.list(req)
	case wire.VerbDelete:
		return c.delete(req)
	case wire.VerbHelp:
		lines := wire.RequestHelp()
		c.out = fmt.Appendf(c.out, "OK %d\n", len(lines))
		for _, l := range lines {
			c.out = append(append(c.out, l...), '\n')
		}
		return nil
	default:
		c.out = append(c.out, "OK bye\n"...)
		return errDone
	}
}

func (c *masterSession) create(req wire.Request) error {
	info, key, err := c.svc.createOn(req, Creation{Session: c.id, Addr: c.remote.String()})
	if err != nil {
		return err
	}
	c.out = fmt.Appendf(c.out, "OK %s %d %s\n", info.Name, c.svc.Advertised(info.Port), key)
	return nil
}

// createOn is CREATE of a client. The error may be errMustWait.
func (s *Service) createOn(req wire.Request, by Creation) (RoomInfo, string, error) {
	if !s.opts().CreateAnyone {
		return RoomInfo{}, "", wire.Errorf(wire.CodeDenied, "only the operator may create rooms here")
	}
	end, ok := s.engine.TryBeginChange()
	if !ok {
		return RoomInfo{}, "", errMustWait
	}
	defer end()
	by.Password = req.Secret
	return s.Create(req.Name, by)
}

// deleteOn is DELETE of a client at a conn, which may wait. done gets the result. The error is
// errMustWait, or errMoved: then done is not called, or what it does is in vain.
func (s *Service) deleteOn(k *transport.Conn, req wire.Request, session uint64, door string, remote netip.AddrPort, done func(name string, err error)) error {
	end, ok := s.engine.TryBeginChange()
	if !ok {
		return errMustWait
	}
	if !k.RunBlocking(func() { // an upgrade does not wait for it
		var name string
		err := s.deleteRoom(end, req.Name, "", door, remote.String(), func(r *Room) error {
			name = r.name()
			return s.mayDelete(r, session, req.Secret)
		})
		done(name, err)
	}) {
		return errMoved
	}
	return nil
}

// HandleRequest carries out CREATE, JOIN or DELETE of a client, as the master port does. The room is as
// strangers see it, with the port as clients reach it; key is that of a created one. The error is a
// *wire.Error, or ErrWait: the server is to be suspended. Only Line with wait may call it, after
// AwaitTurn(RequestCost).
func (s *RoomsSession) HandleRequest(req wire.Request) (info RoomInfo, key string, err error) {
	switch req.Verb {
	case wire.VerbCreate:
		info, key, err = s.svc.createOn(req, Creation{Addr: s.remote.String(), Door: s.door.Name()})
	case wire.VerbJoin:
		info, err = s.svc.reachable(req.Name)
	case wire.VerbDelete:
		if moved := s.svc.deleteOn(s.conn, req, 0, s.door.Name(), s.remote, func(name string, e error) { info.Name, err = name, e }); moved != nil {
			err = ErrWait // if the server is gone, the session has ended by then
		}
	}
	var known *wire.Error
	if err != nil && err != ErrWait && !errors.As(err, &known) {
		s.svc.log.Error("request failed", "remote", s.remote, "error", err)
		err = wire.Errorf(wire.CodeInternal, "the server could not do that")
	}
	info.Port = s.svc.Advertised(info.Port)
	return info.ForStrangers(), key, err
}

// RequestCost is what a request to the master port costs. 1 is a line's.
func (s *Service) RequestCost(v wire.Verb) float64 { return 1 + s.requestCost(v) }

// reachable returns the room that JOIN asks for.
func (s *Service) reachable(name string) (RoomInfo, error) {
	r, err := s.room(name)
	if err != nil {
		return RoomInfo{}, err
	}
	info, err := r.infoAfterChange()
	if err == nil && info.Unbound != "" {
		err = wire.Errorf(wire.CodeBusy, "%s is not reachable at the moment: %s; the server keeps trying", info.Name, info.Unbound)
	}
	return info, err
}

func (c *masterSession) join(req wire.Request) error {
	info, err := c.svc.reachable(req.Name)
	if err != nil {
		return err
	}
	info = info.ForStrangers()
	c.out = fmt.Appendf(c.out, "OK %s %d %d\n", info.Name, c.svc.Advertised(info.Port), info.Members)
	return errDone
}

// ListMatching returns the rooms of the answer to LIST with that argument, which may be "".
func (s *Service) ListMatching(what string) []RoomInfo {
	infos := s.List()
	switch {
	case what == "":
	case wire.IsPattern(what):
		matching, pattern := infos[:0], wire.NewPattern(what)
		for _, i := range infos {
			if pattern.Match(i.Key) {
				matching = append(matching, i)
			}
		}
		infos = matching
	default:
		// An older form of the protocol: the list of all rooms if that room exists, else nothing.
		if _, err := s.room(what); err != nil {
			infos = nil
		}
	}
	return infos
}

func (c *masterSession) list(req wire.Request) error {
	infos := c.svc.ListMatching(req.Name)
	before := len(c.out)
	c.out = fmt.Appendf(c.out, "OK %d\n", len(infos))
	for _, i := range infos {
		i = i.ForStrangers()
		c.out = fmt.Appendf(c.out, "%s %d %d", i.Name, c.svc.Advertised(i.Port), i.Members)
		if i.Topic != "" {
			c.out = append(append(c.out, ' '), i.Topic...)
		}
		c.out = append(c.out, '\n')
		if len(c.out) <= answerBytes {
			continue
		}
		if !c.canWait {
			c.out = c.out[:before]
			return errMustWait
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *masterSession) delete(req wire.Request) error {
	// The answers so far must not wait while the members of the room drain.
	if err := c.flush(); err != nil {
		return err
	}
	return c.svc.deleteOn(c.conn, req, c.id, "", c.remote, func(name string, err error) {
		if err != nil {
			c.fail(err)
		} else {
			c.out = fmt.Appendf(c.out, "OK %s\n", name)
		}
		c.send()
	})
}

// Advertised returns the number under which clients reach a port.
func (s *Service) Advertised(port int) int { return port + s.opts().PortOffset }
