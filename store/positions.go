package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// PositionsKept is how long positions are kept after they were last saved.
	PositionsKept = 31 * 24 * time.Hour
	// MaxReaders bounds the readers whose positions are kept: beyond it those that
	// were saved first are removed.
	MaxReaders = 10_000
	// MaxReaderBytes bounds the key of a reader.
	MaxReaderBytes = 64
	// MaxPositions bounds the positions of a reader: beyond it those in the rooms that
	// were created first are removed.
	MaxPositions = 1024
	// NoPosition removes the position in a room.
	NoPosition = math.MaxUint64

	// positionsStep bounds the readers that one transaction writes, so that lines which
	// arrive meanwhile do not wait for long.
	positionsStep = 256
	// positionsScan bounds the readers that one transaction looks at.
	positionsScan = 1024
	// maxUnsaved bounds the positions that are in memory only, over all readers.
	maxUnsaved = 1 << 18
	// evictShare of the readers are removed when there are too many: reading how old all
	// of them are is not done for each new one.
	evictShare = 20
	// expireEvery is the shortest time between two searches for old positions.
	expireEvery = time.Hour
)

// Positions are the newest lines that a reader has: sequence numbers by room. 0 is a
// position before the first line. They belong to the lines beside which they are stored:
// a backup has both as they were, and an import of lines ends the positions in its room.
// Callers need not compare an Identity.
type Positions map[uint64]uint64

// ReaderPositions are positions of a reader. The key is the caller's: whoever comes
// back with the same key is the same reader. It has MaxReaderBytes at most.
type ReaderPositions struct {
	Reader    string
	Positions Positions
}

// positions keeps the positions that are not in the database yet. Those in the database
// are not in memory.
type positions struct {
	some atomic.Bool // there are unsaved ones

	mu      sync.Mutex
	unsaved map[string]*reader // saved by callers, and not taken by the committer
	n       int                // positions in unsaved
	writing map[string]*reader // taken; its values do not change

	// Owned by the committer.
	order    []string // the readers of writing, in the order of the file
	readers  int      // in the database; at least so many
	searched int64    // the limit of the newest search for old readers, in microseconds since 1970
	scanned  []byte   // the next reader of the running search; nil: none runs
}

// reader is the record of a reader.
type reader struct {
	at    int64 // when it was saved, in microseconds since 1970
	rooms Positions
}

// Positions returns the positions of a reader, also those that are not written yet, and
// when they were saved; nil if there are none. Rooms in the trash are among them, purged
// ones are not. A corrupt record is skipped and counted (CorruptReads).
func (s *Store) Positions(key string) (rooms Positions, at time.Time, err error) {
	newer := s.positions.inMemory(key) // before the file is read: a record that is written meanwhile is found in both places
	r := reader{rooms: make(Positions)}
	err = s.file.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketPositions); b != nil {
			if err := r.decode([]byte(key), b.Get([]byte(key))); err != nil {
				s.countRecord(bucketPositions, []byte(key))
			}
		}
		for _, n := range newer {
			s.merge(&r, &n)
		}
		maps.DeleteFunc(r.rooms, func(room, _ uint64) bool { return tx.Bucket(bucketRooms).Get(u64(room)) == nil })
		return nil
	})
	if err != nil || len(r.rooms) == 0 {
		return nil, time.Time{}, err
	}
	return r.rooms, time.UnixMicro(r.at).UTC(), nil
}

// merge adds newer positions of a reader.
func (s *Store) merge(r, newer *reader) {
	r.at = newer.at
	for room, seq := range newer.rooms {
		switch st, err := s.Stat(room); {
		case seq == NoPosition:
			delete(r.rooms, room)
		case err == nil:
			r.rooms[room] = min(seq, st.Last)
		} // a deleted room keeps what it has
	}
	r.bound(newer.rooms)
}

