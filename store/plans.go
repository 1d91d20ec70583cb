package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Plan is what an operator has announced: the deletion of a room, or the stop of the
// server. It is kept until it is carried out or called off; whoever deletes the room
// ends it too. It does not hold for a database that was a backup: what was announced
// then is not announced now.
type Plan struct {
	Room      uint64    `json:"-"` // 0: the stop
	Announced time.Time `json:"announced"`
	Due       time.Time `json:"due"`
	Say       string    `json:"say,omitempty"`
	Purge     bool      `json:"purge,omitempty"` // the room does not stay in the trash

	// The operator that has announced it, for the audit.
	UID  int    `json:"uid"`
	User string `json:"user,omitempty"`
	Door string `json:"door,omitempty"`
	Line string `json:"line"`

	Epoch string `json:"epoch"` // of the database; set by SetPlan
}

// keyStop is where the plan of the stop is; that of a room is in its record.
var keyStop = []byte("stop")

// setPlan keeps the plan of a room, or of the stop: 0; nil removes it.
type setPlan struct {
	Room uint64
	Plan *Plan
}

// SetPlan keeps a plan instead of the one that there may be for the same room, or
// for the stop: when it returns nil it is on disk. It fails with ErrNoRoom for a room
// that is not there.
func (s *Store) SetPlan(p Plan) error {
	s.mu.Lock()
	p.Epoch = s.epoch
	s.mu.Unlock()
	_, err := s.change(setPlan{p.Room, &p})
	return err
}

// EndPlan removes the plan of a room, or of the stop: 0. It is no error if there is
// none, or no such room.
func (s *Store) EndPlan(room uint64) error {
	_, err := s.change(setPlan{room, nil})
	return err
}

func (c setPlan) room() uint64 { return c.Room }

func (c setPlan) apply(st state) (o outcome, err error) {
	meta := st.tx.Bucket(bucketMeta)
	switch {
	case c.Room == 0 && c.Plan == nil:
		return o, meta.Delete(keyStop)
	case c.Room == 0:
		v, err := json.Marshal(c.Plan)
		if err != nil {
			return o, err
		}
		return o, meta.Put(keyStop, seal(keyStop, v))
	}
	r, err := getRoom(st.tx, c.Room)
	switch {
	case c.Plan == nil && (err == nil && r.Plan == nil || errors.Is(err, ErrNoRoom)):
		return o, nil
	case err != nil:
		return o, err
	}
	r.Plan = c.Plan
	return o, putRoom(st.tx, r)
}

func (setPlan) updateMemory(*Store, outcome) {}

// Nobody but who plans follows that.
func (setPlan) notify(*Changes, outcome) {}

// Plans are those that hold, the first to be due first. A plan of the stop that is
// damaged is left out.
func (s *Store) Plans() (plans []Plan, err error) {
	rooms, err := s.roomsWhere(func(r Room) bool { return r.Deleted.IsZero() && r.Plan != nil })
	if err != nil {
		return nil, err
	}
	for _, r := range rooms {
		p := *r.Plan
		p.Room = r.ID
		plans = append(plans, p)
	}
	err = s.file.view(func(tx *bolt.Tx) error {
		p, err := stopPlan(tx)
		switch {
		case err != nil:
			s.countRecord(bucketMeta, keyStop)
		case p != nil:
			plans = append(plans, *p)
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	plans = slices.DeleteFunc(plans, func(p Plan) bool { return p.Epoch != s.epoch })
	slices.SortFunc(plans, func(a, b Plan) int { return a.Due.Compare(b.Due) })
	return plans, err
}

// stopPlan is the plan of the stop; nil: there is none.
func stopPlan(tx *bolt.Tx) (p *Plan, err error) {
	v := tx.Bucket(bucketMeta).Get(keyStop)
	if v == nil {
		return nil, nil
	}
	if v, err = unseal(keyStop, v); err == nil {
		err = json.Unmarshal(v, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("the record of the planned stop: %w", err)
	}
	return p, nil
}
