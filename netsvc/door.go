package netsvc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/ban"
	"roomd/netsvc/limit"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// Door is a way into the rooms by another protocol than that of their ports, with addresses and
// ports of its own. Any goroutine may call its methods.
type Door interface {
	// Name is a short word in lower case, for lists, metrics and the log.
	Name() string
	// Refusal is the text for a client that is refused, with its line end.
	Refusal(text string) string
	// Begin makes the protocol of a session. state is what Protocol.State has returned in another
	// process; nil: the client has just connected. In the other case the session has its members.
	Begin(s *RoomsSession, state []byte) (Protocol, error)
	// Formats are the formats that its members may read.
	Formats() map[roomlog.Format]Format
	// LineBytes is the longest line that a client may send, without its ending; 0: as long as a room
	// takes, or ShortLine if that is less.
	LineBytes() int
}

// ShortLine is the least that LineBytes can be for a door of HTTP: the beginning of a message, which names
// a room, is a line.
const ShortLine = 160

// HTTPDoor is a door whose clients speak HTTP before they have a session.
type HTTPDoor interface {
	Door
	// Serve serves HTTP on the connections that l accepts, each an *HTTPConn, within bounded times for
	// what a client sends, reads, or leaves unused. It returns when l is closed. The connections are
	// closed by the Service.
	Serve(s *Service, l net.Listener)
}

// FrameConn is a connection of messages, over which a session goes on after HTTP: transport says what
// its methods do. Its first message has a line before the lines of the client.
type FrameConn = transport.FrameConn

// DoorOptions is a door, and the addresses on which it is open. They are read by New.
type DoorOptions struct {
	Door
	Listen []netip.AddrPort
	// Master says that clients of the master port whose first line is one of HTTP come to this door,
	// which is an HTTPDoor. At most one door has it.
	Master bool
}

// doorList has the doors of a server.
type doorList struct {
	doors     []*openDoor // set by New, then read-only
	httpDoor  *openDoor   // for the clients of the master port that speak HTTP; nil: they are refused. Set by New
	doorsStay atomic.Bool // the next process knows no doors: their sessions end with this one
}

// openDoor is a door of a server. An address that cannot be bound is retried.
type openDoor struct {
	Door
	svc    *Service
	listen []netip.AddrPort
	http   *httpListener // nil: it is no HTTPDoor

	mu      sync.Mutex
	bound   map[netip.AddrPort]*transport.Endpoint // by the wanted address
	unbound map[netip.AddrPort]string              // the reasons
	closed  bool
}

// addDoors makes the doors of the options.
func (s *Service) addDoors(all []DoorOptions) {
	for _, o := range all {
		d := &openDoor{
			Door: o.Door, svc: s, listen: o.Listen,
			bound: make(map[netip.AddrPort]*transport.Endpoint), unbound: make(map[netip.AddrPort]string),
		}
		if _, ok := o.Door.(HTTPDoor); ok {
			d.http = &httpListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		}
		if s.doors = append(s.doors, d); o.Master {
			s.httpDoor = d
		}
		for f, by := range o.Door.Formats() {
			s.formats[f] = by
		}
	}
}

// openDoors binds the doors, where they are not bound already, and has those of HTTP serve.
func (s *Service) openDoors() {
	for _, d := range s.doors {
		if d.http != nil {
			s.tasks.Go(func() { d.Door.(HTTPDoor).Serve(s, d.http) })
		}
		for _, a := range d.listen {
			if err := d.tryBind(a, bindTimeout); err != nil {
				s.log.Warn("a door is not open; the server keeps trying", "door", d.Name(), "address", a.String(), "cause", d.reason(a))
				s.tasks.Go(func() { d.rebind(a) })
			}
		}
	}
}

// tryBind binds an address, and accepts from then on.
func (d *openDoor) tryBind(a netip.AddrPort, timeout time.Duration) error {
	d.mu.Lock()
	done := d.bound[a] != nil || d.closed
	d.mu.Unlock()
	if done {
		return nil
	}
	ln, err := d.svc.engine.Listen(a.Addr(), int(a.Port()))
	for until := time.Now().Add(timeout); err != nil && transport.IsPortInUse(err) && time.Now().Before(until) && d.svc.sleep(bindInterval); {
		ln, err = d.svc.engine.Listen(a.Addr(), int(a.Port()))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		e := &transport.Endpoint{Port: int(ln.Addr.Port()), Listeners: []*transport.Listener{ln}}
		if d.closed {
			e.Close()
			return nil
		}
		if err = e.Open(d.admit, d.Refusal(busyText)); err == nil {
			d.bound[a] = e
			delete(d.unbound, a)
			return nil
		}
	}
	d.unbound[a] = transport.BindReason(int(a.Port()), err)
	return err
}

