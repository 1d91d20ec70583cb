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
	now := time.Now()
	rooms, err := s.roomsWhere(func(r Room) bool { return s.restorable(r, now) })
	slices.SortFunc(rooms, func(a, b Room) int { return b.Deleted.Compare(a.Deleted) })
	return rooms, err
}

func (s *Store) restorable(r Room, now time.Time) bool {
	return !r.Deleted.IsZero() && !r.Purged && now.Before(r.Deleted.Add(s.retention.keep().Trash))
}

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

// Restore takes a room out of the trash; it is to have that port. It fails with
// ErrNoRoom if the room is not in the trash any more, and with ErrExists if a
// room that is not deleted has its name or the port. When it returns nil the
// room is on disk, with its lines, and its numbers go on.
func (s *Store) Restore(id uint64, port int) (r Room, err error) {
	var h *head
	err = s.update(func(tx *bolt.Tx) error {
		if r, err = deletedRoom(tx, id); err != nil {
			return err
		}
		if !s.restorable(r, time.Now()) {
			return ErrNoRoom
		}
		if h, err = getHead(tx, id); err != nil {
			return err
		}
		h.own = r.Own
		r.Deleted, r.Port = time.Time{}, port
		if err := claim(tx, r); err != nil {
			return err
		}
		return putRoom(tx, r)
	}, func() {
		s.setHead(id, h)
		s.retention.trash.remove(id)
		if h.unswept {
			s.retention.addChore(chore{room: id, kind: choreSweep})
		}
	})
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

// Purge removes a room from the trash for good. It cannot be restored from now
// on; its lines go in small steps after Purge has returned.
func (s *Store) Purge(id uint64) error {
	var gone trashed
	return s.update(func(tx *bolt.Tx) error {
		r, err := deletedRoom(tx, id)
		if err != nil {
			return err
		}
		h, err := getHead(tx, id)
		if err != nil {
			return err
		}
		r.Purged = true
		gone = trashOf(r, h)
		return putRoom(tx, r)
	}, func() {
		s.retention.trash.remove(id)
		s.retention.trash.purge(gone)
		s.retention.planPurge()
	})
}

// Update changes a room that is not deleted. fn may change its name with its
// key, its port, its topic, its own settings, its password and Imports; what else
// it changes is not kept. It fails with ErrExists if another room has the new name or port. The
// old port rests.
func (s *Store) Update(id uint64, fn func(*Room)) (r Room, err error) {
	err = s.updateRoom(id, func(tx *bolt.Tx) error {
		old, err := getRoom(tx, id)
		if err != nil {
			return err
		}
		want := old
		fn(&want)
		r = old
		r.Name, r.Key, r.Port, r.Topic, r.Own, r.Password, r.Imports = want.Name, want.Key, want.Port, want.Topic, want.Own, want.Password, want.Imports
		if err := claim(tx, r); err != nil {
			return err
		}
		if r.Key != old.Key {
			if err := tx.Bucket(bucketNames).Delete([]byte(old.Key)); err != nil {
				return err
			}
		}
		if r.Port != old.Port {
			if err := releasePort(tx, old.Port); err != nil {
				return err
			}
		}
		return putRoom(tx, r)
	}, func() { s.retain(id, r.Own) })
	return r, err
}
