package netsvc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// What the operator changes of a room while it is open. Its members keep their
// sockets. Each change is on disk before it is visible.

// ident is what the operator may change of a room while it is open.
type ident struct {
	name, key string // as it is shown, and folded
	port      int
	look      string // of the name
}

func newIdent(name, key string, port int) *ident {
	return &ident{name, key, port, wire.Name{Shown: name, Key: key}.Skeleton()}
}

func (r *Room) name() string { return r.ident.Load().name }
func (r *Room) key() string  { return r.ident.Load().key }
func (r *Room) port() int    { return r.ident.Load().port }

// most is how many members the room may have; 0: any number.
func (r *Room) most() int {
	if n := r.own.Load().Members; n != nil {
		return *n
	}
	return r.svc.opts().Members
}

// replay is how many earlier lines who joins is shown.
func (r *Room) replay() int {
	if n := r.own.Load().Replay; n != nil {
		return *n
	}
	return r.svc.opts().Replay
}

// quietAbove is how many members are still told of joins and leaves.
func (r *Room) quietAbove() int {
	if n := r.own.Load().Quiet; n != nil {
		return *n
	}
	return r.svc.opts().QuietAbove
}

// alterRoom is alterOrRefuse for a change of a room. After an error there is nothing to end.
func (s *Service) alterRoom(name string) (r *Room, end func(), err error) {
	if end, err = s.alterOrRefuse(); err != nil {
		return nil, nil, err
	}
	if r, err = s.room(name); err != nil {
		end()
	}
	return r, end, err
}

// alterAlone is alterRoom for a change that no other of its kind may meet.
func (s *Service) alterAlone(name string) (r *Room, end func(), err error) {
	r, pass, err := s.alterRoom(name)
	if err != nil {
		return nil, nil, err
	}
	if !r.altering.TryLock() {
		pass()
		return nil, nil, wire.Errorf(wire.CodeBusy, "%s is just being changed; try again in a moment", r.name())
	}
	return r, func() {
		r.altering.Unlock()
		pass()
	}, nil
}

// update changes the room in the store, and waits until that is visible.
func (r *Room) update(e store.Edit) error {
	_, err := r.svc.store.Update(r.id, e)
	if errors.Is(err, store.ErrNoRoom) {
		return wire.Errorf(wire.CodeNoRoom, "%s has just been deleted", r.name())
	}
	if err != nil {
		return storeError(fmt.Errorf("change the room %s: %w", r.name(), err))
	}
	return nil
}

// tell shows a notice to the members.
func (r *Room) tell(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != closing {
		r.announce(wire.Event{Type: wire.TypeNotice, Text: fmt.Sprintf(format, args...)})
	}
}

// Rename gives a room another name, or another spelling of its own.
func (s *Service) Rename(name, to string) (RoomInfo, error) {
	r, end, err := s.alterAlone(name)
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	n, err := wire.ParseName(to)
	if err != nil {
		return RoomInfo{}, err
	}
	// The name is reserved by a room that nobody finds, as it never opens.
	stand := standFor(s, n)
	s.mu.Lock()
	other, alike := s.rooms[n.Key], s.imitated(n, r)
	if other == nil && alike == nil {
		s.rooms[n.Key] = stand
	}
	s.mu.Unlock()
	if other != nil && other != r {
		return RoomInfo{}, wire.Errorf(wire.CodeExists, "a room named %s is already there", other.name())
	}
	if alike != nil {
		return RoomInfo{}, alike.imitates(n)
	}
	defer s.forget(stand)
	if err := r.update(store.Edit{Name: &n.Shown, Key: &n.Key}); err != nil {
		return RoomInfo{}, err
	}
	return r.after()
}

// after is the room as it is behind a change.
func (r *Room) after() (RoomInfo, error) {
	info, ok := r.info()
	if !ok {
		return info, wire.Errorf(wire.CodeNoRoom, "%s is just being closed", r.name())
	}
	return info, nil
}

// Move gives a room another port: it accepts there from now on, a client that is in the
// backlog of the old one still comes in, and that port rests.
func (s *Service) Move(name string, port int) (RoomInfo, error) {
	r, end, err := s.alterAlone(name)
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	if port == r.port() {
		return RoomInfo{}, wire.Errorf(wire.CodeExists, "%s has that port", r.name())
	}
	ln, err := s.bindChosen(port)
	if err != nil {
		return RoomInfo{}, err
	}
	if err := r.update(store.Edit{Port: &port, Owner: ln}); err != nil {
		ln.Close()
		s.rest(port)
		return RoomInfo{}, err
	}
	r.work.complete() // the old port is left
	return r.after()
}

// bindChosen binds a port that the operator wants. It need not be in the range
// of the ports for rooms.
func (s *Service) bindChosen(port int) (*transport.Endpoint, error) {
	if port < 1 || port > 65535 {
		return nil, wire.Errorf(wire.CodeBadRequest, "%d is not a port: a number from 1 to 65535", port)
	}
	if port == s.Port() {
		return nil, wire.Errorf(wire.CodeExists, "%d is the master port", port)
	}
	s.mu.Lock()
	owner := s.at(port)
	within := port >= s.ports.first && port <= s.ports.last
	claimed := owner == nil && s.ports.claim(port)
	s.mu.Unlock()
	switch {
	case owner != nil:
		return nil, wire.Errorf(wire.CodeExists, "the port %d is the one of %s", port, owner.name())
	case slices.Contains(s.withheld, port):
		return nil, wire.Errorf(wire.CodeExists, "the port %d is that of a damaged room, which is left out", port)
	case within && !claimed:
		return nil, wire.Errorf(wire.CodeBusy, "the port %d is just being given to a room", port)
	}
	// A room that had it a moment ago may still be leaving it.
	for until := time.Now().Add(5 * bindPause); ; {
		l, err := s.listen(port)
		if err == nil {
			return l, nil
		}
		if !transport.IsInUse(err) || time.Now().After(until) || !s.pause(bindPause) {
			s.rest(port)
			return nil, wire.Errorf(wire.CodeNoPort, "%s", transport.Reason(port, err))
		}
	}
}

// Rebind tries at once to bind a room that waits for its port.
func (s *Service) Rebind(name string) (RoomInfo, error) {
	r, end, err := s.alterRoom(name)
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	if r.currentState() == open {
		return RoomInfo{}, wire.Errorf(wire.CodeExists, "%s is bound already, to port %d", r.name(), r.port())
	}
	if !r.tryBind() && r.currentState() == unbound {
		return RoomInfo{}, wire.Errorf(wire.CodeNoPort, "%s; the server keeps trying", r.unboundCause())
	}
	s.log.Info("room bound", "room", r.name(), "port", r.port())
	return r.after()
}

// Settings are a room's own.
func (s *Service) Settings(name string) (store.Settings, error) {
	r, err := s.room(name)
	if err != nil {
		return store.Settings{}, err
	}
	return *r.own.Load(), nil
}

// Set changes a room's own settings. Values are the caller's to check.
func (s *Service) Set(name string, change func(*store.Settings)) (own store.Settings, err error) {
	r, end, err := s.alterAlone(name)
	if err != nil {
		return own, err
	}
	defer end()
	own = *r.own.Load()
	change(&own)
	return own, r.update(store.Edit{Own: &own})
}

// settingsText is a room's own settings in a line.
func settingsText(own store.Settings) string {
	text, err := json.Marshal(own)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
