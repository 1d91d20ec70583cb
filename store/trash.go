package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Trash returns the deleted rooms that can be restored, the last deleted first
// (Room.Deleted).
func (s *Store) Trash() ([]Room, error) {
	after := s.trashedAfter()
	rooms, err := s.roomsWhere(func(r Room) bool { return !r.Deleted.IsZero() && restorable(r, after) })
	slices.SortFunc(rooms, func(a, b Room) int { return b.Deleted.Compare(a.Deleted) })
	return rooms, err
}

// trashedAfter returns the time after which a room must have been deleted to be
// restorable now.
func (s *Store) trashedAfter() time.Time { return time.Now().Add(-s.retention.current().Trash) }

// restorable reports whether a deleted room can be restored.
func restorable(r Room, after time.Time) bool { return !r.Purged && r.Deleted.After(after) }

// TrashStat returns the counts of a deleted room. It fails with ErrNoRoom if there is
// no deleted room with that ID.
func (s *Store) TrashStat(id uint64) (st Stat, err error) {
	err = s.file.view(func(tx *bolt.Tx) error {
		if _, err := deletedRoom(tx, id); err != nil {
			return err
		}
		h, err := getHead(tx, id)
		if err == nil {
			st = h.Stat
		}
		return err
	})
	return st, err
}

// claim gives a room its name and its port, or fails with ErrExists if another room
// has them.
func claim(tx *bolt.Tx, r Room) error {
	names, ports := tx.Bucket(bucketNames), tx.Bucket(bucketPorts)
	if owner := names.Get([]byte(r.Key)); owner != nil && string(owner) != string(u64(r.ID)) {
		return fmt.Errorf("the name %q is %w", r.Name, ErrExists)
	}
	if use, ok := decodePort(ports.Get(portKey(r.Port))); ok && use.room != 0 && use.room != r.ID {
		return fmt.Errorf("the port %d is %w", r.Port, ErrExists)
	}
	return errors.Join(names.Put([]byte(r.Key), u64(r.ID)), ports.Put(portKey(r.Port), portUse{room: r.ID}.encode()))
}

// restoreRoom takes a room out of the trash if it was deleted later than After.
type restoreRoom struct {
	Room  uint64
	Port  int
	After time.Time

	owner any
}

// Restore takes a room out of the trash and gives it a port. It fails with ErrNoRoom
// if the room is not in the trash any more, and with ErrExists if a room that is not
// deleted has its name or the port. When the error is nil the room is on disk, with
// its lines, and its sequence numbers go on. The follower gets owner.
func (s *Store) Restore(id uint64, port int, owner any) (Room, error) {
	o, err := s.change(restoreRoom{id, port, s.trashedAfter(), owner})
	if err != nil {
		return Room{}, err
	}
	return o.rooms[0], nil
}

func (restoreRoom) room() uint64 { return 0 }

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
	o.head.settings = r.Settings
	r.Deleted, r.Port = time.Time{}, c.Port
	o.rooms = []Room{r}
	if err := claim(st.tx, r); err != nil {
		return o, err
	}
	return o, putRoom(st.tx, r)
}

func (c restoreRoom) updateMemory(s *Store, o outcome) {
	s.setHead(c.Room, o.head)
	s.retention.trash.remove(c.Room)
	if o.head.unreclaimed {
		s.retention.addJob(job{room: c.Room, kind: jobReclaim})
	}
}

func (c restoreRoom) notify(f *Changes, o outcome) { f.Restored(o.rooms[0], o.head.Last, c.owner) }

// purgeDeleted makes a deleted room one that cannot be restored.
type purgeDeleted struct{ Room uint64 }

// Purge removes a room from the trash for good. The room cannot be restored from now
// on; its lines are removed in small steps after Purge has returned.
func (s *Store) Purge(id uint64) error {
	_, err := s.change(purgeDeleted{id})
	return err
}

func (purgeDeleted) room() uint64 { return 0 }

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

func (c purgeDeleted) updateMemory(s *Store, o outcome) {
	s.retention.trash.remove(c.Room)
	s.retention.trash.purge(newTrashEntry(o.rooms[0], o.head))
	s.retention.schedulePurge()
}

func (purgeDeleted) notify(f *Changes, o outcome) { f.Purged(o.rooms[0]) }

// trashRoomBytes is the weight of a deleted room in the trash, without its lines.
const trashRoomBytes = 1 << 10

// trash has in memory what retention needs to know of deleted rooms.
//
// Owned by the committer.
type trash struct {
	kept     []trashEntry          // rooms that can be restored, the one that was deleted first at the front
	bytes    uint64                // of kept
	draining map[uint64]trashEntry // deleted rooms whose lines members may still read
	purged   []trashEntry          // rooms to be removed, in this order
}

// trashEntry is a deleted room.
type trashEntry struct {
	id     uint64
	at     int64 // when it was deleted, in microseconds since 1970
	bytes  uint64
	purged bool // it cannot be restored
}

func newTrashEntry(r Room, h *head) trashEntry {
	return trashEntry{id: r.ID, at: r.Deleted.UnixMicro(), bytes: h.Bytes + trashRoomBytes, purged: r.Purged}
}

