package store

import (
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// change is a change that others can see, as data: what it needs of the clock and
// of the configuration is in its fields, which JSON can hold. Applied to the same
// state it has the same outcome, on every machine and at every time.
type change interface {
	// room returns the room whose newest lines apply needs in the database: they are
	// written in the same transaction, before it. 0: none.
	room() uint64
	// apply makes the change in a transaction. It reads and writes nothing but the
	// state; an error rolls back.
	apply(state) (outcome, error)
	// updateMemory makes memory agree with the database. It runs on the committer's
	// goroutine after the commit.
	updateMemory(*Store, outcome)
	// notify tells a follower, after updateMemory.
	notify(*Changes, outcome)
}

// state is the input of a change: the database, and the counts of its rooms, which
// apply only reads.
type state struct {
	tx    *bolt.Tx
	heads map[uint64]*head
}

// outcome is the result of a change, for its caller and for memory.
type outcome struct {
	rooms  []Room // after the change
	bans   []Ban
	head   *head // of the room
	erased bool  // nothing of the room is in the database any more
}

// change has the committer apply a change after everything queued before. When the
// error is nil the change is on disk.
func (s *Store) change(c change) (outcome, error) {
	t := &task{change: c, room: c.room()}
	err := s.do(t)
	return t.outcome, err
}

// Follower is told of every line and every change, in their order, once they are
// part of the state. Its functions are called on the committer's goroutine, before the
// call that made the change returns. They must not block, and may call only those
// methods of the store that read memory (Stat, Identity).
type Follower struct {
	// Lines gets lines, each with its sequence number or with the error for which it
	// was refused. It may be nil.
	Lines   func([]*Post)
	Changes *Changes // nil: nobody follows changes
}

// Changes are the functions that a Follower has for changes. None is nil. An owner is
// the value that the caller in this process has passed with the change; nil: the
// change has come from elsewhere.
type Changes struct {
	// Created gets rooms that were created together (Room.Owner), and the name of
	// their creator, if the request did not come over the network (Room.Creator).
	Created func(rooms []Room, by string)
	// Deleted gets a room that went to the trash, the message for its members, and
	// the address of its deleter, if the request came over the network.
	Deleted func(r Room, say, from string)
	// Updated gets a room after a change, and the change (Edit.Owner).
	Updated func(Room, Edit)
	// Restored gets a room that was taken out of the trash, and the sequence number
	// of its newest line.
	Restored func(r Room, last uint64, owner any)
	// Purged gets a room that an operator has removed for good.
	Purged func(Room)
	// Banned gets new bans and mutes, Unbanned the IDs of those that were removed.
	Banned   func(bans []Ban, owner any)
	Unbanned func(ids []uint64)
}

// createRooms creates rooms, all of them or none.
type createRooms struct {
	Rooms []Room
	By    string // for the follower
	Audit []Audit
}

// Create creates a room and returns it with its ID. When the error is nil the room
// is on disk, with the entries of the audit. It fails with ErrExists if a room that
// is not deleted has the same key or port.
func (s *Store) Create(r Room, audit ...Audit) (Room, error) {
	all, err := s.CreateAll([]Room{r}, "", audit...)
	if err != nil {
		return r, err
	}
	return all[0], nil
}

// CreateAll is Create for several rooms: after a crash all of them exist, or none. by
// is for the follower.
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

// createRoom gives a room its ID, and writes its records.
func createRoom(tx *bolt.Tx, r *Room) error {
	id, err := tx.Bucket(bucketRooms).NextSequence()
	if err != nil {
		return err
	}
	r.ID = id
	if r.Provisional {
		_, r.PortReused = decodePort(tx.Bucket(bucketPorts).Get(portKey(r.Port)))
	}
	if err := claim(tx, *r); err != nil {
		return err
	}
	_, err = tx.Bucket(bucketLines).CreateBucket(u64(id))
	return errors.Join(err, putRoom(tx, *r), putHead(tx, id, new(head)))
}

func (c createRooms) updateMemory(s *Store, o outcome) {
	for _, r := range o.rooms {
		s.setHead(r.ID, &head{id: r.ID, settings: r.Settings})
	}
}

func (c createRooms) notify(f *Changes, o outcome) { f.Created(o.rooms, c.By) }

// deleteRoom puts a room into the trash.
type deleteRoom struct {
	Room   uint64
	At     time.Time
	Say    string // for the follower
	Unused bool   // only a provisional room without a line, which leaves nothing behind
	Audit  []Audit
}

// Delete puts a room into the trash: its name is free, its port is released, its
// lines stay for Retention.Trash. Lines submitted after it are refused with
// ErrNoRoom. When it returns nil the deletion is on disk, with the entries of the
// audit. If one of those is of the network, a room without lines is removed at once.
// say is for the follower, who must call ReleaseDeleted.
func (s *Store) Delete(room uint64, say string, audit ...Audit) error {
	_, err := s.change(deleteRoom{Room: room, At: time.Now().UTC(), Say: say, Audit: audit})
	return err
}

// DeleteUnused removes a provisional room for good, and its port is as it was before the room. It
// fails with ErrUsed if the room is not provisional or has had a line: those submitted before count.
func (s *Store) DeleteUnused(room uint64, audit ...Audit) error {
	_, err := s.change(deleteRoom{Room: room, At: time.Now().UTC(), Unused: true, Audit: audit})
	return err
}

func (c deleteRoom) room() uint64 { return c.Room }

func (c deleteRoom) apply(st state) (o outcome, err error) {
	r, err := getRoom(st.tx, c.Room)
	if err != nil {
		return o, err
	}
	if o.head = st.heads[c.Room]; o.head == nil {
		return o, ErrNoRoom // its records are corrupt
	}
	if c.Unused && !(r.Provisional && o.head.Last == 0) {
		return o, ErrUsed
	}
	_, network := c.from()
	r.Deleted, r.Plan, r.Provisional = c.At, nil, c.Unused
	r.Purged = c.Unused || o.head.Lines == 0 && network
	o.rooms = []Room{r}
	err = errors.Join(putRoom(st.tx, r), st.tx.Bucket(bucketNames).Delete([]byte(r.Key)))
	if err == nil && r.WasPortNew() {
		err = st.tx.Bucket(bucketPorts).Delete(portKey(r.Port))
	} else if err == nil {
		err = releasePort(st.tx, r.Port)
	}
	if err == nil && r.Purged {
		_, o.erased, err = purgeRoom(st.tx, c.Room, jobBlocks)
	}
	if err != nil {
		return o, err
	}
	return o, putAudit(st.tx, auditKept, c.Audit...)
}

// from returns the address of the client that deletes the room, if the request came
// over the network.
func (c deleteRoom) from() (addr string, network bool) {
	for _, a := range c.Audit {
		if a.isNetwork() {
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

// Edit is a change of a room's record. Fields that are nil stay as they are.
type Edit struct {
	Name, Key *string // both, or none
	Port      *int
	Topic     *string
	Settings  *Settings
	Password  *string // its hash; "": none
	Imported  bool    // lines are about to be imported

	Owner any `json:"-"` // passed on to the follower
}

type updateRoom struct {
	Room uint64
	Edit Edit
}

// Update changes a room that is not deleted, and returns the changed room. It fails
// with ErrExists if another room has the new name or port. The old port is released.
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
	r.Provisional, r.PortReused = false, false
	err = claim(st.tx, r)
	if err == nil && c.Edit.Imported {
		r.Imports++
		err = removePositions(st.tx, c.Room) // lines come before them
	}
	if err == nil && r.Key != old.Key {
		err = st.tx.Bucket(bucketNames).Delete([]byte(old.Key))
	}
	if err == nil && r.Port != old.Port {
		err = releasePort(st.tx, old.Port)
	}
	if err != nil {
		return o, err
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
