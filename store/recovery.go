package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/boltcheck"
	"roomd/store/disk"
	"roomd/store/lineid"
	"roomd/store/wal"
)

// After a failed write the committer tries to recover by itself, at first after
// recoveryFirst and then at doubling intervals up to recoveryMax.
const (
	recoveryFirst = 2 * time.Second
	recoveryMax   = 5 * time.Minute
)

// recovery has the work that a failed write has left.
//
// Owned by the committer.
type recovery struct {
	doubtfulTx int          // the refused transaction that could not be rolled back; 0: none
	deferred   func() error // a change of Open that the disk had no space for; lines wait for it
}

// Reopen makes a store that is read-only writable again, if the disk has kept
// everything that was acknowledged: the file is closed, opened and checked, and the
// lines that are only in memory are written again. The committer tries that by itself,
// too. On a store that is not read-only it does nothing.
func (s *Store) Reopen() error { return s.do(&task{recover: true}) }

// tryRecovery is the committer's part of Reopen. All lines that were acknowledged and
// are not in the database are in memory. They count, and not the records of the WAL,
// which may contain lines that were refused.
func (s *Store) tryRecovery() error {
	if err := s.ReadOnly(); err == nil || errors.Is(err, errCorruptFile) {
		return err // a corrupt file needs an operator
	}
	s.awaitFlush()
	// Readers have the lines that they need: nothing is closed before the disk accepts a
	// write again.
	for _, step := range []func() error{s.VerifyPath, s.probeDisk, s.rollBack, s.reopenFile, s.writeTails} {
		if err := step(); err != nil {
			return fmt.Errorf("%w: %w", ErrReadOnly, err)
		}
	}
	s.writer.record, s.writer.unwritten, s.writer.writeErr = s.writer.record[:0], 0, nil
	s.openWAL()
	if err := s.ReadOnly(); err != nil {
		return err
	}
	s.opts.Events.ReadOnly(nil)
	return nil
}

