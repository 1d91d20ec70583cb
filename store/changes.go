package store

import (
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// change is a change that others can see, as data: what it needs of the clock and
// of the configuration is in its fields, which JSON can hold. Applied to the same
// state it does the same, on whatever machine and whenever that is.
type change interface {
	// room is the room that it is about: what was said before is in its record
	// and its head. 0: none.
	room() uint64
	// apply makes the change in a transaction. It reads and writes nothing beside
	// the state; an error rolls back.
	apply(state) (outcome, error)
	// updateMemory brings memory to what is in the database now. It runs on the
	// committer's goroutine after the commit.
	updateMemory(*Store, outcome)
	// notify tells a follower, after applied.
	notify(*Changes, outcome)
}

// state is what changes are applied to: the database, and the counts of its rooms,
// which apply only reads.
type state struct {
	tx    *bolt.Tx
	heads map[uint64]*head
}

// outcome is what a change has done, for its caller and for memory.
type outcome struct {
	rooms  []Room // as they are now
	bans   []Ban
	head   *head // of the room
	erased bool  // nothing of the room is left
}

// change has the committer apply a change after everything queued before. When the
// error is nil it is on disk.
func (s *Store) change(c change) (outcome, error) {
	t := &task{change: c, room: c.room()}
	err := s.do(t)
	return t.outcome, err
}

// Follower is told of everything that others can see, once it is part of the state:
// of lines and of changes, in their order, whoever has submitted them. Its functions
// are called on the committer's goroutine, before the call that made the change
// returns. They must not block, and ask the store for nothing but what is in memory
// (Stat, Identity).
type Follower struct {
	// Lines gets lines, each with its sequence number or with the error that kept it
	// out. It may be nil.
	Lines   func([]*Post)
	Changes *Changes // nil: nobody follows them
}

// Changes are what a Follower is told of changes. None is nil. An owner is what the
// caller has given with the change, in this process; nil: the change has come from
// elsewhere.
type Changes struct {
	// Created gets rooms that were created together (Room.Owner), and the name of
	// their creator, if the request did not come over the network (Room.Creator).
	Created func(rooms []Room, by string)
	// Deleted gets a room that went to the trash, what its members are to be told,
	// and the address of its deleter, if the request came over the network.
	Deleted func(r Room, say, from string)
	// Updated gets a room as it is now, and what was changed of it (Edit.Owner).
	Updated func(Room, Edit)
	// Restored gets a room that is back from the trash, and the number of its newest
	// line.
	Restored func(r Room, last uint64, owner any)
	// Purged gets a room that is gone for good as somebody wanted it.
	Purged func(Room)
	// Banned gets bans and mutes that are in force now, Unbanned the IDs of those that
	// are no longer.
	Banned   func(bans []Ban, owner any)
	Unbanned func(ids []uint64)
}

// createRooms makes rooms, all of them or none.
type createRooms struct {
	Rooms []Room
	By    string // for the follower
	Audit []Audit
}

// Create keeps a new room. When it returns nil the room is on disk. It fails
// with ErrExists if a room that is not deleted has the same key or port. The
// room comes back with its ID. Entries of the audit are kept with it.
func (s *Store) Create(r Room, audit ...Audit) (Room, error) {
	all, err := s.CreateAll([]Room{r}, "", audit...)
	if err != nil {
		return r, err
	}
	return all[0], nil
}

// CreateAll is Create for several rooms: after a crash all of them are there, or
// none. The follower is told by whom.
func (s *Store) CreateAll(rooms []Room, by string, audit ...Audit) ([]Room, error) {
	o, err := s.change(createRooms{rooms, by, audit})
	return o.rooms, err
}

func (createRooms) room() uint64 { return 0 }

func (c createRooms) apply(st state) (o outcome, err error) {
	o.rooms = slices.Clone(c.Rooms)
	for i := range o.rooms {
		if err := createRoom(st.tx, &o.rooms[i]); err != nil {
			return o, err
		}
	}
	return o, putAudit(st.tx, auditKept, c.Audit...)
}

// createRoom writes a room that has no ID yet.
func createRoom(tx *bolt.Tx, r *Room) error {
	id, err := tx.Bucket(bucketRooms).NextSequence()
	if err != nil {
		return err
	}
	r.ID = id
	if err := claim(tx, *r); err != nil {
		return err
	}
	if err := putRoom(tx, *r); err != nil {
		return err
	}
	if err := putHead(tx, id, new(head)); err != nil {
		return err
	}
	_, err = tx.Bucket(bucketLines).CreateBucket(u64(id))
	return err
}

func (c createRooms) updateMemory(s *Store, o outcome) {
	for _, r := range o.rooms {
		s.setHead(r.ID, &head{id: r.ID, settings: r.Settings})
	}
}

func (c createRooms) notify(f *Changes, o outcome) { f.Created(o.rooms, c.By) }

// deleteRoom puts a room into the trash.
type deleteRoom struct {
	Room  uint64
	At    time.Time
	Say   string // for the follower
	Audit []Audit
}

// Delete puts a room into the trash: its name is free, its port rests, its
// lines stay for Options.Trash. Lines submitted after it are refused with
// ErrNoRoom. When it returns nil the deletion is on disk, with the entries of the
// audit. If one of those is of the network, a room that has no line is not kept at
// all. The follower is told what to say to the members. Drained must follow.
func (s *Store) Delete(room uint64, say string, audit ...Audit) error {
	_, err := s.change(deleteRoom{room, time.Now().UTC(), say, audit})
	return err
}

func (c deleteRoom) room() uint64 { return c.Room }

func (c deleteRoom) apply(st state) (o outcome, err error) {
	r, err := getRoom(st.tx, c.Room)
	if err != nil {
		return o, err
	}
	if o.head = st.heads[c.Room]; o.head == nil {
		return o, ErrNoRoom // it is damaged
	}
	_, network := c.from()
	r.Deleted, r.Plan = c.At, nil
	r.Purged = o.head.Lines == 0 && network
	o.rooms = []Room{r}
	err = errors.Join(putRoom(st.tx, r), st.tx.Bucket(bucketNames).Delete([]byte(r.Key)), releasePort(st.tx, r.Port))
	if err == nil && r.Purged {
		_, o.erased, err = purgeRoom(st.tx, c.Room, jobBlocks)
	}
	if err != nil {
		return o, err
	}
	return o, putAudit(st.tx, auditKept, c.Audit...)
}

// from is the address of the client that deletes the room, if it is one.
func (c deleteRoom) from() (addr string, network bool) {
	for _, a := range c.Audit {
		if a.Door == DoorMaster {
			return a.From, true
		}
	}
	return "", false
}

func (c deleteRoom) notify(f *Changes, o outcome) {
	from, _ := c.from()
	f.Deleted(o.rooms[0], c.Say, from)
}

func (c deleteRoom) updateMemory(s *Store, o outcome) {
	gone := newTrashEntry(o.rooms[0], o.head)
	s.setHead(c.Room, nil)
	switch {
	case o.erased:
	case gone.purged:
		s.retention.trash.purge(gone)
		s.retention.schedulePurge()
	default:
		s.retention.trash.draining[c.Room] = gone
	}
}

// Edit is what Update changes of a room. What is nil stays.
type Edit struct {
	Name, Key *string // both, or none
	Port      *int
	Topic     *string
	Settings  *Settings
	Password  *string // its hash; "": none
	Imported  bool    // lines are about to be imported

	Owner any `json:"-"` // handed to the follower
}

type updateRoom struct {
	Room uint64
	Edit Edit
}

// Update changes a room that is not deleted, and returns it as it is then. It
// fails with ErrExists if another room has the new name or port. The old port rests.
func (s *Store) Update(id uint64, e Edit) (Room, error) {
	o, err := s.change(updateRoom{id, e})
	if err != nil {
		return Room{}, err
	}
	return o.rooms[0], nil
}

func (c updateRoom) room() uint64 { return c.Room }

func (c updateRoom) apply(st state) (o outcome, err error) {
	old, err := getRoom(st.tx, c.Room)
	if err != nil {
		return o, err
	}
	r := old
	setIf(&r.Name, c.Edit.Name)
	setIf(&r.Key, c.Edit.Key)
	setIf(&r.Port, c.Edit.Port)
	setIf(&r.Topic, c.Edit.Topic)
	setIf(&r.Settings, c.Edit.Settings)
	setIf(&r.Password, c.Edit.Password)
	if c.Edit.Imported {
		r.Imports++
	}
	if err := claim(st.tx, r); err != nil {
		return o, err
	}
	if r.Key != old.Key {
		if err := st.tx.Bucket(bucketNames).Delete([]byte(old.Key)); err != nil {
			return o, err
		}
	}
	if r.Port != old.Port {
		if err := releasePort(st.tx, old.Port); err != nil {
			return o, err
		}
	}
	o.rooms = []Room{r}
	return o, putRoom(st.tx, r)
}

func (c updateRoom) updateMemory(s *Store, o outcome) { s.applySettings(c.Room, o.rooms[0].Settings) }

func (c updateRoom) notify(f *Changes, o outcome) { f.Updated(o.rooms[0], c.Edit) }

func setIf[T any](to, v *T) {
	if v != nil {
		*to = *v
	}
}
