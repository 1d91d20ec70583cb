package netsvc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"roomd/netsvc/passwd"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// What the operator changes of a room while it is open. Its members keep their
// sockets. Each change is on disk before it is visible.

// nameAndPort is what the operator may change of a room while it is open.
type nameAndPort struct {
	name, key string // as it is shown, and folded
	port      int
	skeleton  string // of the name
}

func newNameAndPort(name, key string, port int) *nameAndPort {
	return &nameAndPort{name, key, port, wire.Name{Shown: name, Key: key}.Skeleton()}
}

func (r *Room) name() string { return r.ident.Load().name }
func (r *Room) key() string  { return r.ident.Load().key }
func (r *Room) port() int    { return r.ident.Load().port }

// maxMembers is how many members the room may have; 0: any number.
func (r *Room) maxMembers() int {
	if n := r.own.Load().Members; n != nil {
		return *n
	}
	return r.svc.opts().MaxMembers
}

// replayLines is how many earlier lines who joins is shown.
func (r *Room) replayLines() int {
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

// beginRoomChange is alterOrRefuse for a change of a room. After an error there is nothing to end.
func (s *Service) beginRoomChange(name string) (r *Room, end func(), err error) {
	if end, err = s.alterOrRefuse(); err != nil {
		return nil, nil, err
	}
	if r, err = s.room(name); err != nil {
		end()
	}
	return r, end, err
}

// beginExclusiveRoomChange is alterRoom for a change that no other of its kind may meet.
func (s *Service) beginExclusiveRoomChange(name string) (r *Room, end func(), err error) {
	r, pass, err := s.beginRoomChange(name)
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
		return clientError(fmt.Errorf("change the room %s: %w", r.name(), err))
	}
	return nil
}

// announceNotice shows a notice to the members.
func (r *Room) announceNotice(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != closing {
		r.announce(wire.Event{Type: wire.TypeNotice, Text: fmt.Sprintf(format, args...)})
	}
}

// Rename gives a room another name, or another spelling of its own.
func (s *Service) Rename(name, to string) (RoomInfo, error) {
	r, end, err := s.beginExclusiveRoomChange(name)
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	n, err := wire.ParseName(to)
	if err != nil {
		return RoomInfo{}, err
	}
	// The name is reserved by a room that nobody finds, as it never opens.
	stand := placeholderRoom(s, n)
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
	defer s.unregister(stand)
	if err := r.update(store.Edit{Name: &n.Shown, Key: &n.Key}); err != nil {
		return RoomInfo{}, err
	}
	return r.infoAfterChange()
}

// infoAfterChange is the room as it is behind a change.
func (r *Room) infoAfterChange() (RoomInfo, error) {
	info, ok := r.info()
	if !ok {
		return info, wire.Errorf(wire.CodeNoRoom, "%s is just being closed", r.name())
	}
	return info, nil
}

// Move gives a room another port: it accepts there from now on, a client that is in the
// backlog of the old one still comes in, and that port rests.
func (s *Service) Move(name string, port int) (RoomInfo, error) {
	r, end, err := s.beginExclusiveRoomChange(name)
	if err != nil {
		return RoomInfo{}, err
	}
	defer end()
	if port == r.port() {
		return RoomInfo{}, wire.Errorf(wire.CodeExists, "%s has that port", r.name())
	}
	ln, err := s.bindPort(port)
	if err != nil {
		return RoomInfo{}, err
	}
	if err := r.update(store.Edit{Port: &port, Owner: ln}); err != nil {
		ln.Close()
		s.quarantinePort(port)
		return RoomInfo{}, err
	}
	r.work.wait() // the old port is left
	return r.infoAfterChange()
}

