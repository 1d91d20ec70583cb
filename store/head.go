package store

import (
	"encoding/binary"
	"fmt"
	"math"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

// head has in memory what is needed of a room without reading the file. Its counts
// are written by the committer only, under Store.mu.
type head struct {
	Stat
	settings Settings      // of the room; for retention
	tail     []block.Block // the newest lines: in the WAL, not in the database
	topic    *string       // the newest topic in tail; nil: the one in the database

	// Owned by the committer.
	id          uint64
	assigned    uint64 // the newest sequence number given in the batch
	batch       uint64 // the newest batch with lines of the room
	newest      int64  // the time of the newest line, in microseconds: no later one is before it
	timed       bool   // newest knows of the lines in the database
	dirty       bool   // the head differs from the one in the database
	listed      bool   // it is in checkpoint.dirty
	unreclaimed bool   // lines up to Removed may be in the database
}

// headBytes is the length of a head on disk without its checksum: four numbers and a
// byte of flags.
const headBytes = 33

func putHead(tx *bolt.Tx, room uint64, h *head) error {
	b := make([]byte, 0, headBytes+4)
	for _, n := range []uint64{h.Last, h.Lines, h.Bytes, h.Removed} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if b = append(b, 0); h.unreclaimed {
		b[headBytes-1] = 1
	}
	return tx.Bucket(bucketHeads).Put(u64(room), seal(u64(room), b))
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
		Stat: Stat{
			Last:    binary.BigEndian.Uint64(b),
			Lines:   binary.BigEndian.Uint64(b[8:]),
			Bytes:   binary.BigEndian.Uint64(b[16:]),
			Removed: binary.BigEndian.Uint64(b[24:]),
		},
		id:          room,
		unreclaimed: b[32] != 0,
	}, nil
}

// add appends a line to the tail of a room, and returns the memory that it takes.
func (h *head) add(room uint64, l *Line) int {
	if n := len(h.tail); n == 0 || h.tail[n-1].Full() {
		h.tail = append(h.tail, block.Block{Room: room})
	}
	b := &h.tail[len(h.tail)-1]
	before := b.Len()
	micros := l.Time.UnixMicro()
	b.Add(l.Seq, micros, l.Kind, l.From, l.Text)
	h.newest = max(h.newest, micros)
	h.Last = l.Seq
	h.Lines++
	h.Bytes += block.Weight(len(l.From), len(l.Text))
	if l.Kind == Topic {
		text := l.Text
		h.topic = &text
	}
	return b.Len() - before
}

// newestTime returns the time of the newest line that a room has or had since the store was
// opened, in microseconds since 1970. The head on disk does not tell it: the first call for a
// room reads a block. If that fails, a later call reads it.
func (s *Store) newestTime(h *head) int64 {
	if h.timed {
		return h.newest
	}
	err := s.viewBlocks(h.id, &recent{}, func(c *bolt.Cursor) {
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			if b, err := block.Decode(h.id, k, v); err == nil {
				h.newest = max(h.newest, b.End)
				return
			}
		}
	})
	h.timed = err == nil
	return h.newest
}

// recount counts the lines that can be read, when corrupt blocks make the counts wrong.
func (st *Stat) recount(room uint64, cur *bolt.Cursor, tail []block.Block) {
	st.Lines, st.Bytes = 0, 0
	count := func(b *block.Block) {
		for sc := b.Scan(); sc.Next(); {
			if sc.Seq > st.Removed {
				st.Lines++
				st.Bytes += sc.Weight()
			}
		}
	}
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if b, err := block.Decode(room, k, v); err == nil && b.Last > st.Removed {
			count(&b)
		}
	}
	for i := range tail {
		count(&tail[i])
	}
}

// recent is a snapshot of a room's lines that are in memory.
type recent struct {
	deleted bool
	removed uint64
	first   uint64 // sequence number in the tail; the lines before it are in the database
	tail    []block.Block
}

// recent must be called before the database is read: lines that a checkpoint moves
// meanwhile are then found in both places, and not in none.
func (s *Store) recent(room uint64) (r recent) {
	r.first = math.MaxUint64
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heads[room]
	if r.deleted = h == nil; r.deleted {
		return r
	}
	r.removed = h.Removed
	if n := len(h.tail); n > 0 {
		// Only the last block changes, and only behind its end.
		r.tail = h.tail[: n-1 : n-1]
		r.tail = append(r.tail, h.tail[n-1])
		r.first = r.tail[0].First
	}
	return r
}

func (s *Store) setHead(room uint64, h *head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h == nil {
		delete(s.heads, room)
		return
	}
	s.heads[room] = h
}
