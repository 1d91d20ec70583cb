package netsvc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"roomd/netsvc/passwd"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Create makes a room. When it returns, the room is on disk and listens. by
// tells whom to remember as its creator: the session's number and its address.
// The error is a *wire.Error if it is the caller's fault.
func (s *Service) Create(name string, by Creation) (info RoomInfo, key string, err error) {
	end, err := s.alterOrRefuse()
	if err != nil {
		return info, "", err
	}
	defer end()
	p, err := s.plan(name, by)
	if err != nil {
		return info, "", err
	}
	if _, err := s.store.CreateAll([]store.Room{p.record}, by.By, networkAudit(by.Addr, "CREATE "+p.record.Name)...); err != nil {
		p.giveUp()
		return info, "", storeError(fmt.Errorf("create the room %s: %w", p.record.Name, err))
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
	if err != nil || !first || len(s.opts().First) == 0 {
		return err
	}
	var plans []*planned
	var records []store.Room
	giveUp := func() {
		for _, p := range slices.Backward(plans) {
			p.giveUp()
		}
	}
	for _, name := range s.opts().First {
		p, err := s.plan(name, Creation{})
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
	s.notes.complete()
	return nil
}

// planned is a room that has a name and a port, and is not in the store yet, or not
// any more. The store hands it to appear.
type planned struct {
	stand    *Room // has the name
	ln       *transport.Endpoint
	record   store.Room // of a new room
	key      string
	creator  uint64 // session
	password *passwd.Password

	room *Room // set by appear, before the store answers; nil: the server stops
}

// plan reserves what a new room needs.
func (s *Service) plan(name string, by Creation) (*planned, error) {
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
			s.forget(stand)
			return nil, err
		}
	}
	var ln *transport.Endpoint
	if by.Port != 0 {
		ln, err = s.bindChosen(by.Port)
	} else {
		ln, err = s.bindFree(stand)
	}
	if err != nil {
		s.forget(stand)
		return nil, err
	}
	secret := make([]byte, 16)
	rand.Read(secret)
	key := hex.EncodeToString(secret)
	keyHash := sha256.Sum256([]byte(key))
	made := &planned{stand: stand, ln: ln, key: key, creator: by.Session, password: p}
	made.record = store.Room{
		Name: n.Shown, Key: n.Key, Port: ln.Port, Created: time.Now().UTC(), Creator: by.Addr, KeyHash: keyHash[:], Password: p.Hash(), Topic: topic, Owner: made,
	}
	return made, nil
}

// giveUp gives back what plan has reserved.
func (p *planned) giveUp() {
	s := p.stand.svc
	p.ln.Close()
	s.putBack(p.ln.Port)
	s.forget(p.stand)
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

// standFor is a room that stands in the map for one that is not on disk yet, to
// reserve its name. It never opens, and has no ID: nobody finds it.
func standFor(s *Service, n wire.Name) *Room {
	return newRoom(s, store.Room{Name: n.Shown, Key: n.Key}, 0)
}

// reserveName puts a room that stands for another one into the map. A new name must
// not look like another one's; one that was there before may.
func (s *Service) reserveName(n wire.Name, fresh bool) (stand *Room, err error) {
	stand = standFor(s, n)
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
	if most := s.opts().Rooms; most > 0 && len(s.rooms) >= most {
		return nil, wire.Errorf(wire.CodeFull, "the server has %s, which is the limit", counted(len(s.rooms), "room"))
	}
	s.rooms[n.Key] = stand
	return stand, nil
}

// forget takes a room out of the maps that stands for another one, or is gone.
func (s *Service) forget(r *Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[r.key()] == r {
		delete(s.rooms, r.key())
	}
	delete(s.draining, r)
}