// bindPort binds a port that the operator wants. It need not be in the range
// of the ports for rooms.
func (s *Service) bindPort(port int) (*transport.Endpoint, error) {
	if port < 1 || port > 65535 {
		return nil, wire.Errorf(wire.CodeBadRequest, "%d is not a port: a number from 1 to 65535", port)
	}
	if port == s.Port() {
		return nil, wire.Errorf(wire.CodeExists, "%d is the master port", port)
	}
	s.mu.Lock()
	owner := s.roomAtPort(port)
	within := port >= s.ports.first && port <= s.ports.last
	claimed := owner == nil && s.ports.claim(port)
	s.mu.Unlock()
	switch {
	case owner != nil:
		return nil, wire.Errorf(wire.CodeExists, "the port %d is the one of %s", port, owner.name())
	case slices.Contains(s.corruptPorts, port):
		return nil, wire.Errorf(wire.CodeExists, "the port %d is that of a damaged room, which is left out", port)
	case within && !claimed:
		return nil, wire.Errorf(wire.CodeBusy, "the port %d is just being given to a room", port)
	}
	// A room that had it a moment ago may still be leaving it.
	for until := time.Now().Add(5 * bindInterval); ; {
		l, err := s.listen(port)
		if err == nil {
			return l, nil
		}
		if !transport.IsPortInUse(err) || time.Now().After(until) || !s.sleep(bindInterval) {
			s.quarantinePort(port)
			return nil, wire.Errorf(wire.CodeNoPort, "%s", transport.BindReason(port, err))
		}
	}
}

// Rebind tries at once to bind a room that waits for its port.
func (s *Service) Rebind(name string) (RoomInfo, error) {
	r, end, err := s.beginRoomChange(name)
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
	return r.infoAfterChange()
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
	r, end, err := s.beginExclusiveRoomChange(name)
	if err != nil {
		return own, err
	}
	defer end()
	own = *r.own.Load()
	change(&own)
	return own, r.update(store.Edit{Settings: &own})
}

