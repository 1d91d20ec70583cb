package store

import (
	"cmp"
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
	"roomd/store/lineid"
)

// skippedRecords are the corrupt records of rooms, bans, the audit, readers' positions
// and the planned stop that were found when the file was opened. They are skipped, and stay in the
// file as they are, but for positions, which retention removes. The value does not change after it was made.
type skippedRecords struct {
	records   map[string]bool   // bucket and key; for a room's record and its head, those of the record
	rooms     map[uint64]string // the rooms among them, as sentences name them
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

// corruption counts what cannot be read.
type corruption struct {
	skipped atomic.Pointer[skippedRecords] // found when the file was opened; replaced as a whole
	reads   atomic.Uint64                  // corrupt blocks and records that readers have found since
	rooms   sync.Map                       // the rooms of those blocks
}

// SkippedRecords returns the number of corrupt records of rooms, bans, the audit,
// readers' positions and the planned stop that were found when the file was opened, and sentences that name
// them.
func (s *Store) SkippedRecords() (records int, sentences []string) {
	f := s.corruption.skipped.Load()
	return len(f.records), f.sentences
}

// SkippedRooms returns the rooms with corrupt records, as sentences name them.
func (s *Store) SkippedRooms() []string {
	f := s.corruption.skipped.Load()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(f.rooms)) {
		all = append(all, f.rooms[id])
	}
	return all
}

// SkippedPorts returns the ports of rooms with corrupt records. No other room gets
// them.
func (s *Store) SkippedPorts() []int { return s.corruption.skipped.Load().ports }

// skippedRoom is a room with corrupt records, with what other buckets tell of it.
type skippedRoom struct {
	name  string
	port  int
	trash bool
	why   error
}

// readHeads reads the heads of the rooms that are not deleted into heads, and returns
// the deleted rooms and the corrupt records.
func readHeads(tx *bolt.Tx, heads map[uint64]*head) (f *skippedRecords, deleted []trashEntry) {
	f = &skippedRecords{records: make(map[string]bool), rooms: make(map[uint64]string)}
	rooms := make(map[uint64]*skippedRoom)
	var order []uint64
	skip := func(id uint64, why error) *skippedRoom {
		l := rooms[id]
		if l == nil {
			l = &skippedRoom{why: why}
			rooms[id] = l
			order = append(order, id)
			f.add(bucketRooms, u64(id))
		}
		return l
	}
	for k, v := range records(tx.Bucket(bucketRooms)) {
		r, h, err := readRoom(tx, k, v)
		switch {
		case err != nil:
			f.add(bucketRooms, k)
			l := skip(seqOf(k), err)
			l.name, l.port, l.trash = r.Name, r.Port, !r.Deleted.IsZero()
		case r.Deleted.IsZero():
			h.settings = r.Settings
			heads[r.ID] = h
		default:
			deleted = append(deleted, newTrashEntry(r, h))
		}
	}
	// The record of a room may be unreadable: its name and its port are in other
	// buckets.
	for k, v := range records(tx.Bucket(bucketNames)) {
		if id := seqOf(v); heads[id] == nil {
			l := skip(id, fmt.Errorf("the name %q belongs to room %d, which does not exist", k, id))
			l.name = cmp.Or(l.name, string(k))
		}
	}
	for k, v := range records(tx.Bucket(bucketPorts)) {
		if use, ok := decodePort(v); ok && len(k) == 2 && use.room != 0 && heads[use.room] == nil {
			port := int(binary.BigEndian.Uint16(k))
			skip(use.room, fmt.Errorf("the port %d belongs to room %d, which does not exist", port, use.room)).port = port
			f.ports = append(f.ports, port)
		}
	}
	for _, id := range order {
		f.room(id, rooms[id])
	}
	f.others(tx)
	return f, deleted
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
	what := "is skipped, and its name and port stay reserved"
	if l.trash {
		what = "stays in the trash, and cannot be restored"
	}
	f.describe("%s: %v; the room %s. `roomd store check` lists all corrupt records; `roomd store restore` puts a backup in place", name, l.why, what)
}

// others finds corrupt bans, audit entries and positions, and a corrupt plan to stop.
func (f *skippedRecords) others(tx *bolt.Tx) {
	if _, err := stopPlan(tx); err != nil {
		f.add(bucketMeta, keyStop)
		f.describe("%v; the server does not stop at that time: plan the stop again, or cancel it", err)
	}
	for b, err := range allBans(tx) {
		if err != nil {
			f.add(bucketBans, u64(b.ID))
			f.describe("%v; the ban is not in force: set it again and `unban #%d`, or restore a backup with `roomd store restore`", err, b.ID)
		}
	}
	corrupt := func(bucket []byte) (n int) {
		for k, v := range records(tx.Bucket(bucket)) {
			if _, err := unseal(k, v); err != nil {
				f.add(bucket, k)
				n++
			}
		}
		return n
	}
	switch n := corrupt(bucketAudit); {
	case n == 1:
		f.describe("1 record of the audit is corrupt and skipped; `roomd store check` names it")
	case n > 1:
		f.describe("%d records of the audit are corrupt and skipped; `roomd store check` lists them", n)
	}
	if n := corrupt(bucketPositions); n > 0 {
		f.describe("records of the positions of readers that are corrupt and will be removed: %d; these readers are shown the newest lines when they come back", n)
	}
}

// countRecord counts a corrupt record that was not corrupt when the file was opened.
func (s *Store) countRecord(bucket, k []byte) {
	if !s.corruption.skipped.Load().has(bucket, k) {
		s.corruption.reads.Add(1)
	}
}

