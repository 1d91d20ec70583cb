package netsvc

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/ban"
	"roomd/netsvc/handshake"
	"roomd/netsvc/limit"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// acquireConn counts a connection of an address, or says which limit it is over.
func (s *Service) acquireConn(a netip.Addr) (RefusalReason, error) {
	return s.countConn(a, func(perAddress int) error { return s.conns.Acquire(a, s.opts().MaxConnections, perAddress) })
}

// acquireUnbanned is acquireConn for a port that is of no room: an address that is banned in all rooms
// is refused, and not counted.
func (s *Service) acquireUnbanned(a netip.Addr) (why RefusalReason, err error) {
	if why, err = s.acquireConn(a); err != nil {
		return why, err
	}
	if b := s.banned(0, a, ""); b != nil {
		s.releaseConn(a)
		return RefusedBan, wire.Errorf(wire.CodeDenied, "%s", ban.Text(b))
	}
	return "", nil
}

// moveConn counts a connection of a proxy as a client's from now on, and says which limit the
// client is over. In limits.connections it is counted already.
func (s *Service) moveConn(from, to netip.Addr) (why RefusalReason, err error) {
	if why, err = s.countConn(to, func(perAddress int) error { return s.conns.Move(from, to, perAddress) }); err != nil {
		_ = s.conns.Move(from, to, 0) // until it is closed
	}
	return why, err
}

// countConn counts a connection of an address with count, which gets the limit for the address, or
// says which limit it is over.
func (s *Service) countConn(a netip.Addr, count func(perAddress int) error) (RefusalReason, error) {
	o := s.opts()
	perAddress := o.MaxPerAddress
	if o.isProxy(a) || limit.Contains(o.HTTPProxies, a) {
		perAddress = 0 // the limits hold for the clients that it names
	} else if o.ConnectRate > 0 && !o.exempt(a) {
		if wait := s.connects.Take(time.Now(), limit.Prefix(a), 1, o.connects(), 0); wait > 0 {
			s.counters.rateLimited.Add(1)
			return refusedRate, wire.Errorf(wire.CodeBusy, "your address connects too often; try again in %v", wait.Round(time.Second)+time.Second)
		}
	}
	switch err := count(perAddress); {
	case errors.Is(err, limit.ErrTotal):
		return refusedTotal, wire.Errorf(wire.CodeBusy, "the server has %s, which is the limit; try again later", plural(o.MaxConnections, "connection"))
	case err != nil:
		return refusedAddress, wire.Errorf(wire.CodeBusy, "your address has %s here, which is the limit", plural(o.MaxPerAddress, "connection"))
	}
	s.trimmer.Connected()
	return "", nil
}

// releaseConn takes back what acquireConn has counted.
func (s *Service) releaseConn(a netip.Addr) { s.conns.Release(a) }

// maxWaiting is how many connections may be in the admission queue.
const maxWaiting = 1024

// admissionQueue has the connections that must agree on TLS, or give a password, before they
// see anything of a room or of the master port.
type admissionQueue struct {
	mu      sync.Mutex
	waiting []nonMember // by the time at which they connected

	right, wrong, throttled, timedOut, evicted atomic.Uint64 // see Passwords
}

// add evicts the oldest connection if too many wait: a client that has the password gives
// it soon.
func (q *admissionQueue) add(c nonMember) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(c)
}

func (q *admissionQueue) addLocked(c nonMember) {
	i, _ := slices.BinarySearchFunc(q.waiting, c.connectedAt(), func(w nonMember, t time.Time) int { return w.connectedAt().Compare(t) })
	q.waiting = slices.Insert(q.waiting, i, c)
	if len(q.waiting) > maxWaiting {
		oldest := q.waiting[0]
		q.waiting = q.waiting[1:]
		oldest.evict()
	}
}

func (q *admissionQueue) remove(c nonMember) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, c); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
}

func (q *admissionQueue) all() []nonMember {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.waiting)
}

// endPasswordChecks ends the password sessions of a room that has no password any more.
func (q *admissionQueue) endPasswordChecks(r *Room) {
	for _, w := range q.all() {
		if c, ok := w.(*passwordSession); ok && c.room == r {
			c.end(errNoPassword)
		}
	}
}

// terminateAll ends the connections that wait for a room.
func (q *admissionQueue) terminateAll(r *Room) {
	for _, w := range q.all() {
		if room, _ := w.location(); room == r {
			w.terminate()
		}
	}
}

// tlsConfig returns the configuration of all handshakes. It has the keys of session tickets,
// so there is one for the life of the server. The rest is Go's default, which follows the
// current advice.
func (s *Service) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if get := s.opts().Certificate; get != nil {
				return get(h)
			}
			return nil, errors.New("TLS has been switched off")
		},
	}
}

