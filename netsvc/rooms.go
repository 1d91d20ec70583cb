package netsvc

import (
	"cmp"
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

// What the operator changes of an open room: its members keep their connections. Each change is
// on disk before it is visible.

// nameAndPort is what Rename and Move change. It is replaced as a whole.
type nameAndPort struct {
	name, key string // as it is shown, and folded
	port      int
	skeleton  string // of the name
}

func newNameAndPort(name, key string, port int) *nameAndPort {
	return &nameAndPort{name, key, port, wire.Name{Shown: name, Key: key}.Skeleton()}
}

func (r *Room) name() string { return r.nameAndPort.Load().name }
func (r *Room) key() string  { return r.nameAndPort.Load().key }
func (r *Room) port() int    { return r.nameAndPort.Load().port }

// orDefault returns a setting of a room or, if the room has none, that of the server.
func orDefault(setting *int, ofServer int) int {
	if setting != nil {
		return *setting
	}
	return ofServer
}

// maxMembers returns how many members the room may have; 0: any number.
func (r *Room) maxMembers() int { return orDefault(r.settings.Load().Members, r.svc.opts().MaxMembers) }

// replayLines returns how many earlier lines a new member gets.
func (r *Room) replayLines() int { return orDefault(r.settings.Load().Replay, r.svc.opts().Replay) }

// quietAbove returns how many members there may be before joins and leaves are not shown any more.
func (r *Room) quietAbove() int { return orDefault(r.settings.Load().Quiet, r.svc.opts().QuietAbove) }

// beginRoomChange is beginChange for a change of a room. After an error, end must not be called.
func (s *Service) beginRoomChange(name string) (r *Room, end func(), err error) {
	if end, err = s.beginChange(); err != nil {
		return nil, nil, err
	}
	if r, err = s.room(name); err != nil {
		end()
	}
	return r, end, err
}

// beginExclusiveRoomChange is beginRoomChange for a rename, a move or new settings: of these only
// one may be under way in a room.
func (s *Service) beginExclusiveRoomChange(name string) (r *Room, end func(), err error) {
	r, endChange, err := s.beginRoomChange(name)
	if err != nil {
		return nil, nil, err
	}
	if !r.changing.TryLock() {
		endChange()
		return nil, nil, wire.Errorf(wire.CodeBusy, "%s is being changed by another command; try again in a moment", r.name())
	}
	return r, func() {
		r.changing.Unlock()
		endChange()
	}, nil
}

// update changes the room in the store, and waits until the change is visible.
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

// Rename gives a room another name, or another spelling of its name.
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
	placeholder, err := s.reserveName(n, r, true)
	if err != nil {
		return RoomInfo{}, err
	}
	defer s.unregister(placeholder)
	if err := r.update(store.Edit{Name: &n.Shown, Key: &n.Key}); err != nil {
		return RoomInfo{}, err
	}
	return r.infoAfterChange()
}

// infoAfterChange returns the room as it is after a change.
func (r *Room) infoAfterChange() (RoomInfo, error) {
	info, ok := r.info()
	if !ok {
		return info, wire.Errorf(wire.CodeNoRoom, "%s is being deleted", r.name())
	}
	return info, nil
}

// Move gives a room another port, where it accepts from then on. Clients in the backlog of the
// old port are admitted, and the old port goes into quarantine.
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
	r.work.wait() // until the old port is closed
	return r.infoAfterChange()
}

// bindPort binds a port that the operator has chosen, also one outside Options.Ports.
func (s *Service) bindPort(port int) (*transport.Endpoint, error) {
	if port < 1 || port > 65535 {
		return nil, wire.Errorf(wire.CodeBadRequest, "%d is not a port: a number from 1 to 65535", port)
	}
	if port == s.Port() {
		return nil, wire.Errorf(wire.CodeExists, "%d is the master port", port)
	}
	s.mu.Lock()
	owner := s.roomAtPort(port)
	within := s.ports.Contains(port)
	claimed := owner == nil && s.ports.Claim(port)
	s.mu.Unlock()
	switch {
	case owner != nil:
		return nil, wire.Errorf(wire.CodeExists, "port %d belongs to the room %s", port, owner.name())
	case slices.Contains(s.corruptPorts, port):
		return nil, wire.Errorf(wire.CodeExists, "port %d belongs to a corrupt room, which is not served", port)
	case within && !claimed:
		return nil, wire.Errorf(wire.CodeBusy, "port %d is being given to another room; try again in a moment", port)
	}
	// The room that had the port before may still be closing it.
	l, err := s.listenRetry(port, 5*bindInterval)
	if err != nil {
		s.quarantinePort(port)
		return nil, wire.Errorf(wire.CodeNoPort, "%s", transport.BindReason(port, err))
	}
	return l, nil
}

