package store

import (
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Trash returns the deleted rooms that can be restored, the last deleted first.
// Room.Deleted is when.
func (s *Store) Trash() ([]Room, error) {
	after := s.trashedAfter()
	rooms, err := s.roomsWhere(func(r Room) bool { return !r.Deleted.IsZero() && restorable(r, after) })
	slices.SortFunc(rooms, func(a, b Room) int { return b.Deleted.Compare(a.Deleted) })
	return rooms, err
}

// trashedAfter is when a room must have been deleted, or later, to be restorable now.
func (s *Store) trashedAfter() time.Time { return time.Now().Add(-s.retention.keep().Trash) }

// restorable reports whether a deleted room can come back.
func restorable(r Room, after time.Time) bool { return !r.Purged && r.Deleted.After(after) }

// TrashStat counts the history of a deleted room. ErrNoRoom if there is none
// with that ID.
func (s *Store) TrashStat(id uint64) (st Stat, err error) {
	err = s.file.view(func(tx *bolt.Tx) error {
		if _, err := deletedRoom(tx, id); err != nil {
			return err
		}
		h, err := getHead(tx, id)
		if err == nil {
			st = Stat{Last: h.Last, Lines: h.Lines, Bytes: h.Bytes, Trimmed: h.Trimmed}
		}
		return err
	})
	return st, err
}

func deletedRoom(tx *bolt.Tx, id uint64) (Room, error) {
	v := tx.Bucket(bucketRooms).Get(u64(id))
	if v == nil {
		return Room{}, ErrNoRoom
	}
	r, err := decodeRoom(u64(id), v)
	if err == nil && r.Deleted.IsZero() {
		err = ErrNoRoom
	}
	return r, err
}

// claim gives a room its name and its port, if no other room has them.
func claim(tx *bolt.Tx, r Room) error {
	names, ports := tx.Bucket(bucketNames), tx.Bucket(bucketPorts)
	if owner := names.Get([]byte(r.Key)); owner != nil && string(owner) != string(u64(r.ID)) {
		return fmt.Errorf("the name %q is %w", r.Name, ErrExists)
	}
	if use, ok := decodePort(ports.Get(portKey(r.Port))); ok && use.room != 0 && use.room != r.ID {
		return fmt.Errorf("a room on port %d is %w", r.Port, ErrExists)
	}
	if err := names.Put([]byte(r.Key), u64(r.ID)); err != nil {
		return err
	}
	return ports.Put(portKey(r.Port), portUse{room: r.ID}.encode())
}

// restoreRoom takes a room out of the trash that was deleted after a time.
type restoreRoom struct {
	Room  uint64
	Port  int
	After time.Time
}

// Restore takes a room out of the trash; it is to have that port. It fails with
// ErrNoRoom if the room is not in the trash any more, and with ErrExists if a
// room that is not deleted has its name or the port. When it returns nil the
// room is on disk, with its lines, and its numbers go on.
func (s *Store) Restore(id uint64, port int) (Room, error) {
	o, err := s.change(restoreRoom{id, port, s.trashedAfter()})
	if err != nil {
		return Room{}, err
	}
	return o.rooms[0], nil
}

func (restoreRoom) subject() uint64 { return 0 }

func (c restoreRoom) apply(st state) (o outcome, err error) {
	r, err := deletedRoom(st.tx, c.Room)
	if err != nil {
		return o, err
	}
	if !restorable(r, c.After) {
		return o, ErrNoRoom
	}
	if o.head, err = getHead(st.tx, c.Room); err != nil {
		return o, err
	}
	o.head.own = r.Own
	r.Deleted, r.Port = time.Time{}, c.Port
	o.rooms = []Room{r}
	if err := claim(st.tx, r); err != nil {
		return o, err
	}
	return o, putRoom(st.tx, r)
}

func (c restoreRoom) applied(s *Store, o outcome) {
	s.setHead(c.Room, o.head)
	s.retention.trash.remove(c.Room)
	if o.head.unswept {
		s.retention.addChore(chore{room: c.Room, kind: choreSweep})
	}
}

// purgeDeleted makes a deleted room one that cannot come back.
type purgeDeleted struct{ Room uint64 }

// Purge removes a room from the trash for good. It cannot be restored from now
// on; its lines go in small steps after Purge has returned.
func (s *Store) Purge(id uint64) error {
	_, err := s.change(purgeDeleted{id})
	return err
}

func (purgeDeleted) subject() uint64 { return 0 }

func (c purgeDeleted) apply(st state) (o outcome, err error) {
	r, err := deletedRoom(st.tx, c.Room)
	if err != nil {
		return o, err
	}
	if o.head, err = getHead(st.tx, c.Room); err != nil {
		return o, err
	}
	r.Purged = true
	o.rooms = []Room{r}
	return o, putRoom(st.tx, r)
}

func (c purgeDeleted) applied(s *Store, o outcome) {
	s.retention.trash.remove(c.Room)
	s.retention.trash.purge(trashOf(o.rooms[0], o.head))
	s.retention.planPurge()
}
