package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/boltcheck"
)

// skippedRecords is what was damaged of rooms, bans, the audit and the planned stop when the file was
// opened. It is left out and stays in the file as it is: the others serve. It is
// not changed after it was made.
type skippedRecords struct {
	records   map[string]bool   // bucket and key; of a room's record and head the former
	rooms     map[uint64]string // how the rooms among them are called in sentences
	ports     []int             // of those rooms
	sentences []string
}

func (f *skippedRecords) has(bucket, k []byte) bool {
	return f != nil && f.records[string(bucket)+string(k)]
}

func (f *skippedRecords) add(bucket, k []byte) { f.records[string(bucket)+string(k)] = true }

func (f *skippedRecords) describe(format string, args ...any) {
	f.sentences = append(f.sentences, fmt.Sprintf(format, args...))
}

// corruption is what cannot be read.
type corruption struct {
	skipped atomic.Pointer[skippedRecords] // found when the file was opened; replaced as a whole
	reads   atomic.Uint64                  // blocks and records that readers have come across since
	rooms   sync.Map                       // those with such blocks
}

// SkippedRecords tells how many records of rooms, bans, the audit and the planned stop were damaged when
// the file was opened, and are left out; and of which, in sentences.
func (s *Store) SkippedRecords() (records int, sentences []string) {
	f := s.corruption.skipped.Load()
	return len(f.records), f.sentences
}

// SkippedRooms are the rooms that are left out, as sentences call them.
func (s *Store) SkippedRooms() []string {
	f := s.corruption.skipped.Load()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(f.rooms)) {
		all = append(all, f.rooms[id])
	}
	return all
}

// SkippedPorts returns the ports of rooms that are left out, as they are damaged.
// No other room gets them.
func (s *Store) SkippedPorts() []int { return s.corruption.skipped.Load().ports }

// skippedRoom is a room that is left out, with what other buckets know of it.
type skippedRoom struct {
	name  string
	port  int
	trash bool
	why   error
}

