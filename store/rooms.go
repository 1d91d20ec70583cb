package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Room is the record of a room: everything but its lines.
type Room struct {
	ID       uint64    `json:"-"`
	Name     string    `json:"name"` // as it is shown
	Key      string    `json:"key"`  // folded; unique among rooms not deleted
	Port     int       `json:"port"`
	Created  time.Time `json:"created"`
	Creator  string    `json:"creator,omitempty"`  // the address it was created from
	KeyHash  []byte    `json:"key_hash,omitempty"` // SHA-256 of the delete key
	Topic    string    `json:"topic,omitempty"`
	Deleted  time.Time `json:"deleted,omitzero"` // when it went to the trash
	Purged   bool      `json:"purged,omitempty"` // it cannot be restored
	Settings Settings  `json:"own,omitzero"`
	// Password is the hash of the password that members need; "": none.
	Password string `json:"password,omitempty"`
	// Imports counts the imports of lines into the room.
	Imports uint64 `json:"imports,omitempty"`
	// Plan is the announced deletion, see Plans; nil: none.
	Plan *Plan `json:"plan,omitempty"`
	// Provisional says that DeleteUnused removes the room as long as it has had no line. Every
	// Update ends that, and so does the trash.
	Provisional bool `json:"provisional,omitempty"`
	// PortReused says of a provisional room that another one had its port before.
	PortReused bool `json:"port_reused,omitempty"`
	// Owner is passed on to the follower with a room that is created.
	Owner any `json:"-"`
}

// WasPortNew reports of a room that DeleteUnused has removed whether no room had its port before.
func (r *Room) WasPortNew() bool { return r.Provisional && !r.PortReused }

// Settings are a room's own settings. For a nil field the configuration holds.
type Settings struct {
	Members  *int           `json:"members,omitempty"` // at most
	Replay   *int           `json:"replay,omitempty"`  // earlier lines that a new member is shown
	Quiet    *int           `json:"quiet,omitempty"`   // members; above it nobody is told of single joins and leaves
	Lines    *uint64        `json:"lines,omitempty"`   // kept, instead of Retention.Lines
	Age      *time.Duration `json:"age,omitempty"`     // of the oldest line kept, instead of Retention.Age
	ReadOnly bool           `json:"read_only,omitempty"`
}

// Stat counts a room's history.
type Stat struct {
	Last    uint64 // the newest sequence number that is delivered; 0: none yet
	Lines   uint64
	Bytes   uint64
	Removed uint64 // the newest sequence number that retention has removed
}

// Rooms returns the rooms that are not deleted, by folded name. Rooms with corrupt
// records are skipped (SkippedRecords).
func (s *Store) Rooms() ([]Room, error) {
	// Before the file is read: a topic that a checkpoint moves meanwhile is found in
	// both places, and not in none.
	topics := make(map[uint64]string)
	s.mu.Lock()
	for id, h := range s.heads {
		if h.topic != nil {
			topics[id] = *h.topic
		}
	}
	s.mu.Unlock()
	rooms, err := s.roomsWhere(func(r Room) bool { return r.Deleted.IsZero() })
	for i := range rooms {
		if topic, ok := topics[rooms[i].ID]; ok {
			rooms[i].Topic = topic
		}
	}
	slices.SortFunc(rooms, func(a, b Room) int { return strings.Compare(a.Key, b.Key) })
	return rooms, err
}

// roomsWhere returns the rooms for which want returns true, deleted ones too. It
// skips corrupt records.
func (s *Store) roomsWhere(want func(Room) bool) ([]Room, error) {
	var rooms []Room
	err := s.file.view(func(tx *bolt.Tx) error {
		for k, v := range records(tx.Bucket(bucketRooms)) {
			r, err := decodeRoom(k, v)
			switch {
			case err != nil:
				s.countRecord(bucketRooms, k)
			case !s.corruption.skipped.Load().has(bucketRooms, k) && want(r):
				rooms = append(rooms, r)
			}
		}
		return nil
	})
	return rooms, err
}

// Empty reports whether no room was ever created in this database.
func (s *Store) Empty() (bool, error) {
	empty := false
	err := s.file.view(func(tx *bolt.Tx) error {
		empty = tx.Bucket(bucketRooms).Sequence() == 0
		return nil
	})
	return empty, err
}

// Stat returns the counts of a room, including lines not yet on disk.
func (s *Store) Stat(room uint64) (Stat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.heads[room]
	if !ok {
		return Stat{}, ErrNoRoom
	}
	return h.Stat, nil
}

// ReleasedPorts returns the ports that rooms have released, in the order of their
// release.
func (s *Store) ReleasedPorts() ([]int, error) {
	type released struct {
		port  int
		order uint64
	}
	var all []released
	err := s.file.view(func(tx *bolt.Tx) error {
		for k, v := range records(tx.Bucket(bucketPorts)) {
			if use, ok := decodePort(v); ok && use.room == 0 && len(k) == 2 {
				all = append(all, released{int(binary.BigEndian.Uint16(k)), use.released})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b released) int { return cmp.Compare(a.order, b.order) })
	ports := make([]int, len(all))
	for i, r := range all {
		ports[i] = r.port
	}
	return ports, err
}

// portUse is the value of a port: the room that uses it, or its place in the
// order of releases. It is an order and not a time because clocks jump.
type portUse struct{ room, released uint64 }

func (u portUse) encode() []byte { return append(u64(u.room), u64(u.released)...) }

func decodePort(b []byte) (portUse, bool) {
	if len(b) != 16 {
		return portUse{}, false
	}
	return portUse{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, true
}

func portKey(port int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(port)) }

func releasePort(tx *bolt.Tx, port int) error {
	b := tx.Bucket(bucketPorts)
	order, err := b.NextSequence()
	if err != nil {
		return err
	}
	return b.Put(portKey(port), portUse{released: order}.encode())
}

func putRoom(tx *bolt.Tx, r Room) error { return putJSON(tx.Bucket(bucketRooms), u64(r.ID), r) }

// getRoom returns a room that is not deleted.
func getRoom(tx *bolt.Tx, id uint64) (Room, error) { return findRoom(tx, id, false) }

// deletedRoom returns a room that is deleted.
func deletedRoom(tx *bolt.Tx, id uint64) (Room, error) { return findRoom(tx, id, true) }

func findRoom(tx *bolt.Tx, id uint64, deleted bool) (Room, error) {
	v := tx.Bucket(bucketRooms).Get(u64(id))
	if v == nil {
		return Room{}, ErrNoRoom
	}
	r, err := decodeRoom(u64(id), v)
	if err == nil && r.Deleted.IsZero() == deleted {
		err = ErrNoRoom
	}
	return r, err
}

func decodeRoom(k, v []byte) (r Room, err error) {
	if err = decodeJSON(k, v, &r); err != nil {
		return r, fmt.Errorf("the record of room %d: %w", seqOf(k), err)
	}
	r.ID = seqOf(k)
	return r, nil
}
