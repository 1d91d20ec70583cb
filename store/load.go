package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
	err := viewDB(s.db, func(tx *bolt.Tx) error {
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
	s.spoilt.Store(left)
	s.trash.fill(gone)
	s.warnings = append(s.warnings, left.sentences...)
	s.dirty, s.tails, s.late, s.aging = nil, 0, nil, true
	lost, err := s.replay(key)
	if err != nil {
		return err
	}
	for _, h := range s.heads {
		if h.dirty {
			s.hideAgain(h)
		}
		if s.overfull(h) {
			s.addChore(chore{room: h.id, kind: choreTrim})
		}
		if h.unswept {
			s.addChore(chore{room: h.id, kind: choreSweep})
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
			s.soil(h)
		}
	}
	if err = begin(); errors.Is(err, ErrFull) {
		s.warnings = append(s.warnings, fmt.Sprintf("no line is accepted until there is space: %v", err))
		s.late, err = begin, nil
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
		s.beginFold()
		if err := s.foldAll(tx); err != nil {
			return err
		}
		tx.OnCommit(s.foldedAll)
		if !s.journal.Exists() {
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
	s.journal = wal.New(s.path)
	if len(key) != wal.KeyBytes {
		return false, nil
	}
	left, lines := s.spoilt.Load(), make(map[uint64]int)
	damage, err := s.journal.Open(key, func(room uint64, l Line) {
		// What was folded since the journal began is in the database.
		if h := s.heads[room]; h != nil && l.Seq > h.Last {
			s.tails += h.add(room, &l)
			s.soil(h)
		} else if h == nil && left.rooms[room] != "" {
			lines[room]++
		}
	})
	if s.journal.Exists() {
		s.logged = s.journal.Used()
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

// schemaOf returns the version of the file's layout.
func schemaOf(tx *bolt.Tx) (uint64, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || len(meta.Get(keySchema)) != 8 {
		return 0, errors.New("this is not a roomd database")
	}
	return binary.BigEndian.Uint64(meta.Get(keySchema)), nil
}

// A head on disk is four numbers, a byte of flags, and a checksum.
const headBytes = 33

func putHead(tx *bolt.Tx, room uint64, h *head) error {
	b := make([]byte, 0, headBytes+4)
	for _, n := range []uint64{h.Last, h.Lines, h.Bytes, h.Trimmed} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	unswept := byte(0)
	if h.unswept {
		unswept = 1
	}
	return tx.Bucket(bucketHeads).Put(u64(room), seal(u64(room), append(b, unswept)))
}

func getHead(tx *bolt.Tx, room uint64) (*head, error) {
	b, err := unseal(u64(room), tx.Bucket(bucketHeads).Get(u64(room)))
	if err == nil && len(b) != headBytes {
		err = fmt.Errorf("it has %d bytes instead of %d", len(b), headBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("the head of room %d: %w", room, err)
	}
	return &head{
		id:      room,
		Last:    binary.BigEndian.Uint64(b),
		Lines:   binary.BigEndian.Uint64(b[8:]),
		Bytes:   binary.BigEndian.Uint64(b[16:]),
		Trimmed: binary.BigEndian.Uint64(b[24:]),
		unswept: b[32] != 0,
	}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends a checksum of a record and its key.
func seal(k, v []byte) []byte {
	return binary.BigEndian.AppendUint32(v, crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v))
}

// unseal returns what seal was given.
func unseal(k, v []byte) ([]byte, error) {
	n := len(v) - 4
	if n < 0 || binary.BigEndian.Uint32(v[n:]) != crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v[:n]) {
		return nil, errRecord
	}
	return v[:n], nil
}

var errRecord = errors.New("the record is damaged")