// Rebind tries at once to bind an unbound room.
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

// Settings returns a room's own settings.
func (s *Service) Settings(name string) (store.Settings, error) {
	r, err := s.room(name)
	if err != nil {
		return store.Settings{}, err
	}
	return *r.settings.Load(), nil
}

// Set changes a room's own settings. The caller has checked the values.
func (s *Service) Set(name string, change func(*store.Settings)) (own store.Settings, err error) {
	r, end, err := s.beginExclusiveRoomChange(name)
	if err != nil {
		return own, err
	}
	defer end()
	own = *r.settings.Load()
	change(&own)
	return own, r.update(store.Edit{Settings: &own})
}

// settingsText returns a room's own settings as JSON.
func settingsText(own store.Settings) string {
	text, err := json.Marshal(own)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Create creates a room. When it returns, the room is on disk and listens. key is what the creator
// proves itself with. The error is a *wire.Error if it is the caller's fault.
func (s *Service) Create(name string, by Creation) (info RoomInfo, key string, err error) {
	end, err := s.beginChange()
	if err != nil {
		return info, "", err
	}
	defer end()
	p, err := s.reserve(name, by)
	if err != nil {
		return info, "", err
	}
	if _, err := s.store.CreateAll([]store.Room{p.record}, by.By, networkAudit(cmp.Or(by.Door, store.DoorMaster), by.Addr, "CREATE "+p.record.Name)...); err != nil {
		p.release()
		return info, "", clientError(fmt.Errorf("create the room %s: %w", p.record.Name, err))
	}
	info, err = p.opened()
	return info, p.key, err
}

// createFirst creates the first rooms in an empty database, all of them or none: after a crash in
// between the database is still empty.
func (s *Service) createFirst() error {
	empty, err := s.store.Empty()
	if err != nil || !empty || len(s.opts().FirstRooms) == 0 {
		return err
	}
	var reserved []*reservation
	var records []store.Room
	release := func() {
		for _, p := range slices.Backward(reserved) {
			p.release()
		}
	}
	for _, name := range s.opts().FirstRooms {
		p, err := s.reserve(name, Creation{})
		if err != nil {
			release()
			return fmt.Errorf("create the room %s: %w", name, err)
		}
		reserved, records = append(reserved, p), append(records, p.record)
	}
	if _, err := s.store.CreateAll(records, "server.create"); err != nil {
		release()
		return fmt.Errorf("create the first rooms: %w", err)
	}
	s.logQueue.wait()
	return nil
}

// reservation is the name and the port of a room that the store does not have yet, or not any
// more. The store hands it to openRoom.
type reservation struct {
	placeholder *Room // has the name
	ln          *transport.Endpoint
	record      store.Room // of a new room
	key         string
	creator     uint64 // session
	password    *passwd.Password

	room *Room // set by openRoom, before the store answers; nil: the server is stopping
}

// reserve reserves what a new room needs.
func (s *Service) reserve(name string, by Creation) (*reservation, error) {
	n, err := wire.ParseName(name)
	if err != nil {
		return nil, err
	}
	topic := wire.CleanTopic(by.Topic)
	placeholder, err := s.reserveName(n, nil, true)
	if err != nil {
		return nil, err
	}
	var p *passwd.Password
	if by.Password != "" {
		var suspend <-chan struct{}
		if by.Addr != "" { // a request of a client has to wait
			suspend = s.engine.Suspending()
		}
		if p, err = s.newPassword(by.Password, suspend); err != nil {
			s.unregister(placeholder)
			return nil, err
		}
	}
	var ln *transport.Endpoint
	if by.Port != 0 {
		ln, err = s.bindPort(by.Port)
	} else {
		ln, err = s.bindFree(placeholder)
	}
	if err != nil {
		s.unregister(placeholder)
		return nil, err
	}
	secret := make([]byte, 16)
	rand.Read(secret)
	key := hex.EncodeToString(secret)
	keyHash := sha256.Sum256([]byte(key))
	reserved := &reservation{placeholder: placeholder, ln: ln, key: key, creator: by.Session, password: p}
	reserved.record = store.Room{
		Name: n.Shown, Key: n.Key, Port: ln.Port, Created: time.Now().UTC(), Creator: by.Addr, KeyHash: keyHash[:], Password: p.Hash(), Topic: topic, Owner: reserved,
		Provisional: by.Provisional,
	}
	return reserved, nil
}

// release gives the name and the port back.
func (p *reservation) release() {
	s := p.placeholder.svc
	p.ln.Close()
	s.returnPorts(p.ln.Port)
	s.unregister(p.placeholder)
}

// opened returns the room after the store has taken it.
func (p *reservation) opened() (RoomInfo, error) {
	if p.room == nil {
		p.ln.Close()
		return RoomInfo{}, wire.Errorf(wire.CodeShuttingDown, "the server is stopping; the room %s will be there when it is back", p.placeholder.name())
	}
	info, _ := p.room.info()
	return info, nil
}

// Creation says who creates a room, and what it has from the beginning.
type Creation struct {
	Session  uint64 // ID of the master session; 0: none
	Addr     string // of the client; "": the room is not created over the network
	Door     string // of the client, for the audit; "": the master port
	By       string // the operator, if there is no Addr
	Port     int    // 0: the next free one
	Password string // as it was typed; "": none
	Topic    string
	// Provisional says that the room is deleted for good when its last member leaves, as long as
	// nobody has said anything and the operator has not changed it.
	Provisional bool
}

// placeholderRoom returns a room that reserves a name in the map. It never opens and has no ID, so
// it is not found.
func placeholderRoom(s *Service, n wire.Name) *Room {
	return newRoom(s, store.Room{Name: n.Shown, Key: n.Key}, 0)
}

// reserveName puts a placeholder into the map for a new room or, if that is not nil, for renamed,
// which may have the name already. unique says that the name must not look like that of another
// room.
func (s *Service) reserveName(n wire.Name, renamed *Room, unique bool) (placeholder *Room, err error) {
	placeholder = placeholderRoom(s, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	other := s.rooms[n.Key]
	if other != nil && other != renamed {
		if other.currentState() == closing {
			return nil, wire.Errorf(wire.CodeExists, "a room named %s is being deleted; try again in a moment", other.name())
		}
		return nil, wire.Errorf(wire.CodeExists, "a room named %s is already there", other.name())
	}
	if unique {
		if alike := s.confusableRoom(n, renamed); alike != nil {
			return nil, alike.confusableError(n)
		}
	}
	if renamed == nil {
		if s.stopping {
			return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
		}
		if limit := s.opts().MaxRooms; limit > 0 && len(s.rooms) >= limit {
			return nil, wire.Errorf(wire.CodeFull, "the server has %s, which is the limit", plural(len(s.rooms), "room"))
		}
	}
	if other == nil {
		s.rooms[n.Key] = placeholder
	}
	return placeholder, nil
}

// unregister removes a placeholder, or a room that is gone, from the maps.
func (s *Service) unregister(r *Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[r.key()] == r {
		delete(s.rooms, r.key())
	}
	delete(s.draining, r)
}

// hashTimeout is how long a new password may wait in the queue of hashes.
const hashTimeout = 5 * time.Second

// SetPassword gives a room a password, or removes it: "". The members of the room stay. When the
// password is removed, clients that are asked for it are told to connect again.
func (s *Service) SetPassword(name, password string) error {
	r, end, err := s.beginRoomChange(name)
	if err != nil {
		return err
	}
	defer end()
	if strings.ContainsFunc(password, unicode.IsSpace) { // no client could give it
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

// newPassword hashes a password as it was typed. The error is errMustWait if suspend is closed
// before that; nil: it is never closed.
func (s *Service) newPassword(typed string, suspend <-chan struct{}) (*passwd.Password, error) {
	text, err := wire.ParsePassword(wire.CleanString(typed))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.stop, hashTimeout)
	defer cancel()
	p, err := passwd.New(ctx, suspend, text)
	var throttled passwd.Throttled
	switch {
	case s.stop.Err() != nil:
		return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	case ctx.Err() != nil:
		return nil, wire.Errorf(wire.CodeBusy, "%s", passwd.Busy)
	case errors.As(err, &throttled):
		return nil, wire.Errorf(wire.CodeBusy, "%s", throttled)
	case errors.Is(err, passwd.ErrSuspended):
		return nil, errMustWait
	}
	return p, err
}