func (d *openDoor) reason(a netip.AddrPort) string { return locked(&d.mu, &d.unbound)[a] }

// rebind retries an address until it is bound or the server stops.
func (d *openDoor) rebind(a netip.AddrPort) {
	for wait := retryMin; d.svc.sleep(wait); wait = min(2*wait, retryMax) {
		end, ok := d.svc.engine.BeginChangeUnlessAbandoned()
		if !ok {
			return
		}
		err := d.tryBind(a, 0)
		end()
		if err == nil {
			d.svc.log.Info("door open", "door", d.Name(), "address", a.String())
			return
		}
	}
}

// endpoints returns what is bound.
func (d *openDoor) endpoints() (all []*transport.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.listen {
		if e := d.bound[a]; e != nil {
			all = append(all, e)
		}
	}
	return all
}

// close stops listening.
func (d *openDoor) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, e := range d.endpoints() {
		e.DrainAndClose()
	}
	if d.http != nil {
		d.http.Close()
	}
}

// DoorInfo is a door as the operator sees it.
type DoorInfo struct {
	Name      string            `json:"name"`
	Listening []netip.AddrPort  `json:"listening"`
	Master    bool              `json:"master,omitempty"`  // it is open on the master port
	Unbound   map[string]string `json:"unbound,omitempty"` // addresses that cannot be bound, and why
	Sessions  int               `json:"sessions"`
	Members   int               `json:"members"` // in all rooms
}

// Missing returns the addresses that cannot be bound, each with the reason.
func (d DoorInfo) Missing() (all []string) {
	for _, a := range slices.Sorted(maps.Keys(d.Unbound)) {
		all = append(all, a+": "+d.Unbound[a])
	}
	return all
}

func (d DoorInfo) String() string {
	text := d.Name
	if d.Master {
		text += " on the master port"
	}
	for _, a := range d.Listening {
		text += " " + a.String()
	}
	for _, m := range d.Missing() {
		text += " (not on " + m + ")"
	}
	return text + ": " + plural(d.Sessions, "session")
}

// Doors returns the doors that are to be open, or that somebody is still connected by.
func (s *Service) Doors() []DoorInfo {
	all := []DoorInfo{}
	sessions := s.allRoomsSessions()
	for _, d := range s.doors {
		i := DoorInfo{Name: d.Name(), Listening: []netip.AddrPort{}}
		for _, e := range d.endpoints() {
			i.Listening = append(i.Listening, e.Listeners[0].Addr)
		}
		d.mu.Lock()
		for a, why := range d.unbound {
			if i.Unbound == nil {
				i.Unbound = make(map[string]string)
			}
			i.Unbound[a.String()] = why
		}
		d.mu.Unlock()
		for _, k := range sessions {
			if k.door == d {
				i.Sessions++
				i.Members += len(k.Members())
			}
		}
		if i.Master = d == s.httpDoor; len(d.listen) > 0 || i.Master || i.Sessions > 0 {
			all = append(all, i)
		}
	}
	return all
}

// DoorAddrs returns the addresses on which a door is open, besides the master port.
func (s *Service) DoorAddrs(name string) (all []netip.AddrPort) {
	if d, err := s.doorNamed(name); err == nil {
		for _, e := range d.endpoints() {
			all = append(all, e.Listeners[0].Addr)
		}
	}
	return all
}

// allRoomsSessions returns the sessions of all doors.
func (s *Service) allRoomsSessions() (all []*RoomsSession) {
	for _, v := range s.nonMembers() {
		if k, ok := v.(*RoomsSession); ok {
			all = append(all, k)
		}
	}
	return all
}

// admit begins a session on a new connection, or refuses it.
func (d *openDoor) admit(c transport.Socket, addr netip.AddrPort) {
	s := d.svc
	if s.stop.Err() != nil {
		s.refuse(c.TCP(addr), RefusedClosing, d.Refusal("the server is stopping"))
		return
	}
	why, err := s.acquireUnbanned(addr.Addr())
	if err != nil {
		s.publishRefusalAt(d.Name(), "", addr, why, err.Error())
		s.refuseNew(c, addr, why, d.Refusal(err.Error()))
		return
	}
	if !s.needsHandshake(addr.Addr()) {
		if d.http != nil {
			d.serveHTTP(c.TCP(addr), addr, time.Now(), nil)
			return
		}
		_ = d.begin(d.newSession(s.engine.NewConn(c, addr), addr, time.Now()), nil)
		return
	}
	s.startHandshake(c.TCP(addr), addr, handshakeFor{door: d}, func(h *handshakeConn, k *transport.Conn, err error) {
		if err != nil {
			text := err.Error()
			if errors.Is(err, errMoved) {
				text = d.Refusal(upgradeText)
			}
			s.releaseConn(h.Client().Addr())
			s.refuse(h.Conn(), h.reason, text)
			return
		}
		if d.http != nil {
			d.serveHTTP(k.Detach(h.Client()), h.Client(), h.Since(), nil)
			return
		}
		_ = d.begin(d.newSession(k, h.Client(), h.Since()), nil)
	})
}

