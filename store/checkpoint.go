package store

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

const (
	// checkpointBytes bounds the lines that are only in the WAL, over all rooms: it is
	// the memory that they take, and about what Open reads after a crash.
	checkpointBytes = 4 << 20
	// maxWALBytes bounds the WAL where lines leave memory before a checkpoint, as
	// their rooms keep only a few.
	maxWALBytes = 4 * checkpointBytes
	// idleAfter is the time without a new line after which a checkpoint runs.
	idleAfter = 5 * time.Second
	// fillPercent is for keys that only grow: pages are split nearly full.
	fillPercent = 0.95
	// jobBlocks bounds the blocks that one step of a job reads or removes, so that
	// lines which arrive meanwhile do not wait for long.
	jobBlocks = 256
)

// checkpoint knows which lines are in the WAL and in memory, and not in the database.
//
// Owned by the committer.
type checkpoint struct {
	dirty         []*head // rooms that differ from the database
	tailBytes     int     // bytes of lines in memory that are only in the WAL
	written       []writtenRoom
	reclaimBudget int // blocks that the transaction may still remove
}

// writtenRoom is a room that a transaction has written.
type writtenRoom struct {
	head      *head
	reclaimed bool
}

// begin precedes each transaction that writes rooms.
func (c *checkpoint) begin() { c.written, c.reclaimBudget = c.written[:0], jobBlocks }

// runCheckpoint moves the lines that are only in the WAL into the database, and removes
// lines from it that retention has hidden: as many as are removed in one step.
func (s *Store) runCheckpoint() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.checkpointDirty()
}

// checkpointDirty is runCheckpoint without the lines that are not in the WAL yet.
func (s *Store) checkpointDirty() error {
	if len(s.checkpoint.dirty) == 0 && s.ids.Fresh() == 0 {
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
	if s.ids.Fresh() == 0 {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(bucketIDs) // an older file lacks it, until the disk has space
	if err != nil {
		return err
	}
	return s.ids.Write(b, time.Now())
}

// checkpointDone follows the commit of writeDirtyRooms: no line is only in the WAL.
func (s *Store) checkpointDone() {
	s.roomsWritten()
	if s.ids.Fresh() > 0 {
		s.ids.Reset()
		s.retention.mayExpire = true
	}
	for _, h := range s.checkpoint.dirty {
		h.listed = false
	}
	clear(s.checkpoint.dirty)
	s.checkpoint.dirty = s.checkpoint.dirty[:0]
	s.writer.wal.Reset()
	s.writer.walBytes = 0
}

// roomsWritten makes memory agree with a transaction that has written rooms.
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

// writeRoom writes a room's lines and its head.
func (s *Store) writeRoom(tx *bolt.Tx, room uint64, h *head) error {
	b := tx.Bucket(bucketLines).Bucket(u64(room))
	if b == nil {
		return fmt.Errorf("room %d has no lines bucket: %w", room, ErrNoRoom)
	}
	// Before reclaim: in a bucket whose pages have all been emptied in the
	// transaction Cursor.Last does not return (bbolt 1.5).
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
		// A record that has become corrupt since the start loses the topic. It must
		// not block the lines of all rooms.
		if err != nil && !errors.Is(err, errCorruptRecord) {
			return err
		}
	}
	s.checkpoint.written = append(s.checkpoint.written, writtenRoom{h, swept})
	return nil
}

// writeTail writes the lines that are only in memory. If the last block in the database
// is short, they are appended to it.
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
	err := b.Put(u64(first.First), first.Encode())
	for i := 1; err == nil && i < len(tail); i++ {
		err = b.Put(u64(tail[i].First), tail[i].Encode())
	}
	return err
}

// reclaim removes the lines up to a sequence number, at most so many blocks. It
// returns the number of these blocks; done is false if there may be more.
func reclaim(b *bolt.Bucket, room, upto uint64, most int) (n int, done bool, err error) {
	c := b.Cursor()
	for n < most {
		k, v := c.First()
		if k == nil || seqOf(k) > upto {
			return n, true, nil
		}
		var rest block.Block
		if got, err := block.Decode(room, k, v); err == nil && got.Last > upto {
			rest = got.After(upto)
		} else if err != nil {
			if next, _ := c.Next(); next == nil || seqOf(next) > upto+1 {
				return n, true, nil // some lines of the corrupt block may be newer
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

// markDirty notes that a room's head or lines are not in the database yet.
func (c *checkpoint) markDirty(h *head) {
	h.dirty = true
	if !h.listed {
		h.listed = true
		c.dirty = append(c.dirty, h)
	}
}
