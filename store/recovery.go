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
	"roomd/store/wal"
)

// After a failed write the committer tries to heal by itself, at first after
// healFirst and then at doubling distances up to healMost.
const (
	recoveryFirst = 2 * time.Second
	recoveryMax   = 5 * time.Minute
)

// recovery is what is to be made good after a write that failed.
//
// Owned by the committer.
type recovery struct {
	doubtfulTx int          // the transaction that could not be taken back; 0: none
	deferred   func() error // what Open had no space for; lines wait for it
}

// Reopen makes a store that is read-only writable again, if the disk has kept
// what it was given: the file is closed, opened and checked, and what is only
// in memory is written again. The committer tries it by itself as well. On a
// store that is not read-only it does nothing.
func (s *Store) Reopen() error {
	return s.do(&task{recover: true})
}

// tryRecovery is the committer's part of Reopen. The lines that were acknowledged and
// are not in the database are all in memory: they count, and not what the
// journal may hold of lines that were refused.
func (s *Store) tryRecovery() error {
	if err := s.ReadOnly(); err == nil || errors.Is(err, errCorruptFile) {
		return err // what is damaged does not heal
	}
	if err := s.VerifyPath(); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.awaitFlush()
	// Readers have what they need: nothing is closed before the disk takes a
	// byte again.
	if err := probeDisk(s.path); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err := s.rollBack(); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.file.mu.Lock()
	err := s.reopenFile()
	s.file.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	was := s.health.setReason(nil)
	err = s.transact(func(tx *bolt.Tx) error {
		s.checkpoint.begin()
		return errors.Join(s.writeDirtyRooms(tx), tx.Bucket(bucketMeta).Delete(keyWAL))
	})
	if err == nil {
		s.checkpointDone()
		if err = os.Remove(wal.Path(s.path)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil { // as it was
		s.health.setReason(was)
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.writer.record, s.writer.unwritten, s.writer.writeErr = s.writer.record[:0], 0, nil
	s.openWAL()
	if err := s.ReadOnly(); err != nil {
		return err
	}
	s.opts.Events.ReadOnly(nil)
	return nil
}

// probeDisk writes to a new file beside path.
func probeDisk(path string) error {
	f, err := disk.CreateTemp(path, disk.ForDatabase)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// reopenFile opens the file again, checks it, and gives the rooms their lines in
// memory back.
func (s *Store) reopenFile() error {
	err := s.writer.wal.Close()
	s.endBackups()
	if err = errors.Join(err, s.file.close()); err != nil {
		return err
	}
	disk.DropCache(s.path) // else the check would see what the disk has not got
	db, err := openFile(s.opts.Context, s.path, s.opts.LockTimeout, nil)
	if err != nil {
		// Readers have the file as it is, if it can be had at all.
		s.file.db, _ = bolt.Open(s.path, 0, &bolt.Options{ReadOnly: true, Timeout: s.opts.LockTimeout})
		return err
	}
	s.file.db = db
	// What was damaged at the start is still, and nobody was served it.
	if err := viewDB(db, func(tx *bolt.Tx) error { return checkExcept(context.Background(), tx, s.corruption.skipped.Load()) }); err != nil {
		return err
	}
	heads := make(map[uint64]*head)
	var gone []trashEntry
	if err := viewDB(db, func(tx *bolt.Tx) error { _, gone = readHeads(tx, heads); return nil }); err != nil {
		return err
	}
	for id := range s.heads {
		if heads[id] == nil {
			return fmt.Errorf("room %d is not there any more", id)
		}
	}
	s.mu.Lock()
	old := s.heads
	s.heads = heads
	s.mu.Unlock()
	s.retention.trash.load(gone)
	s.writer.wal = wal.New(s.path)
	s.checkpoint.dirty, s.batch.touched, s.checkpoint.tailBytes = nil, nil, 0
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
			s.reapplyRetention(h)
		}
		if s.retention.overLimit(h) {
			s.retention.addJob(job{room: id, kind: jobLimit})
		}
	}
	return nil
}

// What was refused must not turn up later. After a failed write or sync nobody
// knows what the disk has: so it is told to take back what it may have, at once,
// and if it refuses that too, before the store heals. In between a crash of the
// process finds it taken back even so, in the kernel's memory; only one of
// the machine may find what was refused, if the disk had kept it after all.

// rollBack does so with what the journal and the database may have of changes
// that were refused.
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
		return fmt.Errorf("what was refused could not be taken back: %w", err)
	}
	return nil
}