func (d *openDoor) newSession(k *transport.Conn, addr netip.AddrPort, since time.Time) *RoomsSession {
	return &RoomsSession{
		output: output{conn: k, remote: addr}, svc: d.svc, door: d, began: since.UnixNano(), framer: wire.NewFramer(d.lineBytes()), passing: &nothingPassing,
	}
}

func (d *openDoor) lineBytes() int { return cmp.Or(d.LineBytes(), max(d.svc.LineBytes(), ShortLine)) }

// begin starts a session, or refuses it.
func (d *openDoor) begin(k *RoomsSession, state []byte) error {
	why, err := d.start(k, state)
	if why != "" {
		text := d.Refusal(busyText)
		if why == RefusedClosing {
			text = d.Refusal("the server is stopping")
		}
		d.svc.releaseConn(k.remote.Addr())
		d.svc.refuse(k.conn.Detach(k.remote), why, text)
	}
	return err
}

// start registers a session, in the admission queue if it is not admitted, and begins to read. With
// a reason to refuse it, it has no protocol any more.
func (d *openDoor) start(k *RoomsSession, state []byte) (why RefusalReason, err error) {
	s, q := d.svc, &d.svc.queue
	if k.proto, err = d.Begin(k, state); err != nil {
		return "", err
	}
	why, err = RefusedClosing, errStopped
	admitted := k.admitted // before it may change
	s.mu.Lock()
	if !s.stopping {
		q.mu.Lock() // Finish waits for it
		if err = k.conn.Start(k, k.pending != nil); err != nil {
			why = refusedDescriptors
		} else {
			why = ""
			s.tasks.Add(1)
			if admitted {
				s.roomsSessions[k] = true
			} else {
				q.addLocked(k)
			}
		}
		q.mu.Unlock()
	}
	s.mu.Unlock()
	if err != nil {
		k.proto.Closed()
	}
	return why, err
}

// httpListener has the connections for the HTTP server of a door.
type httpListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *httpListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *httpListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *httpListener) Addr() net.Addr { return &net.TCPAddr{} }

// HTTPConn is a connection whose client speaks HTTP. It counts as any other, and is in the admission
// queue, until it is closed or BeginSession has made a session of it.
type HTTPConn struct {
	transport.HalfCloser // TCP or TLS
	door                 *openDoor
	tcp                  transport.TCP // beneath
	remote               netip.AddrPort
	since                time.Time
	head                 []byte // was read before; owned by the reader
	paid                 bool   // the master port has charged the address for the first request; owned by the reader

	mu   sync.Mutex
	over bool // it is closed, or a session's
}

// serveHTTP gives a connection that is counted to the HTTP server of the door, or refuses it. head was
// read from it.
func (d *openDoor) serveHTTP(c transport.HalfCloser, addr netip.AddrPort, since time.Time, head []byte) {
	s := d.svc
	c.SetDeadline(time.Time{}) // that of a handshake
	h := &HTTPConn{HalfCloser: c, door: d, tcp: transport.TCPBeneath(c), remote: addr, since: since, head: head, paid: head != nil}
	s.mu.Lock()
	stopping := s.stopping
	if !stopping {
		s.tasks.Add(1)
		s.queue.add(h)
	}
	s.mu.Unlock()
	if stopping {
		s.releaseConn(addr.Addr())
		s.refuse(c, RefusedClosing, d.Refusal("the server is stopping"))
		return
	}
	go func() {
		select {
		case d.http.conns <- h:
		case <-d.http.closed:
			h.Close()
		}
	}()
}

// Read reads what was read before, and then the connection.
func (h *HTTPConn) Read(p []byte) (int, error) {
	if len(h.head) == 0 {
		h.head = nil
		return h.HalfCloser.Read(p)
	}
	n := copy(p, h.head)
	h.head = h.head[n:]
	return n, nil
}

// RemoteAddr returns the address of the client, behind a proxy too.
func (h *HTTPConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(h.remote) }

// Remote returns the address of the client.
func (h *HTTPConn) Remote() netip.AddrPort { return h.remote }

// IsTLS reports whether the connection is behind TLS.
func (h *HTTPConn) IsTLS() bool {
	_, ok := h.HalfCloser.(*tls.Conn)
	return ok
}

// Close closes the connection. If it is no session's it does not count any more.
func (h *HTTPConn) Close() error {
	if h.finish() {
		h.door.svc.releaseConn(h.remote.Addr())
		h.leaveQueue()
	}
	return h.HalfCloser.Close()
}

