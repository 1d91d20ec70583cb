package store

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

const (
	// checkpointBytes bounds the lines that are only in the journal, over all rooms:
	// it is the memory that they take, and what Open reads after a crash.
	checkpointBytes = 4 << 20
	// maxWALBytes bounds the journal where lines leave the memory before they are
	// folded, as a room keeps few.
	maxWALBytes = 4 * checkpointBytes
	// idleAfter is how long nobody has said anything when they are folded, however
	// few they are.
	idleAfter = 5 * time.Second
	// fillPercent is for keys that only ever grow: pages are split nearly full.
	fillPercent = 0.95
	// jobBlocks bounds the blocks that one step of housekeeping looks at or
	// removes, so that lines which arrive meanwhile do not wait for long.
	jobBlocks = 256
)

// checkpoint is what the database lacks of what is in the journal and in memory.
//
// Owned by the committer.
type checkpoint struct {
	dirty         []*head // rooms that differ from the database
	tailBytes     int     // bytes of lines in memory that are only in the journal
	written       []writtenRoom
	reclaimBudget int // blocks that the transaction may yet take out
}

// writtenRoom is a room that a transaction has folded.
type writtenRoom struct {
	head      *head
	reclaimed bool
}

// begin precedes each transaction that folds.
func (c *checkpoint) begin() { c.written, c.reclaimBudget = c.written[:0], jobBlocks }

// runCheckpoint brings the lines that are only in the journal into the database, and
// takes what retention has hidden out of it: as much as is done in one step.
func (s *Store) runCheckpoint() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.checkpointDirty()
}

func (s *Store) checkpointDirty() error {
	if len(s.checkpoint.dirty) == 0 {
		return nil
	}
	s.checkpoint.begin()
	err := s.transact(func(tx *bolt.Tx) error {
		if err := s.writeDirtyRooms(tx); err != nil {
			return err
		}
		return s.putWALKey(tx)
	})
	if err != nil {
		return err
	}
	s.checkpointDone()
	return nil
}

func (s *Store) writeDirtyRooms(tx *bolt.Tx) error {
	for _, h := range s.checkpoint.dirty {
		if h.dirty && s.heads[h.id] == h { // it is not deleted
			if err := s.writeRoom(tx, h.id, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkpointDone is folded after foldAll: nothing is in the journal alone any more.
func (s *Store) checkpointDone() {
	s.roomsWritten()
	for _, h := range s.checkpoint.dirty {
		h.listed = false
	}
	clear(s.checkpoint.dirty)
	s.checkpoint.dirty = s.checkpoint.dirty[:0]
	s.writer.wal.Reset()
	s.writer.walBytes = 0
}

// roomsWritten notes in memory what the transaction has done in the database.
func (s *Store) roomsWritten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.checkpoint.written {
		h := f.head
		for i := range h.tail {
			s.checkpoint.tailBytes -= h.tail[i].Len()
		}
		h.tail, h.topic, h.dirty = nil, nil, false
		if h.unreclaimed = !f.reclaimed; h.unreclaimed {
			s.retention.addJob(job{room: h.id, kind: jobReclaim})
		}
	}
	clear(s.checkpoint.written)
}

// writeRoom writes a room's blocks and its head.
func (s *Store) writeRoom(tx *bolt.Tx, room uint64, h *head) error {
	b := tx.Bucket(bucketLines).Bucket(u64(room))
	if b == nil {
		return fmt.Errorf("room %d has no lines bucket: %w", room, ErrNoRoom)
	}
	// Before the sweep: in a bucket whose pages have all been emptied in the
	// transaction Cursor.Last does not come back (bbolt 1.5).
	b.FillPercent = fillPercent
	if err := writeTail(b, room, h); err != nil {
		return err
	}
	swept := !h.unreclaimed
	if !swept {
		n, done, err := reclaim(b, room, h.Removed, s.checkpoint.reclaimBudget)
		if err != nil {
			return err
		}
		s.checkpoint.reclaimBudget -= n
		swept = done
	}
	stored := *h
	stored.unreclaimed = !swept
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
		if err != nil && !errors.Is(err, errCorruptRecord) {
			return err
		}
	}
	s.checkpoint.written = append(s.checkpoint.written, writtenRoom{h, swept})
	return nil
}

// writeTail writes the lines that are only in memory. A short block at the end of
// those in the database is filled up first.
func writeTail(b *bolt.Bucket, room uint64, h *head) error {
	tail := h.tail
	for len(tail) > 0 && tail[0].Last <= h.Removed {
		tail = tail[1:]
	}
	if len(tail) == 0 {
		return nil
	}
	first := tail[0]
	if first.First <= h.Removed {
		first = first.After(h.Removed)
	}
	k, v := b.Cursor().Last()
	if k != nil && len(v)+first.Len() < block.TargetBytes+block.HeaderBytes {
		if last, err := block.Decode(room, k, v); err == nil && last.Last > h.Removed {
			both := last.After(h.Removed)
			both.AppendAfter(&first, 0)
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

// reclaim removes the lines up to trimmed, at most so many blocks. It tells how many
// there were; done is false if there may be more.
func reclaim(b *bolt.Bucket, room, trimmed uint64, most int) (n int, done bool, err error) {
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

// markDirty notes that a room's head, or lines, are not in the database yet.
func (c *checkpoint) markDirty(h *head) {
	h.dirty = true
	if !h.listed {
		h.listed = true
		c.dirty = append(c.dirty, h)
	}
}
