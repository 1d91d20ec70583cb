package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"roomd/store/wal"
)

// load checks the schema and reads the heads, and the journal.
func (s *Store) load() error {
	crashed := false // a relaxed server ended without Close
	lacking := false // a bucket or a name that came later than the file
	var key []byte
	heads := make(map[uint64]*head)
	var left *spoilt
	var gone []trashed
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
		key = bytes.Clone(meta.Get(keyJournal))
		for _, name := range buckets {
			lacking = lacking || tx.Bucket(name) == nil
		}
		lacking = s.identify(tx) || lacking
		left, gone, err = readHeads(tx, heads)
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.heads = heads
	s.mu.Unlock()
	s.damage.known.Store(left)
	s.retention.trash.fill(gone)
	s.warnings = append(s.warnings, left.sentences...)
	s.checkpoint.dirty, s.checkpoint.tails, s.recovery.late, s.retention.aging = nil, 0, nil, true
	lost, err := s.replay(key)
	if err != nil {
		return err
	}
	for _, h := range s.heads {
		if h.dirty {
			s.hideAgain(h)
		}
		if s.retention.overfull(h) {
			s.retention.addChore(chore{room: h.id, kind: choreTrim})
		}
		if h.unswept {
			s.retention.addChore(chore{room: h.id, kind: choreSweep})
		}
	}
	relaxed := s.opts.Durability == Relaxed
	if !crashed && !relaxed && !lacking && !lost {
		return nil
	}
	begin := func() error {
		return s.transact(func(tx *bolt.Tx) error { return s.begin(tx, crashed || lost) })
	}
	if crashed || lost {
		// Numbers may have been given to lines that are not there.
		for _, h := range s.heads {
			h.Last += maxUnwritten
			s.checkpoint.soil(h)
		}
	}
	if err = begin(); errors.Is(err, ErrFull) {
		s.warnings = append(s.warnings, fmt.Sprintf("no line is accepted until there is space: %v", err))
		s.recovery.late, err = begin, nil
	}
	return err
}

// begin puts down in the file that a server runs on it. If lines may be missing,
// the heads with the numbers that skip theirs are put down before any line is
// accepted; and what the heads count.
func (s *Store) begin(tx *bolt.Tx, missing bool) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if err := putNames(meta, s.identity, s.epoch); err != nil {
		return err
	}
	if missing {
		s.checkpoint.begin()
		if err := s.foldAll(tx); err != nil {
			return err
		}
		tx.OnCommit(s.foldedAll)
		if !s.writer.wal.Exists() {
			if err := meta.Delete(keyJournal); err != nil {
				return err
			}
		}
		if err := s.putJournal(tx); err != nil {
			return err
		}
	}
	if s.opts.Durability == Relaxed {
		return meta.Put(keyRelaxed, []byte{1})
	}
	return meta.Delete(keyRelaxed)
}

// replay reads the journal that belongs to the database, if there is to be one:
// its lines are in memory then, as they were before. lost is true if it is gone.
func (s *Store) replay(key []byte) (lost bool, err error) {
	s.writer.wal = wal.New(s.path)
	if len(key) != wal.KeyBytes {
		return false, nil
	}
	left, lines := s.damage.known.Load(), make(map[uint64]int)
	damage, err := s.writer.wal.Open(key, func(room uint64, l Line) {
		// What was folded since the journal began is in the database.
		if h := s.heads[room]; h != nil && l.Seq > h.Last {
			s.checkpoint.tails += h.add(room, &l)
			s.checkpoint.soil(h)
		} else if h == nil && left.rooms[room] != "" {
			lines[room]++
		}
	})
	if s.writer.wal.Exists() {
		s.writer.logged = s.writer.wal.Used()
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
