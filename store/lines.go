package store

import (
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

// Line is one line of a room's history.
type Line = block.Line

// Kind is the kind of a line. The text of a Topic is the room's new topic, which the
// store writes into the room's record, too.
type Kind = block.Kind

const (
	Message = block.Message
	Action  = block.Action
	Topic   = block.Topic
	Notice  = block.Notice
)

// Lines returns the lines of a room with after < Seq <= upto, oldest first, as many as
// fit into about maxBytes and at least one if there is one. Corrupt blocks are skipped,
// and counted in CorruptReads.
func (s *Store) Lines(room, after, upto uint64, maxBytes int) ([]Line, error) {
	lines, _, err := s.LinesSkipped(room, after, upto, maxBytes)
	return lines, err
}

// LinesSkipped is Lines, and returns how many corrupt blocks were skipped.
func (s *Store) LinesSkipped(room, after, upto uint64, maxBytes int) (lines []Line, skipped int, err error) {
	if after >= upto {
		return nil, 0, nil
	}
	r := s.recent(room)
	size := 0
	// take returns false when the lines are complete.
	take := func(b *block.Block, upto uint64) bool {
		whole := ""
		for sc := b.Scan(); sc.Next(); {
			if sc.Seq <= after || sc.Seq <= r.removed {
				continue
			}
			if sc.Seq > upto || size > 0 && size >= maxBytes {
				return false
			}
			if whole == "" {
				whole = sc.Whole()
			}
			lines = append(lines, sc.Line(whole))
			size += int(sc.Weight()) - 8
		}
		return size == 0 || size < maxBytes
	}
	more := true
	if after+1 < r.first {
		err = s.viewBlocks(room, &r, func(c *bolt.Cursor) {
			most := min(upto, r.first-1)
			k, v := seekLast(c, max(after, r.removed)+1)
			if k == nil {
				k, v = c.First()
			}
			for ; k != nil && more && seqOf(k) <= most; k, v = c.Next() {
				if b, err := block.Decode(room, k, v); err == nil {
					more = take(&b, most)
				} else {
					s.countBlock(room)
					skipped++
				}
			}
		})
		more = size == 0 || size < maxBytes
	}
	for i := 0; err == nil && more && i < len(r.tail) && r.tail[i].First <= upto; i++ {
		more = take(&r.tail[i], upto)
	}
	return lines, skipped, err
}

// scanBytes bounds the blocks that one read transaction reads: while it is open, bbolt
// cannot reuse the pages that are freed.
const scanBytes = 4 << 20

// Newest finds the newest n lines with Seq <= upto: they are those after the returned
// sequence number, and there are count of them, fewer than n if the room has no more.
// Of blocks that belong to the result as a whole it reads the headers only. It reads
// scanBytes of blocks at most; more says that it has found fewer than n so far, and that
// the caller can go on with upto = after.
func (s *Store) Newest(room, upto uint64, n int) (after uint64, count int, more bool, err error) {
	if n <= 0 {
		return upto, 0, false, nil
	}
	r := s.recent(room)
	after = upto
	var seqs []uint64
	take := func(b *block.Block, upto uint64) {
		if b.Last <= upto && b.First > r.removed && int(b.Lines) <= n-count {
			count += int(b.Lines)
			after = b.First - 1
			return
		}
		seqs = seqs[:0]
		for sc := b.Scan(); sc.Next() && sc.Seq <= upto; {
			if sc.Seq > r.removed {
				seqs = append(seqs, sc.Seq)
			}
		}
		for i := len(seqs) - 1; i >= 0 && count < n; i-- {
			after = seqs[i] - 1
			count++
		}
	}
	for i := len(r.tail) - 1; i >= 0 && count < n; i-- {
		take(&r.tail[i], upto)
	}
	if count == n {
		return after, count, false, nil
	}
	err = s.viewBlocks(room, &r, func(c *bolt.Cursor) {
		most := min(upto, r.first-1)
		size, seen := 0, after+1
		for k, v := seekLast(c, most); k != nil && count < n; k, v = c.Prev() {
			if more = size >= scanBytes; more {
				after = min(after, seen-1)
				break
			}
			size, seen = size+len(v), seqOf(k)
			b, err := block.Decode(room, k, v)
			if err != nil {
				s.countBlock(room)
				continue
			}
			if b.Last <= r.removed {
				break
			}
			take(&b, most)
		}
	})
	return after, count, more, err
}

// LinesBackward returns the lines of a room with after < Seq <= upto, the newest first: the
// newest that there are, whole blocks of about maxBytes together. after is 0 if there are no
// older ones; else the caller goes on with upto = after. Corrupt blocks are skipped and
// counted.
func (s *Store) LinesBackward(room, upto uint64, maxBytes int) (lines []Line, after uint64, skipped int, err error) {
	r := s.recent(room)
	size := 0
	// take returns false when the lines are complete.
	take := func(b *block.Block, upto uint64) bool {
		n, whole := len(lines), ""
		for sc := b.Scan(); sc.Next() && sc.Seq <= upto; {
			if sc.Seq <= r.removed {
				continue
			}
			if whole == "" {
				whole = sc.Whole()
			}
			lines = append(lines, sc.Line(whole))
		}
		slices.Reverse(lines[n:])
		size += b.Len()
		if after = b.First - 1; after <= r.removed {
			after = 0
		}
		return after > 0 && size < maxBytes
	}
	for i := len(r.tail) - 1; i >= 0; i-- {
		if r.tail[i].First <= upto && !take(&r.tail[i], upto) {
			return lines, after, 0, nil
		}
	}
	err = s.viewBlocks(room, &r, func(c *bolt.Cursor) {
		after = 0
		most := min(upto, r.first-1)
		for k, v := seekLast(c, most); k != nil; k, v = c.Prev() {
			b, err := block.Decode(room, k, v)
			if err == nil {
				if b.Last <= r.removed {
					after = 0
					return
				}
				if !take(&b, most) {
					return
				}
				continue
			}
			s.countBlock(room)
			skipped++
			if size += len(v); size >= maxBytes { // many corrupt blocks are not one read
				after = seqOf(k) - 1
				return
			}
		}
		after = 0
	})
	return lines, after, skipped, err
}

// NewestBefore returns the sequence number of the newest line of a room with Time < t; 0:
// there is none. It reads about as many blocks as the numbers of the room have binary
// digits. Where times decrease, in a room that an older roomd has written while its clock
// was set back, it is a line with Time < t that ends the room or that one with Time >= t follows.
func (s *Store) NewestBefore(room uint64, t time.Time) (seq uint64, err error) {
	r := s.recent(room)
	micros := t.Add(time.Microsecond - 1).UnixMicro() // a line has whole microseconds: Time < micros
	take := func(b *block.Block, upto uint64) {
		for sc := b.Scan(); sc.Next() && sc.Seq <= upto && sc.Micros < micros; {
			if sc.Seq > r.removed {
				seq = sc.Seq
			}
		}
	}
	for i := len(r.tail) - 1; i >= 0; i-- {
		if r.tail[i].Start() < micros {
			take(&r.tail[i], math.MaxUint64)
			return seq, nil // 0: it is removed, and so are those before it
		}
	}
	err = s.viewBlocks(room, &r, func(c *bolt.Cursor) {
		most := r.first - 1
		first, _ := c.First()
		last, _ := c.Last()
		if first == nil {
			return
		}
		// Blocks with keys up to low begin before t, or cannot be read; those above high do not.
		var newest block.Block
		for low, high := seqOf(first)-1, min(seqOf(last), most); low < high; {
			mid := low + (high-low+1)/2
			b, ok := s.lastBlock(c, room, low, mid)
			if ok && b.Start() >= micros {
				high = b.First - 1
				continue
			}
			if low = mid; ok {
				newest = b
			}
		}
		if newest.Lines > 0 {
			take(&newest, most)
		}
	})
	return seq, err
}

// lastBlock returns the last block with after < key <= upto that is not corrupt.
func (s *Store) lastBlock(c *bolt.Cursor, room, after, upto uint64) (b block.Block, ok bool) {
	for k, v := seekLast(c, upto); k != nil && seqOf(k) > after; k, v = c.Prev() {
		b, err := block.Decode(room, k, v)
		if err == nil {
			return b, true
		}
		s.countBlock(room)
	}
	return b, false
}

// seekLast moves to the last key that is not above a number.
func seekLast(c *bolt.Cursor, upto uint64) (k, v []byte) {
	if upto == math.MaxUint64 {
		return c.Last()
	}
	if k, _ = c.Seek(u64(upto + 1)); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// viewBlocks calls fn with a cursor over a room's blocks in the database.
func (s *Store) viewBlocks(room uint64, r *recent, fn func(*bolt.Cursor)) error {
	return s.file.view(blocksOf(room, r, fn))
}

// blocksOf returns the read transaction of viewBlocks. If the room is deleted, it sets
// r.removed first.
func blocksOf(room uint64, r *recent, fn func(*bolt.Cursor)) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketLines).Bucket(u64(room))
		if b == nil {
			return ErrNoRoom
		}
		if r.deleted {
			h, err := getHead(tx, room)
			if err != nil {
				return err
			}
			r.removed = h.Removed
		}
		fn(b.Cursor())
		return nil
	}
}