// SavePositions keeps positions of readers: in each of the given rooms the new position
// replaces the old one, and NoPosition removes it; positions in other rooms stay. A save
// without rooms keeps those from getting too old (PositionsKept). The caller never waits
// for the disk: positions are written some seconds later, many readers together, and by
// Checkpoint, Snapshot, Suspend and Close.
//
// After a crash a position may be older than the saved one, and while the disk takes no
// writes saved ones are kept in memory only, and not all of them. It is never newer than
// the lines on disk. A number above the newest line of the room counts as that line.
// Readers whose key is empty or too long (MaxReaderBytes) are ignored.
func (s *Store) SavePositions(all ...ReaderPositions) {
	if s.positions.save(all, time.Now().UnixMicro()) {
		s.queue.wake()
	}
}

// save reports whether there was nothing unsaved before, and is now.
func (p *positions) save(all []ReaderPositions, now int64) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range all {
		if r.Reader != "" && len(r.Reader) <= MaxReaderBytes {
			p.add(r.Reader, now, r.Positions)
		}
	}
	return len(p.unsaved) > 0 && !p.some.Swap(true)
}

// add merges positions into unsaved. The caller holds mu.
func (p *positions) add(key string, at int64, rooms Positions) {
	if p.unsaved == nil {
		p.unsaved = make(map[string]*reader)
	}
	r := p.unsaved[key]
	if r == nil {
		r = &reader{rooms: make(Positions, len(rooms))}
		p.unsaved[key] = r
	}
	before := len(r.rooms)
	r.at = at
	maps.Copy(r.rooms, rooms)
	r.bound(rooms)
	p.n += len(r.rooms) - before
	if len(p.unsaved) > MaxReaders || p.n > maxUnsaved {
		all := make(map[string]int64, len(p.unsaved))
		for key, r := range p.unsaved {
			all[key] = r.at
		}
		for _, key := range oldest(all, 1+len(all)/evictShare) {
			p.n -= len(p.unsaved[key].rooms)
			delete(p.unsaved, key)
		}
	}
}

// oldest returns the n readers that were saved first, of readers with their times.
func oldest(all map[string]int64, n int) []string {
	return slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Compare(all[a], all[b]) })[:n]
}

// bound removes positions beyond MaxPositions: at first none of those just saved.
func (r *reader) bound(saved Positions) {
	for _, any := range []bool{false, true} {
		if len(r.rooms) <= MaxPositions {
			return
		}
		for _, room := range slices.Sorted(maps.Keys(r.rooms)) {
			if _, ok := saved[room]; len(r.rooms) > MaxPositions && (any || !ok) {
				delete(r.rooms, room)
			}
		}
	}
}

// inMemory returns the unwritten positions of a reader, the older ones first.
func (p *positions) inMemory(key string) (all []reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, from := range []map[string]*reader{p.writing, p.unsaved} {
		if r := from[key]; r != nil {
			all = append(all, reader{r.at, maps.Clone(r.rooms)})
		}
	}
	return all
}

// next returns the readers that are to be written next, at most so many.
func (p *positions) next(most int) []string {
	if len(p.order) == 0 {
		p.mu.Lock()
		p.writing, p.unsaved, p.n = p.unsaved, nil, 0
		p.some.Store(len(p.writing) > 0)
		p.mu.Unlock()
		p.order = slices.Sorted(maps.Keys(p.writing)) // the pages of the file one after the other
	}
	return p.order[:min(most, len(p.order))]
}

// written forgets the first n readers of order, and reports whether it has more.
func (p *positions) written(n int) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.order[:n] {
		delete(p.writing, key)
	}
	if p.order = p.order[n:]; len(p.order) == 0 {
		p.writing, p.order = nil, nil // they may have been many
	}
	p.some.Store(len(p.order)+len(p.unsaved) > 0)
	return len(p.order) > 0
}

// putBack makes the readers that could not be written unsaved again.
func (p *positions) putBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	newer := p.unsaved
	p.unsaved, p.writing, p.order, p.n = p.writing, nil, nil, 0
	for _, r := range p.unsaved {
		p.n += len(r.rooms)
	}
	for key, r := range newer {
		p.add(key, r.at, r.rooms)
	}
}