// handshakeFor is where a connection goes after its handshake: a room, a door, or else the master
// port.
type handshakeFor struct {
	room *Room
	door *openDoor
}

// handshakeConn is a connection in the admission queue that has to send a PROXY header, or to
// agree on TLS, before anything else.
type handshakeConn struct {
	*handshake.Handshake
	handshakeFor
	reason RefusalReason
}

// needsHandshake reports whether a connection from an address begins with a handshake.
func (s *Service) needsHandshake(a netip.Addr) bool {
	o := s.opts()
	return o.Certificate != nil || o.isProxy(a)
}

// isProxy reports whether connections from an address begin with a PROXY header.
func (o *Options) isProxy(a netip.Addr) bool { return limit.Contains(o.Proxies, a) }

// startHandshake starts a handshake in a goroutine. When the connection has left the
// admission queue, done is called with a conn, or with an error for the client. If the server is
// suspended by then, done waits until the engine goes on, or gets errMoved.
func (s *Service) startHandshake(c transport.TCP, addr netip.AddrPort, to handshakeFor, done func(*handshakeConn, *transport.Conn, error)) {
	h := &handshakeConn{handshake.New(c, addr), to, refusedHandshake}
	s.queue.add(h)
	s.tasks.Go(func() {
		err := s.doHandshake(h)
		s.inTransition.Add(1)
		defer s.inTransition.Add(-1)
		s.queue.remove(h)
		plain := errors.Is(err, errPlainHTTP)
		if err == nil || plain {
			// Before there is a conn, which takes the connection over.
			if end, ok := s.engine.BeginChangeUnlessAbandoned(); ok {
				defer end()
			} else {
				err, plain = errMoved, false
			}
		}
		if plain {
			s.httpDoorAt(to).serveHTTP(h.FinishPlain(), h.Client(), h.Since(), nil)
			return
		}
		if err != nil {
			if h.Terminated() || errors.Is(err, errMoved) {
				h.reason = RefusedClosing
			}
			done(h, nil, err)
			return
		}
		done(h, h.Finish(s.engine), nil)
	})
}

// errPlainHTTP says that a client which should speak TLS speaks HTTP, to a port with a door for that:
// the door tells it where to go.
var errPlainHTTP = errors.New("the client speaks plain HTTP")

// httpDoorAt returns the door of HTTP at a port; nil: there is none.
func (s *Service) httpDoorAt(to handshakeFor) *openDoor {
	switch {
	case to.room != nil:
		return nil
	case to.door == nil:
		return s.httpDoor
	case to.door.http != nil:
		return to.door
	}
	return nil
}

// doHandshake counts a failure by its cause. The error is errPlainHTTP or a closingText, in plain text
// if the client speaks that, or waits for it.
func (s *Service) doHandshake(h *handshakeConn) error {
	if s.opts().isProxy(h.Client().Addr()) {
		if err := s.readProxyHeader(h); err != nil {
			return err
		}
	}
	if s.opts().Certificate == nil {
		return nil
	}
	if s.httpDoorAt(h.handshakeFor) != nil {
		if head := h.Peek(); wire.IsHTTP(head[:]) {
			return errPlainHTTP
		}
	}
	speaksTLS := closingText(wire.Notice(wire.SpeaksTLS + ": use roomd chat --tls, openssl s_client -quiet -connect HOST:PORT, or ncat --ssl"))
	if h.door != nil {
		speaksTLS = closingText(h.door.Refusal(wire.SpeaksTLS))
	}
	var plain *handshake.PlainError
	switch err := h.Secure(s.stop, s.engine, s.tls); {
	case err == nil:
		return nil
	case errors.As(err, &plain):
		s.counters.tlsFailures.add(tlsPlain)
		if wire.IsHTTP(plain.Head[:]) {
			s.counters.foreignConns.add(wire.HTTP)
			return closingText(wire.HTTP.Answer())
		}
		return speaksTLS
	case errors.Is(err, handshake.ErrTimedOut):
		s.counters.tlsFailures.add(tlsTimeout)
		return speaksTLS
	case errors.Is(err, handshake.ErrFailed):
		s.counters.tlsFailures.add(tlsFailed)
	}
	return closingText("")
}

// readProxyHeader reads the address of the client. From then on the connection counts as the
// client's.
func (s *Service) readProxyHeader(h *handshakeConn) error {
	addr := h.Client()
	named, err := h.ReadHeader()
	switch {
	case errors.Is(err, handshake.ErrEnded):
		return closingText("")
	case errors.Is(err, handshake.ErrProbe): // the proxy only checked that the port is open, or the operator has kicked it
		h.reason = notRefused
		return closingText("")
	case err != nil:
		return s.refuseHandshake(h, refusedProxy, wire.Errorf(wire.CodeBadRequest, "this address is in server.proxies: a PROXY header comes first"))
	case !named:
		return nil
	}
	client := h.Client()
	if why, err := s.moveConn(addr.Addr(), client.Addr()); err != nil {
		return s.refuseHandshake(h, why, err)
	}
	if b := s.banned(0, client.Addr(), ""); b != nil && h.room == nil {
		return s.refuseHandshake(h, RefusedBan, wire.Errorf(wire.CodeDenied, "%s", ban.Text(b)))
	}
	return nil
}