// settingsText is a room's own settings in a line.
func settingsText(own store.Settings) string {
	text, err := json.Marshal(own)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Create makes a room. When it returns, the room is on disk and listens. by
// tells whom to remember as its creator: the session's number and its address.
// The error is a *wire.Error if it is the caller's fault.
func (s *Service) Create(name string, by Creation) (info RoomInfo, key string, err error) {
	end, err := s.alterOrRefuse()
	if err != nil {
		return info, "", err
	}
	defer end()
	p, err := s.reserve(name, by)
	if err != nil {
		return info, "", err
	}
	if _, err := s.store.CreateAll([]store.Room{p.record}, by.By, networkAudit(by.Addr, "CREATE "+p.record.Name)...); err != nil {
		p.release()
		return info, "", clientError(fmt.Errorf("create the room %s: %w", p.record.Name, err))
	}
	if p.room == nil {
		p.ln.Close()
		return info, "", wire.Errorf(wire.CodeShuttingDown, "the server is stopping; the room %s will be there when it is back", p.record.Name)
	}
	info, _ = p.room.info()
	return info, p.key, nil
}

// createFirst makes the rooms of an empty database, all of them or none: after a
// crash in between the database is empty still.
func (s *Service) createFirst() error {
	first, err := s.store.Empty()
	if err != nil || !first || len(s.opts().FirstRooms) == 0 {
		return err
	}
	var plans []*reservation
	var records []store.Room
	giveUp := func() {
		for _, p := range slices.Backward(plans) {
			p.release()
		}
	}
	for _, name := range s.opts().FirstRooms {
		p, err := s.reserve(name, Creation{})
		if err != nil {
			giveUp()
			return fmt.Errorf("create the room %s: %w", name, err)
		}
		plans, records = append(plans, p), append(records, p.record)
	}
	if _, err := s.store.CreateAll(records, "server.create"); err != nil {
		giveUp()
		return fmt.Errorf("create the first rooms: %w", err)
	}
	s.logQueue.wait()
	return nil
}

// reservation is a room that has a name and a port, and is not in the store yet, or not
// any more. The store hands it to appear.
type reservation struct {
	placeholder *Room // has the name
	ln          *transport.Endpoint
	record      store.Room // of a new room
	key         string
	creator     uint64 // session
	password    *passwd.Password

	room *Room // set by appear, before the store answers; nil: the server stops
}

// reserve reserves what a new room needs.
func (s *Service) reserve(name string, by Creation) (*reservation, error) {
	n, err := wire.ParseName(name)
	if err != nil {
		return nil, err
	}
	topic := wire.CleanTopic(by.Topic)
	stand, err := s.reserveName(n, true)
	if err != nil {
		return nil, err
	}
	var p *passwd.Password
	if by.Password != "" {
		var still <-chan struct{}
		if by.Addr != "" { // a request is put off
			still = s.engine.Suspending()
		}
		if p, err = s.newPassword(by.Password, still); err != nil {
			s.unregister(stand)
			return nil, err
		}
	}
	var ln *transport.Endpoint
	if by.Port != 0 {
		ln, err = s.bindPort(by.Port)
	} else {
		ln, err = s.bindFree(stand)
	}
	if err != nil {
		s.unregister(stand)
		return nil, err
	}
	secret := make([]byte, 16)
	rand.Read(secret)
	key := hex.EncodeToString(secret)
	keyHash := sha256.Sum256([]byte(key))
	made := &reservation{placeholder: stand, ln: ln, key: key, creator: by.Session, password: p}
	made.record = store.Room{
		Name: n.Shown, Key: n.Key, Port: ln.Port, Created: time.Now().UTC(), Creator: by.Addr, KeyHash: keyHash[:], Password: p.Hash(), Topic: topic, Owner: made,
	}
	return made, nil
}

// release gives back what plan has reserved.
func (p *reservation) release() {
	s := p.placeholder.svc
	p.ln.Close()
	s.returnPorts(p.ln.Port)
	s.unregister(p.placeholder)
}

// Creation says who creates a room.
type Creation struct {
	Session  uint64 // the master connection; 0: none
	Addr     string // of the client; "": it did not come over the network
	By       string // who, without an address
	Port     int    // that it must have; 0: the next one that is free
	Password string // as it was typed; "": the room has none
	Topic    string
}

// placeholderRoom is a room that stands in the map for one that is not on disk yet, to
// reserve its name. It never opens, and has no ID: nobody finds it.
func placeholderRoom(s *Service, n wire.Name) *Room {
	return newRoom(s, store.Room{Name: n.Shown, Key: n.Key}, 0)
}

// reserveName puts a room that stands for another one into the map. A new name must
// not look like another one's; one that was there before may.
func (s *Service) reserveName(n wire.Name, fresh bool) (stand *Room, err error) {
	stand = placeholderRoom(s, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.rooms[n.Key]; old != nil {
		switch st := old.currentState(); st {
		case closing:
			return nil, wire.Errorf(wire.CodeExists, "a room named %s is just being deleted; try again in a moment", old.name())
		default:
			return nil, wire.Errorf(wire.CodeExists, "a room named %s is already there", old.name())
		}
	}
	if fresh {
		if other := s.imitated(n, nil); other != nil {
			return nil, other.imitates(n)
		}
	}
	if s.stopping {
		return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	}
	if most := s.opts().MaxRooms; most > 0 && len(s.rooms) >= most {
		return nil, wire.Errorf(wire.CodeFull, "the server has %s, which is the limit", plural(len(s.rooms), "room"))
	}
	s.rooms[n.Key] = stand
	return stand, nil
}

// unregister takes a room out of the maps that stands for another one, or is gone.
func (s *Service) unregister(r *Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[r.key()] == r {
		delete(s.rooms, r.key())
	}
	delete(s.draining, r)
}

// hashTimeout is how long a new password waits for its turn to be hashed.
const hashTimeout = 5 * time.Second

// SetPassword gives a room a password, on disk before it returns, or takes it
// away: "". The members of the room stay. Connections that wait to give the password
// are then told to connect again.
func (s *Service) SetPassword(name, password string) error {
	r, end, err := s.beginRoomChange(name)
	if err != nil {
		return err
	}
	defer end()
	if strings.ContainsFunc(password, unicode.IsSpace) { // nobody could give it
		return wire.Errorf(wire.CodeBadRequest, "a password is one word")
	}
	var p *passwd.Password
	if password != "" {
		if p, err = s.newPassword(password, nil); err != nil {
			return err
		}
	}
	hash := p.Hash()
	if err := r.update(store.Edit{Password: &hash, Owner: p}); err != nil {
		return err
	}
	if p == nil {
		s.queue.endPasswordChecks(r)
	}
	return nil
}

// newPassword hashes a password as it was typed. The error is errLater if the
// caller does not wait for its turn while the server is to be suspended.
func (s *Service) newPassword(typed string, still <-chan struct{}) (*passwd.Password, error) {
	text, err := wire.ParsePassword(wire.CleanString(typed))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.stop, hashTimeout)
	defer cancel()
	p, err := passwd.New(ctx, still, text)
	var held passwd.Throttled
	switch {
	case s.stop.Err() != nil:
		return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	case ctx.Err() != nil:
		return nil, wire.Errorf(wire.CodeBusy, "%s", passwd.Busy)
	case errors.As(err, &held):
		return nil, wire.Errorf(wire.CodeBusy, "%s", held)
	case errors.Is(err, passwd.ErrSuspended):
		return nil, errMustWait
	}
	return p, err
}