// finish reports whether the connection was only one of HTTP until now.
func (h *HTTPConn) finish() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.over
	h.over = true
	return first
}

func (h *HTTPConn) leaveQueue() {
	h.door.svc.queue.remove(h)
	h.door.svc.tasks.Done()
}

// BeginSession makes a session of the connection, which is beneath c from now on. client is the client
// that a proxy has named, or Remote. After an error, which is a *wire.Error, the caller closes c.
func (h *HTTPConn) BeginSession(c FrameConn, client netip.AddrPort) error {
	s, d := h.door.svc, h.door
	end, ok := s.engine.BeginChangeUnlessAbandoned()
	if !ok {
		return wire.Errorf(wire.CodeShuttingDown, upgradeText)
	}
	defer end()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return wire.Errorf(wire.CodeShuttingDown, "the connection is closed")
	}
	why, err := s.speakFor(h.remote.Addr(), client.Addr())
	if err == nil {
		k := d.newSession(s.engine.ConnFromFrames(c, h.tcp), client, h.since)
		k.admitted = true
		k.set(isFramed)
		if why, err = d.start(k, nil); err == nil {
			h.over = true
			h.leaveQueue()
			return nil
		}
		err = wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	}
	_ = s.conns.Move(client.Addr(), h.remote.Addr(), 0) // until it is closed
	s.counters.refusals.add(why)
	s.publishRefusalAt(d.Name(), "", client, why, err.Error())
	return err
}

// speakFor counts a connection of a proxy as that of a client that the proxy has named, also when it says
// why the client is refused.
func (s *Service) speakFor(proxy, client netip.Addr) (RefusalReason, error) {
	if client == proxy {
		return "", nil
	}
	if why, err := s.moveConn(proxy, client); err != nil {
		return why, err
	}
	if b := s.banned(0, client, ""); b != nil {
		return RefusedBan, wire.Errorf(wire.CodeDenied, "%s", ban.Text(b))
	}
	return "", nil
}

// ChargeRequest charges a request of HTTP to the address of a client, as the master port does: it waits
// until the rate limit allows the request. It reports false if that would take too long, or if ctx ends.
func (h *HTTPConn) ChargeRequest(ctx context.Context, client netip.Addr) bool {
	s := h.door.svc
	o, paid := s.opts(), h.paid && client == h.remote.Addr()
	if h.paid = false; paid || o.RequestRate == 0 || o.exempt(client) {
		return true
	}
	wait := s.requests.Take(time.Now(), limit.Prefix(client), 1, o.addressRequests(), requestPatience)
	switch {
	case wait == 0:
		return true
	case wait > requestPatience:
		s.counters.rateLimited.Add(1)
		return false
	}
	s.counters.throttledRequests.Add(1)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.stop.Done():
	}
	return false
}

// ReportForeign counts and reports that a request of a client was refused because another site has caused
// it, or because it was for a name that is not ours.
func (h *HTTPConn) ReportForeign(client netip.AddrPort, text string) {
	s := h.door.svc
	s.counters.refusals.add(refusedOrigin)
	s.publishRefusalAt(h.door.Name(), "", client, refusedOrigin, text)
}

// location, connectedAt and the others make it a nonMember.
func (h *HTTPConn) location() (*Room, netip.AddrPort) { return nil, h.remote }

func (h *HTTPConn) connectedAt() time.Time { return h.since }

func (h *HTTPConn) info() ConnInfo {
	return ConnInfo{Remote: h.remote.String(), State: "http", Since: h.since.UTC()}
}

// HungUp is false: no request of HTTP has an effect.
func (h *HTTPConn) HungUp() bool { return false }

func (h *HTTPConn) Signal() {}

// terminate, evict and abort close it. They may be called with locks held.
func (h *HTTPConn) terminate() { go h.Close() }

func (h *HTTPConn) evict() { go h.Close() }

func (h *HTTPConn) abort() bool {
	h.mu.Lock()
	over := h.over
	h.mu.Unlock()
	go h.Close()
	return !over
}

// door returns the name of the door by which a member is here; empty: the room's port.
func (m *Member) door() string {
	if k, ok := m.out.session().(*RoomsSession); ok {
		return k.door.Name()
	}
	return ""
}

// sentence is a refusal of a room without the form of a line.
func sentence(line string) string { return strings.TrimSuffix(strings.TrimPrefix(line, "* "), "\n") }

// doorNamed returns a door of the options.
func (s *Service) doorNamed(name string) (*openDoor, error) {
	i := slices.IndexFunc(s.doors, func(d *openDoor) bool { return d.Name() == name })
	if i < 0 {
		return nil, fmt.Errorf("this roomd has no door named %s", name)
	}
	return s.doors[i], nil
}