// load replaces the rooms with those of a file, but for rooms that are draining.
func (t *trash) load(all []trashEntry) {
	t.kept, t.bytes, t.purged = nil, 0, nil
	for _, r := range all {
		switch _, draining := t.draining[r.id]; {
		case r.purged:
			t.purge(r)
		case !draining:
			t.kept = append(t.kept, r)
			t.bytes += r.bytes
		}
	}
	slices.SortFunc(t.kept, trashEntry.compare)
}

func (r trashEntry) compare(o trashEntry) int {
	return cmp.Or(cmp.Compare(r.at, o.at), cmp.Compare(r.id, o.id))
}

// nonEmpty reports whether there is a room that may get too old, or is to be removed.
func (t *trash) nonEmpty() bool { return len(t.kept)+len(t.draining)+len(t.purged) > 0 }

// add keeps a room, until it is too old or there is no space.
func (t *trash) add(r trashEntry) {
	i, _ := slices.BinarySearchFunc(t.kept, r, trashEntry.compare) // a clock may have been set back
	t.kept = slices.Insert(t.kept, i, r)
	t.bytes += r.bytes
}

// purge has the committer remove a room.
func (t *trash) purge(r trashEntry) { t.purged = append(t.purged, r) }

// expire purges the rooms that were deleted at a time or earlier, in microseconds.
func (t *trash) expire(before int64) {
	for len(t.kept) > 0 && t.kept[0].at <= before {
		t.purgeOldest()
	}
}

// purgeOldest purges the room that was deleted first.
func (t *trash) purgeOldest() {
	t.bytes -= t.kept[0].bytes
	t.purge(t.kept[0])
	t.kept = t.kept[1:]
}

// remove forgets a room.
func (t *trash) remove(id uint64) {
	delete(t.draining, id)
	is := func(r trashEntry) bool { return r.id == id }
	if i := slices.IndexFunc(t.kept, is); i >= 0 {
		t.bytes -= t.kept[i].bytes
		t.kept = slices.Delete(t.kept, i, i+1)
	}
	t.purged = slices.DeleteFunc(t.purged, is)
}

// ReleaseDeleted tells the store that nobody reads the lines of a deleted room any
// more. Until then they are not removed.
func (s *Store) ReleaseDeleted(room uint64) error {
	return s.OnCommitter(func() {
		if r, ok := s.retention.trash.draining[room]; ok {
			delete(s.retention.trash.draining, room)
			s.retention.trash.add(r)
			s.retention.schedulePurge()
		}
	})
}

// schedulePurge purges rooms while the trash exceeds its limits, those that were
// deleted first before the others.
func (r *retention) schedulePurge() {
	t, most := &r.trash, r.current().TrashBytes
	early := 0
	for ; len(t.kept) > r.opts.TrashRooms || most > 0 && t.bytes > most; early++ {
		t.purgeOldest()
	}
	if early > 0 {
		r.opts.Events.Evicted(early)
	}
	r.mayExpire = r.mayExpire || t.nonEmpty()
	if len(t.purged) > 0 {
		r.addJob(job{kind: jobPurge})
	}
}

// purgeStep removes deleted rooms, or some of the lines of the first one. Rooms with
// corrupt records stay as they are.
func (s *Store) purgeStep() (more bool, err error) {
	t, gone := &s.retention.trash, 0
	if len(t.purged) == 0 {
		return false, nil
	}
	err = s.transact(func(tx *bolt.Tx) error {
		for left := jobBlocks; left > 0 && gone < len(t.purged); {
			id := t.purged[gone].id
			n, done, err := purgeRoom(tx, id, left)
			if errors.Is(err, errCorruptRecord) {
				s.countRecord(bucketRooms, u64(id))
				n, done, err = 0, true, nil
			}
			if err != nil {
				return err
			}
			if left -= n + 1; done {
				gone++
			}
		}
		return nil
	})
	if err == nil {
		t.purged = t.purged[gone:]
	}
	return len(t.purged) > 0, err
}

// purgeRoom removes a deleted room with its lines, at most so many blocks of them. It
// returns the number of these blocks. If there are more blocks, done is false, and the
// room cannot be restored any more.
func purgeRoom(tx *bolt.Tx, room uint64, most int) (n int, done bool, err error) {
	r, err := deletedRoom(tx, room)
	if errors.Is(err, ErrNoRoom) {
		return 0, true, nil // removed already, or restored meanwhile
	}
	if err != nil {
		return 0, false, err
	}
	lines := tx.Bucket(bucketLines)
	if b := lines.Bucket(u64(room)); b != nil {
		h, err := getHead(tx, room)
		if err != nil {
			return 0, false, err
		}
		if n, done, err = reclaim(b, room, h.Last, most); err != nil {
			return n, false, err
		}
		if !done {
			r.Purged = true
			return n, false, errors.Join(putRoom(tx, r), putHead(tx, room, &head{Stat: Stat{Last: h.Last, Removed: h.Last}, unreclaimed: true}))
		}
		if err := lines.DeleteBucket(u64(room)); err != nil {
			return n, false, err
		}
	}
	return n, true, errors.Join(tx.Bucket(bucketHeads).Delete(u64(room)), tx.Bucket(bucketRooms).Delete(u64(room)))
}