// CorruptReads returns how often readers have found, and skipped, a corrupt block, or
// a record that has become corrupt since the store was opened. Check tells where they
// are.
func (s *Store) CorruptReads() uint64 { return s.corruption.reads.Load() }

// countBlock counts a corrupt block of a room.
func (s *Store) countBlock(room uint64) {
	s.corruption.reads.Add(1)
	s.corruption.rooms.Store(room, true)
}

// CorruptRooms returns the rooms of which readers have found corrupt blocks.
func (s *Store) CorruptRooms() (rooms []uint64) {
	s.corruption.rooms.Range(func(room, _ any) bool {
		rooms = append(rooms, room.(uint64))
		return true
	})
	slices.Sort(rooms)
	return rooms
}

// checkTx compares heads with lines, and looks for corrupt records and pages.
func checkTx(tx *bolt.Tx) error { return checkExcept(context.Background(), tx, nil) }

// checkExcept is checkTx, but does not report records that are known to be corrupt.
// When ctx is done it returns the cause of ctx.
func checkExcept(ctx context.Context, tx *bolt.Tx, known *skippedRecords) error {
	err := checkAll(ctx, tx, known)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func checkAll(ctx context.Context, tx *bolt.Tx, known *skippedRecords) error {
	if err := boltcheck.CheckPages(ctx, tx.DB().Path(), tx.DB().Info().PageSize); err != nil || ctx.Err() != nil {
		return err // references in corrupt pages cannot be followed
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
	for k, v := range records(rooms) {
		r, err := decodeRoom(k, v)
		if err != nil {
			bad(bucketRooms, k, err)
			continue
		}
		if r.Deleted.IsZero() {
			if other := ports[r.Port]; other != 0 {
				bad(bucketRooms, k, fmt.Errorf("rooms %d and %d have the same port %d", other, r.ID, r.Port))
			}
			ports[r.Port] = r.ID
			if id := names.Get([]byte(r.Key)); string(id) != string(k) {
				bad(bucketRooms, k, fmt.Errorf("room %q: its name belongs to room %x", r.Name, id))
			}
			if use, ok := decodePort(used.Get(portKey(r.Port))); !ok || use.room != r.ID {
				bad(bucketRooms, k, fmt.Errorf("room %q: its port %d belongs to room %d", r.Name, r.Port, use.room))
			}
		}
		_, h, err := readRoom(tx, k, v)
		if err == nil {
			err = checkLines(ctx, tx.Bucket(bucketLines).Bucket(k), r.ID, h)
		}
		if err != nil {
			bad(bucketRooms, k, fmt.Errorf("room %q: %w", r.Name, err))
		}
	}
	for b, err := range allBans(tx) {
		bad(bucketBans, u64(b.ID), err)
	}
	_, err := stopPlan(tx)
	bad(bucketMeta, keyStop, err)
	for k, v := range records(tx.Bucket(bucketAudit)) {
		_, err := decodeAudit(k, v)
		bad(bucketAudit, k, err)
	}
	for k, v := range records(tx.Bucket(bucketPositions)) {
		bad(bucketPositions, k, new(reader).decode(k, v))
	}
	if known == nil { // an ID that is corrupt is no reason to stay read-only: its line is stored once more
		if err := lineid.Check(tx.Bucket(bucketIDs)); err != nil {
			errs = append(errs, err)
		}
	}
	for k, v := range records(names) {
		if r, err := getRoom(tx, seqOf(v)); err != nil || r.Key != string(k) {
			bad(bucketRooms, v, fmt.Errorf("the name %q belongs to room %d, which is corrupt, or does not exist, or has another name", k, seqOf(v)))
		}
	}
	for k, v := range records(used) {
		use, ok := decodePort(v)
		if r, err := getRoom(tx, use.room); !ok || use.room != 0 && (err != nil || string(portKey(r.Port)) != string(k)) {
			bad(bucketRooms, u64(use.room), fmt.Errorf("the port %x belongs to room %d, which is corrupt, or does not exist, or has another port", k, use.room))
		}
	}
	for k := range records(tx.Bucket(bucketLines)) {
		if rooms.Get(k) == nil {
			bad(bucketRooms, k, fmt.Errorf("there are lines of room %d, which does not exist", seqOf(k)))
		}
	}
	return errors.Join(errs...)
}

// checkLines compares a room's blocks with its head.
func checkLines(ctx context.Context, lines *bolt.Bucket, room uint64, h *head) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var counted Stat
	for k, v := range records(lines) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		got, err := block.Decode(room, k, v)
		if err != nil {
			bad("the lines from %x on: %w", k, err)
			continue
		}
		if got.First <= counted.Last || got.Last > h.Last || got.First <= h.Removed && !h.unreclaimed {
			bad("the lines %d to %d: not between %d and %d", got.First, got.Last, max(counted.Last, h.Removed), h.Last)
		}
		sc, n, size := got.Scan(), uint32(0), uint32(0)
		for sc.Next() {
			if sc.Seq <= counted.Last {
				bad("line %d comes after %d", sc.Seq, counted.Last)
			}
			counted.Last = sc.Seq
			n++
			size += uint32(sc.Weight())
			if sc.Seq > h.Removed {
				counted.Lines++
				counted.Bytes += sc.Weight()
			}
		}
		if sc.Corrupt || n != got.Lines || size != got.Size || counted.Last != got.Last || sc.Micros != got.End {
			bad("the lines %d to %d: %w", got.First, got.Last, block.ErrCorrupt)
		}
	}
	if counted.Lines != h.Lines || counted.Bytes != h.Bytes {
		bad("%d lines of %d bytes, its head says %d of %d", counted.Lines, counted.Bytes, h.Lines, h.Bytes)
	}
	return errors.Join(errs...)
}