func (h *handshakeConn) location() (*Room, netip.AddrPort) { return h.room, h.Client() }
func (h *handshakeConn) connectedAt() time.Time            { return h.Since() }
func (h *handshakeConn) terminate()                        { h.Terminate() }
func (h *handshakeConn) evict()                            { h.Evict() }
func (h *handshakeConn) abort() bool                       { return h.Abort() }

// Signal does nothing: a handshake waits only for the client.
func (h *handshakeConn) Signal() {}

const (
	connectBurst  = 10 // seconds of the rate that an address may use at once
	requestBurst  = 5  // the same, for a connection
	addressFactor = 5  // an address may do as much as so many of its connections

	// requestPatience is how long a request may be delayed. A client whose request would
	// have to wait for longer is disconnected.
	requestPatience = 10 * time.Second
)

// connects is the rate limit of an address on connections.
func (r *Rates) connects() limit.Rate {
	return limit.Rate{PerSecond: r.ConnectRate, Burst: r.ConnectRate * connectBurst}
}

// requests is the rate limit of a connection on requests to the master port.
func (r *Rates) requests() limit.Rate {
	return limit.Rate{PerSecond: r.RequestRate, Burst: r.RequestRate * requestBurst}
}

// addressRequests is the same for all connections of an address, and for its requests of HTTP.
func (r *Rates) addressRequests() limit.Rate {
	of := r.requests().Times(addressFactor)
	of.Burst *= 2
	return of
}

// lines is the rate limit of a member on lines. It may be used only if limitsLines.
func (r *Rates) lines() limit.Rate {
	return limit.Rate{PerSecond: r.LinesPerSecond, Burst: float64(r.Burst)}
}

// exempt reports whether there are no rate limits for an address.
func (r *Rates) exempt(a netip.Addr) bool {
	return limit.Contains(r.RateExempt, a) || limit.Contains(r.HTTPProxies, a)
}

// charge waits until the connection and its address may spend a cost. If it must not wait it
// returns errMustWait instead. If the wait would be longer than requestPatience it answers
// ERR busy, and returns errRateLimited.
func (c *masterSession) charge(cost float64) error {
	o := c.svc.opts()
	if cost <= 0 || o.RequestRate == 0 || o.exempt(c.remote.Addr()) || c.drainsLastInput() {
		return nil
	}
	now, patience := time.Now(), requestPatience
	rate := o.requests()
	debt, wait := rate.Spend(c.fullAt.Sub(now), cost)
	fullAt := now.Add(debt)
	if !c.canWait {
		if patience = 0; wait > 0 {
			return errMustWait
		}
	}
	wait = max(wait, c.svc.requests.Take(now, limit.Prefix(c.remote.Addr()), cost, o.addressRequests(), patience))
	switch {
	case wait == 0:
		c.fullAt = fullAt
		return nil
	case !c.canWait:
		return errMustWait
	case wait > requestPatience:
		c.svc.counters.rateLimited.Add(1)
		c.fail(wire.Errorf(wire.CodeBusy, "your address asks for too much; try again later"))
		return errRateLimited
	}
	c.svc.counters.throttledRequests.Add(1)
	if err := c.flush(); err != nil {
		return err
	}
	if c.conn.WasReset() {
		c.mu.Lock()
		c.peerGone = true
		c.mu.Unlock()
	}
	for until := now.Add(wait); ; {
		c.signals()
		err := c.endReason()
		left := time.Until(until)
		switch {
		case err != nil:
			return err
		case left <= 0 || c.drainsLastInput():
			c.fullAt = fullAt
			return nil
		case c.svc.engine.Suspended():
			return errMustWait
		}
		c.WaitSignal(left)
	}
}

// drainsLastInput reports whether the server stops after it has handled what the client sent
// before it closed its side: then nothing is delayed.
func (c *masterSession) drainsLastInput() bool {
	return c.svc.isStopping() && (c.isPeerGone() || c.conn.HungUp())
}

// Bytes that are no line with text cost processor time too. Each piece of input without a line
// end counts as pieceBytes at least, an empty line and an answer to a telnet client as so many
// bytes more.
const (
	pieceBytes  = 64
	telnetBytes = 1 << 10
	emptyBytes  = 8
)

