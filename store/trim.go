package store

import (
	"slices"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

// trim hides the oldest lines of a room as far as c says: from now on nobody
// sees them, and with the next fold they go from the database. It looks at no
// more than sweepBlocks blocks; more is true if that was not enough.
func (s *Store) trim(c chore, view func(func(*bolt.Tx) error) error) (more bool, blocks int, err error) {
	h := s.heads[c.room]
	if h == nil {
		return false, 0, nil
	}
	to, most := *h, s.retention.bounds(h)
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
		s.checkpoint.tails -= h.tail[gone].Len()
	}
	if gone > 0 { // a copy: readers keep what they have, and we nothing of what is gone
		h.tail = slices.Clone(h.tail[gone:])
	}
	s.mu.Unlock()
	s.checkpoint.soil(h)
	return more, blocks, nil
}
