package netsvc

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"roomd/netsvc/wire"
	"roomd/store"
)

// Create makes a room. When it returns, the room is on disk and listens. by
// tells whom to remember as its creator: the session's number and its address.
// The error is a *wire.Error if it is the caller's fault.
func (s *Service) Create(name string, by Creation) (info RoomInfo, key string, err error) {
	defer s.alter()()
	p, err := s.plan(name, by)
	if err != nil {
		return info, "", err
	}
	kept, err := s.store.Create(p.record, networkAudit(by.Addr, "CREATE "+p.record.Name)...)
	if err != nil {
		p.giveUp()
		return info, "", storeError(fmt.Errorf("create the room %s: %w", p.record.Name, err))
	}
	if !p.room.publish(kept, p.ln) {
		// Stopping: the room is on disk and will be there at the next start.
		return info, "", wire.Errorf(wire.CodeShuttingDown, "the server is stopping; the room %s will be there when it is back", kept.Name)
	}
	s.log.Info("room created", "room", kept.Name, "port", kept.Port, "by", cmp.Or(by.Addr, by.By, "operator"))
	s.hub.publish(Happening{Type: "create", Room: kept.Name, Remote: by.Addr, By: by.By})
	info, _ = p.room.info()
	return info, p.key, nil
}

// createFirst makes the rooms of an empty database, all of them or none: after a
// crash in between the database is empty still.
func (s *Service) createFirst() error {
	first, err := s.store.Virgin()
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
		p, err := s.plan(name, Creation{By: "server.create"})
		if err != nil {
			giveUp()
			return fmt.Errorf("create the room %s: %w", name, err)
		}
		plans, records = append(plans, p), append(records, p.record)
	}
	kept, err := s.store.CreateAll(records)
	if err != nil {
		giveUp()
		return fmt.Errorf("create the first rooms: %w", err)
	}
	for i, p := range plans {
		p.room.publish(kept[i], p.ln)
		s.log.Info("room created", "room", kept[i].Name, "port", kept[i].Port, "by", "server.create")
	}
	return nil
}

// planned is a room that has a name and a port, and is not on disk yet.
type planned struct {
	room   *Room
	ln     *listeners
	record store.Room
	key    string
}

// plan reserves what a new room needs.
func (s *Service) plan(name string, by Creation) (*planned, error) {
	n, err := wire.ParseName(name)
	if err != nil {
		return nil, err
	}
	topic := wire.CleanString(strings.TrimSpace(by.Topic))
	r := newRoom(s, store.Room{Name: n.Shown, Key: n.Key, Creator: by.Addr, Topic: topic}, 0)
	r.creator = by.Session
	if err := s.reserveName(r); err != nil {
		return nil, err
	}
	hash := ""
	if by.Password != "" {
		var still <-chan struct{}
		if by.Addr != "" { // a request is put off
			still = s.still.freezing()
		}
		l, err := s.newPassword(by.Password, still)
		if err != nil {
			s.forget(r)
			return nil, err
		}
		r.lock.Store(l)
		hash = l.hash
	}
	var ln *listeners
	if by.Port != 0 {
		ln, err = s.bindChosen(by.Port)
	} else {
		ln, err = s.bindFree(r)
	}
	if err != nil {
		s.forget(r)
		return nil, err
	}
	secret := make([]byte, 16)
	rand.Read(secret)
	key := hex.EncodeToString(secret)
	keyHash := sha256.Sum256([]byte(key))
	return &planned{r, ln, store.Room{
		Name: n.Shown, Key: n.Key, Port: ln.port, Created: time.Now().UTC(), Creator: by.Addr, KeyHash: keyHash[:], Password: hash, Topic: topic,
	}, key}, nil
}

// giveUp gives back what plan has reserved.
func (p *planned) giveUp() {
	s := p.room.svc
	p.ln.close()
	s.mu.Lock()
	s.ports.putBack(p.ln.port)
	s.mu.Unlock()
	s.forget(p.room)
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

// reserveName puts an opening room into the map.
func (s *Service) reserveName(r *Room) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.rooms[r.key()]; old != nil {
		switch st := old.currentState(); st {
		case closing:
			return wire.Errorf(wire.CodeExists, "a room named %s is just being deleted; try again in a moment", old.name())
		default:
			return wire.Errorf(wire.CodeExists, "a room named %s is already there", old.name())
		}
	}
	if s.stopping {
		return wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
	}
	if most := s.opts().Rooms; most > 0 && len(s.rooms) >= most {
		return wire.Errorf(wire.CodeFull, "the server has %s, which is the limit", counted(len(s.rooms), "room"))
	}
	s.rooms[r.key()] = r
	return nil
}

// forget takes a room that was never published out of the map.
func (s *Service) forget(r *Room) {
	s.mu.Lock()
	delete(s.rooms, r.key())
	s.mu.Unlock()
}
