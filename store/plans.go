package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Plan is a deletion of a room or a stop of the server that an operator has
// announced. It is kept until it is carried out or cancelled; deleting the room ends
// it too. A plan in a backup is void: nobody was told of it since the restore.
type Plan struct {
	Room      uint64    `json:"-"` // 0: the stop
	Announced time.Time `json:"announced"`
	Due       time.Time `json:"due"`
	Say       string    `json:"say,omitempty"`
	Purge     bool      `json:"purge,omitempty"` // the room does not stay in the trash

	// The operator who has announced it, for the audit.
	UID  int    `json:"uid"`
	User string `json:"user,omitempty"`
	Door string `json:"door,omitempty"`
	Line string `json:"line"`

	Epoch string `json:"epoch"` // of the database; set by SetPlan
}

// setPlan stores the plan for a room, or for the stop (Room 0); nil removes it.
type setPlan struct {
	Room uint64
	Plan *Plan
}

// SetPlan stores a plan, and replaces an earlier one for the same room, or for the
// stop. When it returns nil the plan is on disk. It fails with ErrNoRoom for a room
// that does not exist.
func (s *Store) SetPlan(p Plan) error {
	s.mu.Lock()
	p.Epoch = s.epoch
	s.mu.Unlock()
	_, err := s.change(setPlan{p.Room, &p})
	return err
}

// EndPlan removes the plan for a room, or for the stop (0). It is no error if there
// is no plan, or no such room.
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
		return o, putJSON(meta, keyStop, c.Plan)
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

// Nobody follows plans: the operator's command carries them out.
func (setPlan) notify(*Changes, outcome) {}

// Plans returns the plans that hold, the one that is due first at the front. A
// corrupt plan of the stop is skipped.
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

// stopPlan returns the plan to stop the server, or nil if there is none.
func stopPlan(tx *bolt.Tx) (p *Plan, err error) {
	v := tx.Bucket(bucketMeta).Get(keyStop)
	if v == nil {
		return nil, nil
	}
	if err := decodeJSON(keyStop, v, &p); err != nil {
		return nil, fmt.Errorf("the record of the planned stop: %w", err)
	}
	return p, nil
}