// readHeads reads the heads of the rooms that are not deleted, and finds what is
// damaged. gone are the others.
func readHeads(tx *bolt.Tx, heads map[uint64]*head) (f *skippedRecords, gone []trashEntry, err error) {
	f = &skippedRecords{records: make(map[string]bool), rooms: make(map[uint64]string)}
	left := make(map[uint64]*skippedRoom)
	var order []uint64
	leave := func(id uint64, why error) *skippedRoom {
		l := left[id]
		if l == nil {
			l = &skippedRoom{why: why}
			left[id] = l
			order = append(order, id)
			f.add(bucketRooms, u64(id))
		}
		return l
	}
	if err := tx.Bucket(bucketRooms).ForEach(func(k, v []byte) error {
		r, h, err := readRoom(tx, k, v)
		switch {
		case err != nil:
			f.add(bucketRooms, k)
			l := leave(seqOf(k), err)
			l.name, l.port, l.trash = r.Name, r.Port, !r.Deleted.IsZero()
		case r.Deleted.IsZero():
			h.settings = r.Settings
			heads[r.ID] = h
		default:
			gone = append(gone, newTrashEntry(r, h))
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	// What is known of a room whose record says nothing any more.
	if err := tx.Bucket(bucketNames).ForEach(func(k, v []byte) error {
		if id := seqOf(v); heads[id] == nil {
			l := leave(id, fmt.Errorf("the name %q leads to room %d, which is not there", k, id))
			if l.name == "" {
				l.name = string(k)
			}
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	if err := tx.Bucket(bucketPorts).ForEach(func(k, v []byte) error {
		if use, ok := decodePort(v); ok && len(k) == 2 && use.room != 0 && heads[use.room] == nil {
			port := int(binary.BigEndian.Uint16(k))
			leave(use.room, fmt.Errorf("the port %d leads to room %d, which is not there", port, use.room)).port = port
			f.ports = append(f.ports, port)
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	for _, id := range order {
		f.room(id, left[id])
	}
	return f, gone, f.others(tx)
}

// readRoom reads a room's record and its head.
func readRoom(tx *bolt.Tx, k, v []byte) (r Room, h *head, err error) {
	if r, err = decodeRoom(k, v); err != nil {
		return r, nil, err
	}
	if h, err = getHead(tx, r.ID); err == nil && tx.Bucket(bucketLines).Bucket(k) == nil {
		err = fmt.Errorf("room %q has no lines bucket", r.Name)
	}
	return r, h, err
}

func (f *skippedRecords) room(id uint64, l *skippedRoom) {
	name := fmt.Sprintf("room %d", id)
	if l.name != "" {
		name = fmt.Sprintf("%s, %q", name, l.name)
	}
	if l.port != 0 {
		name = fmt.Sprintf("%s, on port %d", name, l.port)
	}
	f.rooms[id] = name
	what := "is left out, and its name and port are kept for it"
	if l.trash {
		what = "stays in the trash, and cannot be restored from there"
	}
	f.describe("%s: %v; it %s. `roomd store check` lists all damage; `roomd store restore` puts a backup in place", name, l.why, what)
}

// others finds what is damaged of bans, the audit and the planned stop.
func (f *skippedRecords) others(tx *bolt.Tx) error {
	if _, err := stopPlan(tx); err != nil {
		f.add(bucketMeta, keyStop)
		f.describe("%v; the server does not stop at that time. Plan it again, or call it off", err)
	}
	if tx.Bucket(bucketBans) != nil { // it came later than some files
		if err := eachBan(tx, func(Ban) {}, func(k []byte, err error) {
			f.add(bucketBans, k)
			f.describe("%v; it does not hold. Set it again, and `unban #%d`, or restore a backup with `roomd store restore`", err, seqOf(k))
		}); err != nil {
			return err
		}
	}
	audit, n := tx.Bucket(bucketAudit), 0
	if audit == nil {
		return nil
	}
	err := audit.ForEach(func(k, v []byte) error {
		if _, err := unseal(k, v); err != nil {
			f.add(bucketAudit, k)
			n++
		}
		return nil
	})
	switch {
	case n == 1:
		f.describe("1 record of the audit is damaged and left out; `roomd store check` names it")
	case n > 1:
		f.describe("%d records of the audit are damaged and left out; `roomd store check` lists them", n)
	}
	return err
}

// countRecord counts what is come across of damage that was not there when the file
// was opened.
func (s *Store) countRecord(bucket, k []byte) {
	if !s.corruption.skipped.Load().has(bucket, k) {
		s.corruption.reads.Add(1)
	}
}

// CorruptReads is how many times readers have come across a damaged block since the
// store was opened, or a record that has become damaged since, and have left it
// out. Check says where they are.
func (s *Store) CorruptReads() uint64 { return s.corruption.reads.Load() }

// countBlock counts a damaged block of a room.
func (s *Store) countBlock(room uint64) {
	s.corruption.reads.Add(1)
	s.corruption.rooms.Store(room, true)
}

// CorruptRooms are the rooms of which readers have come across damaged blocks.
func (s *Store) CorruptRooms() (rooms []uint64) {
	s.corruption.rooms.Range(func(room, _ any) bool {
		rooms = append(rooms, room.(uint64))
		return true
	})
	slices.Sort(rooms)
	return rooms
}

// checkTx compares heads with lines.
func checkTx(tx *bolt.Tx) error { return checkExcept(context.Background(), tx, nil) }

// checkExcept is checkTx without a word about what is known to be damaged. ctx ends
// it: then it has found nothing.
func checkExcept(ctx context.Context, tx *bolt.Tx, known *skippedRecords) error {
	err := checkAll(ctx, tx, known)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func checkAll(ctx context.Context, tx *bolt.Tx, known *skippedRecords) error {
	if err := boltcheck.CheckPages(ctx, tx.DB().Path(), tx.DB().Info().PageSize); err != nil || ctx.Err() != nil {
		return err // what is in them cannot be followed
	}
	var errs []error
	for err := range tx.Check() {
		errs = append(errs, err)
	}
	bad := func(bucket, k []byte, err error) {
		if err != nil && !known.has(bucket, k) {
			errs = append(errs, err)
		}
	}
	rooms, names, used := tx.Bucket(bucketRooms), tx.Bucket(bucketNames), tx.Bucket(bucketPorts)
	ports := make(map[int]uint64)
	errs = append(errs, rooms.ForEach(func(k, v []byte) error {
		r, err := decodeRoom(k, v)
		if err != nil {
			bad(bucketRooms, k, err)
			return nil
		}
		if r.Deleted.IsZero() {
			if other := ports[r.Port]; other != 0 {
				bad(bucketRooms, k, fmt.Errorf("rooms %d and %d have the same port %d", other, r.ID, r.Port))
			}
			ports[r.Port] = r.ID
			if id := names.Get([]byte(r.Key)); string(id) != string(k) {
				bad(bucketRooms, k, fmt.Errorf("room %q: its name leads to room %x", r.Name, id))
			}
			if use, ok := decodePort(used.Get(portKey(r.Port))); !ok || use.room != r.ID {
				bad(bucketRooms, k, fmt.Errorf("room %q: its port %d leads to room %d", r.Name, r.Port, use.room))
			}
		}
		_, h, err := readRoom(tx, k, v)
		if err == nil {
			err = checkLines(ctx, tx.Bucket(bucketLines).Bucket(k), r.ID, h)
		}
		if err != nil {
			bad(bucketRooms, k, fmt.Errorf("room %q: %w", r.Name, err))
		}
		return nil
	}))
	errs = append(errs, eachBan(tx, func(Ban) {}, func(k []byte, err error) { bad(bucketBans, k, err) }))
	_, err := stopPlan(tx)
	bad(bucketMeta, keyStop, err)
	errs = append(errs, tx.Bucket(bucketAudit).ForEach(func(k, v []byte) error {
		_, err := decodeAudit(k, v)
		bad(bucketAudit, k, err)
		return nil
	}))
	errs = append(errs, names.ForEach(func(k, v []byte) error {
		if r, err := getRoom(tx, seqOf(v)); err != nil || r.Key != string(k) {
			bad(bucketRooms, v, fmt.Errorf("the name %q leads to room %d, which is damaged, or not there, or has another", k, seqOf(v)))
		}
		return nil
	}))
	errs = append(errs, used.ForEach(func(k, v []byte) error {
		use, ok := decodePort(v)
		if r, err := getRoom(tx, use.room); !ok || use.room != 0 && (err != nil || string(portKey(r.Port)) != string(k)) {
			bad(bucketRooms, u64(use.room), fmt.Errorf("the port %x leads to room %d, which is damaged, or not there, or has another", k, use.room))
		}
		return nil
	}))
	return errors.Join(append(errs, tx.Bucket(bucketLines).ForEach(func(k, _ []byte) error {
		if rooms.Get(k) == nil {
			bad(bucketRooms, k, fmt.Errorf("there are lines of room %d, which is not there", seqOf(k)))
		}
		return nil
	}))...)
}

// checkLines compares a room's blocks with its head.
func checkLines(ctx context.Context, b *bolt.Bucket, room uint64, h *head) error {
	var errs []error
	var lines, bytes, last uint64
	err := b.ForEach(func(k, v []byte) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		got, err := block.Decode(room, k, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("the lines from %x on: %w", k, err))
			return nil
		}
		if got.First <= last || got.Last > h.Last || got.First <= h.Removed && !h.unreclaimed {
			errs = append(errs, fmt.Errorf("the lines %d to %d: not between %d and %d", got.First, got.Last, max(last, h.Removed), h.Last))
		}
		sc, n, size := got.Scan(), uint32(0), uint32(0)
		for sc.Next() {
			if sc.Seq <= last {
				errs = append(errs, fmt.Errorf("line %d comes after %d", sc.Seq, last))
			}
			last = sc.Seq
			n++
			size += uint32(sc.Weight())
			if sc.Seq > h.Removed {
				lines++
				bytes += sc.Weight()
			}
		}
		if sc.Corrupt || n != got.Lines || size != got.Size || last != got.Last || sc.Micros != got.End {
			errs = append(errs, fmt.Errorf("the lines %d to %d: %w", got.First, got.Last, block.ErrCorrupt))
		}
		return nil
	})
	if lines != h.Lines || bytes != h.Bytes {
		errs = append(errs, fmt.Errorf("%d lines of %d bytes, its head says %d of %d", lines, bytes, h.Lines, h.Bytes))
	}
	return errors.Join(append(errs, err)...)
}
