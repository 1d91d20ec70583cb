package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

const (
	// fillPercent is for keys that only ever grow: pages are split nearly full.
	fillPercent = 0.95
	// sweepBlocks bounds the blocks that one step of housekeeping looks at or
	// removes, so that lines which arrive meanwhile do not wait for long.
	sweepBlocks = 256
)

// foldedRoom is a room that a transaction has folded.
type foldedRoom struct {
	head  *head
	swept bool
}

// beginFold precedes each transaction that folds.
func (s *Store) beginFold() { s.folding, s.sweeps = s.folding[:0], sweepBlocks }

// fold brings the lines that are only in the journal into the database, and
// takes what retention has hidden out of it: as much as is done in one step.
func (s *Store) fold() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.foldDirty()
}

func (s *Store) foldDirty() error {
	if len(s.dirty) == 0 {
		return nil
	}
	s.beginFold()
	err := s.transact(func(tx *bolt.Tx) error {
		if err := s.foldAll(tx); err != nil {
			return err
		}
		return s.putJournal(tx)
	})
	if err != nil {
		return err
	}
	s.foldedAll()
	return nil
}

func (s *Store) foldAll(tx *bolt.Tx) error {
	for _, h := range s.dirty {
		if h.dirty && s.heads[h.id] == h { // it is not deleted
			if err := s.foldRoom(tx, h.id, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// foldedAll is folded after foldAll: nothing is in the journal alone any more.
func (s *Store) foldedAll() {
	s.folded()
	for _, h := range s.dirty {
		h.listed = false
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	s.journal.Reset()
	s.logged = 0
}

// folded notes in memory what the transaction has done in the database.
func (s *Store) folded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.folding {
		h := f.head
		for i := range h.tail {
			s.tails -= h.tail[i].Len()
		}
		h.tail, h.topic, h.dirty = nil, nil, false
		if h.unswept = !f.swept; h.unswept {
			s.addChore(chore{room: h.id, kind: choreSweep})
		}
	}
	clear(s.folding)
}

// foldRoom writes a room's blocks and its head.
func (s *Store) foldRoom(tx *bolt.Tx, room uint64, h *head) error {
	b := tx.Bucket(bucketLines).Bucket(u64(room))
	if b == nil {
		return fmt.Errorf("room %d has no lines bucket: %w", room, ErrNoRoom)
	}
	// Before the sweep: in a bucket whose pages have all been emptied in the
	// transaction Cursor.Last does not come back (bbolt 1.5).
	b.FillPercent = fillPercent
	if err := putTail(b, room, h); err != nil {
		return err
	}
	swept := !h.unswept
	if !swept {
		n, done, err := sweep(b, room, h.Trimmed, s.sweeps)
		if err != nil {
			return err
		}
		s.sweeps -= n
		swept = done
	}
	stored := *h
	stored.unswept = !swept
	if err := putHead(tx, room, &stored); err != nil {
		return err
	}
	if h.topic != nil {
		r, err := getRoom(tx, room)
		if err == nil {
			r.Topic = *h.topic
			err = putRoom(tx, r)
		}
		// A record that was damaged since the start keeps no topic; it must not
		// keep the lines of all rooms out.
		if err != nil && !errors.Is(err, errRecord) {
			return err
		}
	}
	s.folding = append(s.folding, foldedRoom{h, swept})
	return nil
}

// putTail writes the lines that are only in memory. A short block at the end of
// those in the database is filled up first.
func putTail(b *bolt.Bucket, room uint64, h *head) error {
	tail := h.tail
	for len(tail) > 0 && tail[0].Last <= h.Trimmed {
		tail = tail[1:]
	}
	if len(tail) == 0 {
		return nil
	}
	first := tail[0]
	if first.First <= h.Trimmed {
		first = first.After(h.Trimmed)
	}
	k, v := b.Cursor().Last()
	if k != nil && len(v)+first.Len() < block.Bytes+block.Head {
		if last, err := block.Decode(room, k, v); err == nil && last.Last > h.Trimmed {
			both := last.After(h.Trimmed)
			both.AddAll(&first, 0)
			if both.First != last.First {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
			first = both
		}
	}
	if err := b.Put(u64(first.First), first.Encode()); err != nil {
		return err
	}
	for i := range tail[1:] {
		if err := b.Put(u64(tail[1+i].First), tail[1+i].Encode()); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the lines up to trimmed, at most so many blocks. It tells how many
// there were; done is false if there may be more.
func sweep(b *bolt.Bucket, room, trimmed uint64, most int) (n int, done bool, err error) {
	c := b.Cursor()
	for n < most {
		k, v := c.First()
		if k == nil || seqOf(k) > trimmed {
			return n, true, nil
		}
		var rest block.Block
		if got, err := block.Decode(room, k, v); err == nil && got.Last > trimmed {
			rest = got.After(trimmed)
		} else if err != nil {
			if next, _ := c.Next(); next == nil || seqOf(next) > trimmed+1 {
				return n, true, nil // some of what cannot be read may be newer
			}
		}
		c.First()
		if err := c.Delete(); err != nil {
			return n, false, err
		}
		n++
		if rest.Lines > 0 {
			return n, true, b.Put(u64(rest.First), rest.Encode())
		}
	}
	return n, false, nil
}

// seqOf is the sequence number in a key. A key that is none is 0.
func seqOf(k []byte) uint64 {
	if len(k) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

// trim hides the oldest lines of a room as far as c says: from now on nobody
// sees them, and with the next fold they go from the database. It looks at no
// more than sweepBlocks blocks; more is true if that was not enough.
func (s *Store) trim(c chore, view func(func(*bolt.Tx) error) error) (more bool, blocks int, err error) {
	h := s.heads[c.room]
	if h == nil {
		return false, 0, nil
	}
	to, most := *h, s.bounds(h)
	if c.kind == choreTrim && !most.exceeded(h.Lines, h.Bytes) {
		return false, 0, nil
	}
	stop, damaged := false, false
	look := func(b *block.Block) {
		blocks++
		if c.kind == choreTrim && b.First > to.Trimmed && to.Lines >= uint64(b.Lines) && to.Bytes >= uint64(b.Size) &&
			most.exceeded(to.Lines-uint64(b.Lines)+1, to.Bytes-uint64(b.Size)+1) {
			to.Trimmed = b.Last
			to.Lines -= uint64(b.Lines)
			to.Bytes -= uint64(b.Size)
			return
		}
		for sc := b.Scan(); sc.Next(); {
			if sc.Seq <= to.Trimmed {
				continue
			}
			if stop = c.kind == choreTrim && !most.exceeded(to.Lines, to.Bytes) || c.kind == choreAge && sc.Micros >= c.before; stop {
				return
			}
			to.Trimmed = sc.Seq
			to.Lines--
			to.Bytes -= sc.Weight()
		}
	}
	err = view(blocksOf(c.room, &recent{}, func(cur *bolt.Cursor) {
		k, v := seekLast(cur, to.Trimmed+1)
		if k == nil {
			k, v = cur.First()
		}
		for ; k != nil && !stop && !more; k, v = cur.Next() {
			if b, err := block.Decode(c.room, k, v); err == nil {
				look(&b)
			} else {
				damaged = true
			}
			more = blocks >= sweepBlocks
		}
		if damaged {
			to.recount(c.room, cur)
		}
	}))
	for i := 0; err == nil && i < len(h.tail) && !stop && !more; i++ {
		look(&h.tail[i])
	}
	if err != nil || to.Trimmed == h.Trimmed && !damaged {
		return false, blocks, err
	}
	s.mu.Lock()
	h.Trimmed, h.Lines, h.Bytes, h.unswept = to.Trimmed, to.Lines, to.Bytes, true
	gone := 0
	for ; gone < len(h.tail) && h.tail[gone].Last <= h.Trimmed; gone++ {
		s.tails -= h.tail[gone].Len()
	}
	if gone > 0 { // a copy: readers keep what they have, and we nothing of what is gone
		h.tail = slices.Clone(h.tail[gone:])
	}
	s.mu.Unlock()
	s.soil(h)
	return more, blocks, nil
}

// recount counts the lines that can be read: some cannot.
func (h *head) recount(room uint64, cur *bolt.Cursor) {
	h.Lines, h.Bytes = 0, 0
	count := func(b *block.Block) {
		for sc := b.Scan(); sc.Next(); {
			if sc.Seq > h.Trimmed {
				h.Lines++
				h.Bytes += sc.Weight()
			}
		}
	}
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if b, err := block.Decode(room, k, v); err == nil && b.Last > h.Trimmed {
			count(&b)
		}
	}
	for i := range h.tail {
		count(&h.tail[i])
	}
}