// positionsStep writes positions of some readers, at most so many, and reports whether
// there are more.
func (s *Store) positionsStep(most int) (more bool, err error) {
	p := &s.positions
	keys := p.next(most)
	if len(keys) == 0 {
		return false, nil
	}
	readers := p.readers
	// No position is newer than the lines on disk: their numbers would be given again.
	if err = s.flush(); err == nil && s.recovery.deferred != nil {
		err = ErrFull
	}
	if err == nil {
		err = s.transact(func(tx *bolt.Tx) (err error) {
			w := newPositionsWriter(tx)
			for _, key := range keys {
				n, err := s.putPositions(w, key, p.writing[key])
				if err != nil {
					return err
				}
				readers += n
			}
			if readers > MaxReaders {
				readers, err = evictReaders(tx)
			}
			return err
		})
	}
	if err != nil {
		p.putBack()
		return false, err
	}
	p.readers, s.retention.mayExpire = readers, true
	return p.written(len(keys)), nil
}

// writePositions writes all positions. A full disk is no reason to tell the caller: they
// are where they were, or lost with the process. After other errors the store is
// read-only.
func (s *Store) writePositions() {
	for s.positions.some.Load() {
		if _, err := s.positionsStep(MaxReaders); err != nil {
			return
		}
	}
}

// positionsWriter is what the records that a transaction writes are made with, one after
// the other: thousands are written when all clients of a server come back.
type positionsWriter struct {
	tx     *bolt.Tx
	cursor *bolt.Cursor // finds records, and is moved before each use
	rooms  Positions
}

func newPositionsWriter(tx *bolt.Tx) *positionsWriter {
	return &positionsWriter{tx: tx, cursor: tx.Bucket(bucketPositions).Cursor(), rooms: make(Positions)}
}

// get returns the record of a reader, or nil.
func (w *positionsWriter) get(k []byte) []byte {
	if found, v := w.cursor.Seek(k); bytes.Equal(found, k) {
		return v
	}
	return nil
}

// putPositions merges positions into the record of a reader. It returns by how many the
// number of records has changed.
func (s *Store) putPositions(w *positionsWriter, key string, saved *reader) (added int, err error) {
	tx, b, k := w.tx, w.cursor.Bucket(), []byte(key)
	clear(w.rooms)
	r, before := reader{rooms: w.rooms}, w.get(k)
	if err := r.decode(k, before); err != nil {
		clear(r.rooms) // the record is replaced
	}
	s.merge(&r, saved)
	maps.DeleteFunc(r.rooms, func(room, _ uint64) bool {
		return s.heads[room] == nil && tx.Bucket(bucketRooms).Get(u64(room)) == nil // purged
	})
	switch {
	case len(r.rooms) > 0 && before == nil:
		added = 1
	case len(r.rooms) == 0 && before == nil:
		return 0, nil
	case len(r.rooms) == 0:
		return -1, b.Delete(k)
	}
	return added, b.Put(k, r.encode(k))
}

// evictReaders removes the readers that were saved first, if there are more than
// MaxReaders, and returns the number of the others.
func evictReaders(tx *bolt.Tx) (left int, err error) {
	b := tx.Bucket(bucketPositions)
	all := make(map[string]int64)
	for k, v := range records(b) {
		var r reader
		r.decode(k, v) // a corrupt one is the oldest
		all[string(k)] = r.at
	}
	n := len(all) - MaxReaders
	if n <= 0 {
		return len(all), nil
	}
	n += MaxReaders / evictShare
	for _, key := range oldest(all, n) {
		if err := b.Delete([]byte(key)); err != nil {
			return 0, err
		}
	}
	return len(all) - n, nil
}