// load checks the schema and reads the heads, and the journal.
func (s *Store) load() error {
	crashed := false // a relaxed server ended without Close
	lacking := false // a bucket or a name that came later than the file
	var key []byte
	heads := make(map[uint64]*head)
	var left *skippedRecords
	var gone []trashEntry
	err := viewDB(s.file.db, func(tx *bolt.Tx) error {
		v, err := schemaOf(tx)
		if err != nil {
			return err
		}
		if v > Schema {
			return fmt.Errorf("its schema is version %d, this roomd knows version %d: use a newer roomd", v, Schema)
		}
		meta := tx.Bucket(bucketMeta)
		crashed = meta.Get(keyRelaxed) != nil
		key = bytes.Clone(meta.Get(keyWAL))
		for _, name := range buckets {
			lacking = lacking || tx.Bucket(name) == nil
		}
		lacking = s.loadIdentity(tx) || lacking
		left, gone = readHeads(tx, heads)
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.heads = heads
	s.mu.Unlock()
	s.corruption.skipped.Store(left)
	s.retention.trash.load(gone)
	s.warnings = append(s.warnings, left.sentences...)
	s.checkpoint.dirty, s.checkpoint.tailBytes, s.recovery.deferred, s.retention.mayExpire = nil, 0, nil, true
	lost, err := s.replayWAL(key)
	if err != nil {
		return err
	}
	for _, h := range s.heads {
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
	relaxed := s.opts.Durability == Relaxed
	if !crashed && !relaxed && !lacking && !lost {
		return nil
	}
	begin := func() error {
		return s.transact(func(tx *bolt.Tx) error { return s.markRunning(tx, crashed || lost) })
	}
	if crashed || lost {
		// Numbers may have been given to lines that are not there.
		for _, h := range s.heads {
			h.Last += maxUnwritten
			s.checkpoint.markDirty(h)
		}
	}
	if err = begin(); errors.Is(err, ErrFull) {
		s.warnings = append(s.warnings, fmt.Sprintf("no line is accepted until there is space: %v", err))
		s.recovery.deferred, err = begin, nil
	}
	return err
}

// markRunning puts down in the file that a server runs on it. If lines may be missing,
// the heads with the numbers that skip theirs are put down before any line is
// accepted; and what the heads count.
func (s *Store) markRunning(tx *bolt.Tx, missing bool) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := putIdentity(meta, s.identity, s.epoch); err != nil {
		return err
	}
	if missing {
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

// replayWAL reads the journal that belongs to the database, if there is to be one:
// its lines are in memory then, as they were before. lost is true if it is gone.
func (s *Store) replayWAL(key []byte) (lost bool, err error) {
	s.writer.wal = wal.New(s.path)
	if len(key) != wal.KeyBytes {
		return false, nil
	}
	left, lines := s.corruption.skipped.Load(), make(map[uint64]int)
	damage, err := s.writer.wal.Open(key, func(room uint64, l Line) {
		// What was folded since the journal began is in the database.
		if h := s.heads[room]; h != nil && l.Seq > h.Last {
			s.checkpoint.tailBytes += h.add(room, &l)
			s.checkpoint.markDirty(h)
		} else if h == nil && left.rooms[room] != "" {
			lines[room]++
		}
	})
	if s.writer.wal.Exists() {
		s.writer.walBytes = s.writer.wal.RecordBytes()
	}
	s.warnings = append(s.warnings, damage...)
	for _, room := range slices.Sorted(maps.Keys(lines)) {
		s.warnings = append(s.warnings, fmt.Sprintf("%s: lines of it that were in the journal alone, and are lost: up to %d", left.rooms[room], lines[room]))
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.warnings = append(s.warnings, fmt.Sprintf("the journal that belongs to the database is not there; the newest lines may be lost: %v", err))
		return true, nil
	}
	return false, err
}