// chargedBytes returns how many bytes a piece of input of n bytes counts as. answered says that
// a telnet client was answered, line that the piece ends with a line end.
func chargedBytes(n int, answered, line bool) int {
	switch {
	case line:
		n += emptyBytes - 1
	case n > 0:
		n = max(n, pieceBytes)
	}
	if answered {
		n += telnetBytes
	}
	return n
}

// emptyLine is the cost of an empty line of a member. It is low, so that a buffer full of empty
// lines does not take an hour.
const emptyLine = 0.002

// awaitTurn reports whether the next line may be handled: fewer than n lines are in flight, and
// the rate limit allows the cost. With wait it waits for both. Then false says that the member
// has ended, or that the server is to be suspended.
func (s *lineSession) awaitTurn(n int, cost float64, wait bool) bool {
	if ok, ended := s.member.withinBounds(n); !ok || ended {
		if !wait || !s.member.awaitBounds(n) {
			return false
		}
	}
	return s.awaitAllowance(s.member.room.svc, &s.allowance, cost, wait, s.member.hasEnded)
}

// awaitAddressTurn is output.awaitAddressTurn for the member's room.
func (s *lineSession) awaitAddressTurn(cost float64) bool {
	return s.output.awaitAddressTurn(s.member.room.svc, cost, s.member.hasEnded)
}

// awaitAllowance reports whether a session may spend a cost. whole is when its allowance is whole
// again, in nanoseconds of uptime. With wait it waits for that. Then false says that the session
// has ended, or that the server is to be suspended.
func (o *output) awaitAllowance(s *Service, whole *int64, cost float64, wait bool, ended func() bool) bool {
	opts := s.opts()
	if !opts.limitsLines() {
		return true
	}
	rate := opts.lines()
	cost = min(cost, rate.Burst) // the burst never has more
	for {
		now := s.uptime()
		debt, ahead := rate.Spend(time.Duration(*whole)-now, cost)
		if ahead == 0 {
			*whole = int64(now + debt)
			return true
		}
		if s.isStopping() && o.conn.HungUp() {
			return true
		}
		if !wait {
			s.counters.throttledInputs.Add(1)
			return false
		}
		if !o.waitThrottled(s, max(ahead, rate.Time(1)), ended) { // one wait for many empty lines
			return false
		}
	}
}

// awaitAddressTurn waits until the session's address may spend a cost: addressFactor times what
// one session may, all sessions of the address together. False is as of awaitAllowance.
func (o *output) awaitAddressTurn(s *Service, cost float64, ended func() bool) bool {
	opts := s.opts()
	if cost <= 0 || !opts.limitsLines() || opts.exempt(o.remote.Addr()) {
		return true
	}
	rate := opts.lines().Times(addressFactor)
	for {
		wait := s.commands.Take(time.Now(), limit.Prefix(o.remote.Addr()), min(cost, rate.Burst), rate, 0)
		if wait == 0 {
			return true
		}
		if !o.waitThrottled(s, wait, ended) {
			return false
		}
	}
}

// waitThrottled waits for a signal, or for the time d. It reports false at once if the session
// has ended, or the server is to be suspended.
func (o *output) waitThrottled(s *Service, d time.Duration, ended func() bool) bool {
	if ended() || s.engine.Suspended() {
		return false
	}
	o.set(isThrottled)
	defer o.unset(isThrottled)
	o.WaitSignal(d)
	return true
}

// A command may cost as much processor time as many lines. A page of the history, or of a list
// of members, costs as much as a line. So does a part of the history that is searched, of so many
// lines or bytes.
const (
	pageLines     = 256 // of the history; most take 60 bytes
	pageMembers   = 64
	searchedLines = 4096
	searchedBytes = 256 << 10
)

// commandCost is what a command costs beyond its line.
func (m *Member) commandCost(line []byte) float64 {
	c, err := wire.ParseCommand(string(line))
	if err != nil {
		return 0
	}
	r := m.room
	switch c.Do {
	case wire.Who:
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(len(r.members)) / pageMembers
	case wire.History, wire.Before, wire.Since:
		stat, err := r.svc.store.Stat(r.id)
		if err != nil {
			return 0
		}
		lines := stat.Lines
		switch end := r.log.End().Seq; {
		case c.Do == wire.Since && c.Seq < end:
			lines = min(lines, end-c.Seq)
		case c.Do == wire.Since:
			lines = 0
		case c.N < 0:
			lines = min(lines, uint64(r.replayLines()))
		default:
			lines = min(lines, uint64(c.N))
		}
		return float64(lines) / pageLines
	case wire.Search:
		stat, err := r.svc.store.Stat(r.id)
		if err != nil {
			return 0
		}
		return max(float64(stat.Lines)/searchedLines, float64(stat.Bytes)/searchedBytes)
	}
	return 0
}