// expireStep looks at some readers, and removes those that were saved before a time, in
// microseconds since 1970, and corrupt ones. n is 0 if there is nothing to look for.
func (s *Store) expireStep(before int64) (more bool, n int, err error) {
	p := &s.positions
	if p.readers == 0 {
		return false, 0, nil
	}
	s.retention.mayExpire = true
	if since := before - p.searched; p.scanned == nil {
		if since >= 0 && since < expireEvery.Microseconds() {
			return false, 0, nil
		}
		p.searched = before
	}
	var old [][]byte
	var next []byte
	err = s.file.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketPositions).Cursor()
		k, v := c.Seek(p.scanned)
		for ; k != nil && n < positionsScan; k, v = c.Next() {
			var r reader
			if err := r.decode(k, v); err != nil || r.at < before {
				old = append(old, bytes.Clone(k))
			}
			n++
		}
		next = bytes.Clone(k)
		return nil
	})
	if err == nil && len(old) > 0 {
		err = s.transact(func(tx *bolt.Tx) error {
			for _, k := range old {
				if err := tx.Bucket(bucketPositions).Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return false, jobBlocks, err
	}
	p.readers -= len(old)
	p.scanned = next
	return next != nil, jobBlocks, nil
}

// countReaders returns the number of readers in the file.
func countReaders(tx *bolt.Tx) int {
	if b := tx.Bucket(bucketPositions); b != nil { // older files lack it
		return b.Stats().KeyN
	}
	return 0
}

// removePositions removes the positions of all readers in a room.
func removePositions(tx *bolt.Tx, room uint64) error {
	b := tx.Bucket(bucketPositions)
	changed := make(map[string]*reader)
	for k, v := range records(b) {
		r := &reader{rooms: make(Positions)}
		if err := r.decode(k, v); err != nil {
			continue
		}
		if _, ok := r.rooms[room]; ok {
			changed[string(k)] = r
		}
	}
	for key, r := range changed {
		delete(r.rooms, room)
		if err := b.Put([]byte(key), r.encode([]byte(key))); err != nil {
			return err
		}
	}
	return nil
}

// loadPositions counts the readers in the file, and returns the positions that are above
// the newest line of their room, each with the number of that line: the WAL is lost, and
// new lines may get the numbers of old ones. The caller holds the file.
func (s *Store) loadPositions(tx *bolt.Tx) (above map[string]*reader) {
	s.positions.readers, s.positions.scanned, s.positions.searched = 0, nil, 0
	for k, v := range records(tx.Bucket(bucketPositions)) {
		s.positions.readers++
		var r reader
		ahead := Positions{}
		err := r.each(k, v, func(room, seq uint64) {
			if h := s.heads[room]; h != nil && seq > h.Last {
				ahead[room] = h.Last
			}
		})
		if err == nil && len(ahead) > 0 {
			r.rooms = ahead
			if above == nil {
				above = make(map[string]*reader)
			}
			above[string(k)] = &r
		}
	}
	return above
}

// A record is the time (8), the number of positions, for each of them the difference to
// the room before and the sequence number, all as varints, and a checksum. What comes
// before the checksum is for later versions.

func (r *reader) encode(k []byte) []byte {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 24+8*len(r.rooms)), uint64(r.at))
	v = binary.AppendUvarint(v, uint64(len(r.rooms)))
	before := uint64(0)
	for _, room := range slices.Sorted(maps.Keys(r.rooms)) {
		v = binary.AppendUvarint(v, room-before)
		v = binary.AppendUvarint(v, r.rooms[room])
		before = room
	}
	return seal(k, v)
}

// decode reads a record into r; nil is the record of nobody. Without a map of rooms it
// reads only the time. After an error r has some of the rooms.
func (r *reader) decode(k, v []byte) error {
	if v == nil {
		return nil
	}
	return r.each(k, v, func(room, seq uint64) {
		if r.rooms != nil {
			r.rooms[room] = seq
		}
	})
}

// each reads the time of a record, and calls fn with each position.
func (r *reader) each(k, v []byte, fn func(room, seq uint64)) error {
	v, err := unseal(k, v)
	if err == nil && len(v) < 8 {
		err = errCorruptRecord
	}
	if err != nil {
		return fmt.Errorf("the positions of reader %x: %w", k, err)
	}
	r.at = int64(binary.BigEndian.Uint64(v))
	v = v[8:]
	bad := false
	next := func() uint64 {
		n, size := binary.Uvarint(v)
		if bad = bad || size <= 0; bad {
			return 0
		}
		v = v[size:]
		return n
	}
	room := uint64(0)
	for left := next(); left > 0 && !bad; left-- {
		room += next()
		if seq := next(); !bad {
			fn(room, seq)
		}
	}
	if bad {
		r.at = 0
		return fmt.Errorf("the positions of reader %x: %w", k, errCorruptRecord)
	}
	return nil
}
