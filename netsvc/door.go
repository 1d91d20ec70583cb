package netsvc

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	// LineBytes is the longest line that a client may send, without its ending.
	LineBytes() int
}

// DoorOptions is a door, and the addresses on which it is open. They are read by New.
type DoorOptions struct {
	Door
	Listen []netip.AddrPort
}

// doorList has the doors of a server.
type doorList struct {
	doors     []*openDoor // set by New, then read-only
	doorsStay atomic.Bool // the next process knows no doors: their sessions end with this one
}

// openDoor is a door of a server. An address that cannot be bound is retried.
type openDoor struct {
	Door
	svc    *Service
	listen []netip.AddrPort

	mu      sync.Mutex
	bound   map[netip.AddrPort]*transport.Endpoint // by the wanted address
	unbound map[netip.AddrPort]string              // the reasons
	closed  bool
}

// addDoors makes the doors of the options.
func (s *Service) addDoors(all []DoorOptions) {
	for _, o := range all {
		s.doors = append(s.doors, &openDoor{
			Door: o.Door, svc: s, listen: o.Listen,
			bound: make(map[netip.AddrPort]*transport.Endpoint), unbound: make(map[netip.AddrPort]string),
		})
		for f, by := range o.Door.Formats() {
			s.formats[f] = by
		}
	}
}

// openDoors binds the doors, where they are not bound already.
func (s *Service) openDoors() {
	for _, d := range s.doors {
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
}

// DoorInfo is a door as the operator sees it.
type DoorInfo struct {
	Name      string            `json:"name"`
	Listening []netip.AddrPort  `json:"listening"`
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
		if len(d.listen) > 0 || i.Sessions > 0 {
			all = append(all, i)
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
		_ = d.begin(d.newSession(k, h.Client(), h.Since()), nil)
	})
}

func (d *openDoor) newSession(k *transport.Conn, addr netip.AddrPort, since time.Time) *RoomsSession {
	return &RoomsSession{output: output{conn: k, remote: addr}, svc: d.svc, door: d, since: since, framer: wire.NewFramer(d.LineBytes())}
}

// begin registers a session in the admission queue and begins to read, or refuses it.
func (d *openDoor) begin(k *RoomsSession, state []byte) (err error) {
	s, q := d.svc, &d.svc.queue
	if k.proto, err = d.Begin(k, state); err != nil {
		return err
	}
	why, text := RefusedClosing, d.Refusal("the server is stopping")
	err = errStopped
	admitted := k.admitted // before it may change
	s.mu.Lock()
	if !s.stopping {
		q.mu.Lock() // Finish waits for it
		if err = k.conn.Start(k, k.pending != nil); err != nil {
			why, text = refusedDescriptors, d.Refusal(busyText)
		} else {
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
		s.releaseConn(k.remote.Addr())
		s.refuse(k.conn.Detach(k.remote), why, text)
	}
	return err
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