// probeDisk writes to a new file beside the database.
func (s *Store) probeDisk() error {
	f, err := disk.CreateTemp(s.path, disk.ForDatabase)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// reopenFile opens the file again, checks it, and gives the rooms their lines in
// memory back.
func (s *Store) reopenFile() error {
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	err := s.writer.wal.Close()
	s.endBackups()
	if err = errors.Join(err, s.file.close()); err != nil {
		return err
	}
	disk.DropCache(s.path) // else the check would read pages that are not on the disk
	db, err := openFile(&s.opts, s.path, nil)
	if err != nil {
		// Readers get the file as it is, if it can be opened at all.
		s.file.db, _ = bolt.Open(s.path, 0, &bolt.Options{ReadOnly: true, Timeout: s.opts.LockTimeout})
		return err
	}
	s.file.db = db
	heads := make(map[uint64]*head)
	var deleted []trashEntry
	err = viewDB(db, func(tx *bolt.Tx) error {
		_, deleted = readHeads(tx, heads)
		s.positions.readers = countReaders(tx)
		// Records that were corrupt at the start still are, and no reader has got them.
		return checkExcept(context.Background(), tx, s.corruption.skipped.Load())
	})
	if err != nil {
		return err
	}
	for id := range s.heads {
		if heads[id] == nil {
			return fmt.Errorf("room %d does not exist any more", id)
		}
	}
	old := s.replaceHeads(heads, deleted)
	s.writer.wal, s.batch.touched = wal.New(s.path), nil
	for id, h := range heads {
		was := old[id]
		if was == nil {
			continue
		}
		for i := range was.tail {
			sc := was.tail[i].Scan()
			for lines := sc.Whole(); sc.Next(); {
				if l := sc.Line(lines); l.Seq > h.Last {
					s.checkpoint.tailBytes += h.add(id, &l)
				}
			}
		}
		if h.Last < was.Last {
			return fmt.Errorf("room %d: the lines %d to %d are lost", id, h.Last+1, was.Last)
		}
		if len(h.tail) > 0 {
			s.checkpoint.markDirty(h)
		}
		s.headLoaded(h)
	}
	return nil
}

var errNewerSchema = errors.New("use a newer roomd")

// replaceHeads replaces everything in memory that readHeads has read, and returns the
// heads before.
func (s *Store) replaceHeads(heads map[uint64]*head, deleted []trashEntry) (old map[uint64]*head) {
	s.mu.Lock()
	old, s.heads = s.heads, heads
	s.mu.Unlock()
	s.retention.trash.load(deleted)
	s.checkpoint.dirty, s.checkpoint.tailBytes = nil, 0
	return old
}

// headLoaded schedules the retention of a room whose head and tail have been read.
func (s *Store) headLoaded(h *head) {
	if h.dirty {
		s.reapplyRetention(h)
	}
	if s.retention.overLimit(h) {
		s.retention.addJob(job{room: h.id, kind: jobLimit})
	}
	if h.unreclaimed {
		s.retention.addJob(job{room: h.id, kind: jobReclaim})
	}
}

// writeTails writes the lines in memory into a file that was opened again, and removes
// the WAL.
func (s *Store) writeTails() error {
	was := s.health.setReason(nil)
	err := s.transact(func(tx *bolt.Tx) error {
		s.checkpoint.begin()
		return errors.Join(s.writeDirtyRooms(tx), tx.Bucket(bucketMeta).Delete(keyWAL))
	})
	if err == nil {
		s.checkpointDone()
		err = disk.RemoveIfExists(wal.Path(s.path))
	}
	if err != nil {
		s.health.setReason(was)
	}
	return err
}

// Refused changes must not appear later. After a failed write or sync nobody knows what
// the disk has kept. So the store overwrites what it may have kept at once, and if that
// fails too, before it recovers. Between the two, a crash of the process finds the
// change undone in the kernel's memory; only a crash of the machine may bring a refused
// change back.

// rollBack overwrites the changes in the WAL and in the database that were refused.
func (s *Store) rollBack() error {
	var err error
	if s.writer.wal.Torn() && s.opts.Durability == Commit { // relaxed lines are not refused
		err = s.writer.wal.RollBack()
	}
	if s.recovery.doubtfulTx != 0 {
		e := boltcheck.Revert(s.path, s.file.db.Info().PageSize, s.recovery.doubtfulTx, disk.Datasync)
		if e == nil {
			s.recovery.doubtfulTx = 0
		}
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("roll back the refused change: %w", err)
	}
	return nil
}

// load checks the schema and reads the heads, and the WAL.
func (s *Store) load() error {
	crashed := false // a relaxed server ended without Close
	missing := false // the file lacks a bucket or a name that newer files have
	var key []byte
	heads := make(map[uint64]*head)
	var skipped *skippedRecords
	var deleted []trashEntry
	err := viewDB(s.file.db, func(tx *bolt.Tx) error {
		v, err := schemaOf(tx)
		if err != nil {
			return err
		}
		if v > Schema {
			return fmt.Errorf("its schema is version %d, this roomd knows version %d: %w", v, Schema, errNewerSchema)
		}
		meta := tx.Bucket(bucketMeta)
		crashed = meta.Get(keyRelaxed) != nil
		key = bytes.Clone(meta.Get(keyWAL))
		for _, name := range buckets {
			missing = missing || tx.Bucket(name) == nil
		}
		missing = s.loadIdentity(tx) || missing
		skipped, deleted = readHeads(tx, heads)
		return nil
	})
	if err != nil {
		return err
	}
	s.replaceHeads(heads, deleted)
	s.corruption.skipped.Store(skipped)
	s.warnings = append(s.warnings, skipped.sentences...)
	s.recovery.deferred, s.retention.mayExpire = nil, true
	s.ids.Reset()
	lost, err := s.replayWAL(key)
	if err != nil {
		return err
	}
	for _, h := range s.heads {
		s.headLoaded(h)
	}
	var above map[string]*reader
	if err := viewDB(s.file.db, func(tx *bolt.Tx) error { above = s.loadPositions(tx); return nil }); err != nil {
		return err
	}
	if !crashed && s.opts.Durability != Relaxed && !missing && !lost && len(above) == 0 {
		return nil
	}
	if crashed || lost {
		// The numbers after Last may have been given to lines that are lost.
		for _, h := range s.heads {
			h.Last += maxUnwritten
			s.checkpoint.markDirty(h)
		}
	}
	mark := func() error {
		return s.transact(func(tx *bolt.Tx) error {
			if err := s.markRunning(tx, crashed || lost); err != nil {
				return err
			}
			for key, r := range above {
				if _, err := s.putPositions(newPositionsWriter(tx), key, r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err = mark(); errors.Is(err, ErrFull) {
		s.warnings = append(s.warnings, fmt.Sprintf("no line is accepted until there is space: %v", err))
		s.recovery.deferred, err = mark, nil
	}
	return err
}

// markRunning notes in the file that a server runs on it. If lines may be lost, the
// heads with the numbers that skip theirs are written before any line is accepted.
func (s *Store) markRunning(tx *bolt.Tx, lost bool) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := putIdentity(meta, s.identity, s.epoch); err != nil {
		return err
	}
	if lost {
		s.checkpoint.begin()
		if err := s.writeDirtyRooms(tx); err != nil {
			return err
		}
		tx.OnCommit(s.checkpointDone)
		if !s.writer.wal.Exists() {
			if err := meta.Delete(keyWAL); err != nil {
				return err
			}
		}
		if err := s.putWALKey(tx); err != nil {
			return err
		}
	}
	if s.opts.Durability == Relaxed {
		return meta.Put(keyRelaxed, []byte{1})
	}
	return meta.Delete(keyRelaxed)
}

// replayWAL reads the WAL that belongs to the database into the tails of the rooms, as
// they were before. lost is true if there should be a WAL and there is none.
func (s *Store) replayWAL(key []byte) (lost bool, err error) {
	s.writer.wal = wal.New(s.path)
	if len(key) != wal.KeyBytes {
		return false, nil
	}
	skipped, lines := s.corruption.skipped.Load(), make(map[uint64]int)
	corrupt, err := s.writer.wal.Open(key, func(room uint64, l Line) {
		if room == idsRoom { // also of a line that the database has
			if len(l.Text) == len(lineid.Key{}) {
				s.ids.Restore(lineid.Key([]byte(l.Text)), lineid.Place{Seq: l.Seq, Micros: l.Time.UnixMicro()})
			}
			return
		}
		s.mu.Lock() // after Suspend the rooms may be read meanwhile
		defer s.mu.Unlock()
		// The database has the older lines, from a checkpoint since the WAL began.
		if h := s.heads[room]; h != nil && l.Seq > h.Last {
			s.checkpoint.tailBytes += h.add(room, &l)
			s.checkpoint.markDirty(h)
		} else if h == nil && skipped.rooms[room] != "" {
			lines[room]++
		}
	})
	if s.writer.wal.Exists() {
		s.writer.walBytes = s.writer.wal.RecordBytes()
	}
	s.warnings = append(s.warnings, corrupt...)
	for _, room := range slices.Sorted(maps.Keys(lines)) {
		s.warnings = append(s.warnings, fmt.Sprintf("%s: lines that were only in the WAL are lost: up to %d", skipped.rooms[room], lines[room]))
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.warnings = append(s.warnings, fmt.Sprintf("the WAL of the database does not exist; the newest lines may be lost: %v", err))
		return true, nil
	}
	return false, err
}
