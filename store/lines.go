package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Kind is what a line in the history is.
type Kind uint8

const (
	Message Kind = 1 + iota
	Action
	Topic // Text is the room's new topic; the store keeps it in the room too
)

// Line is one line of a room's history. Seq grows within a room, never
// repeats, survives restarts, and need not be consecutive. Time is UTC with
// the precision of a microsecond.
type Line struct {
	Seq  uint64
	Time time.Time
	Kind Kind
	From string // the nick
	Text string
}

// encode gives the value of a line: time in microseconds (8), kind (1), length
// of the nick (1), nick, text.
func (l *Line) encode() []byte {
	b := make([]byte, 0, 10+len(l.From)+len(l.Text))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Time.UnixMicro()))
	b = append(b, byte(l.Kind), byte(len(l.From)))
	b = append(b, l.From...)
	return append(b, l.Text...)
}

var errLine = errors.New("a line's record is damaged")

func decodeLine(k, v []byte) (Line, error) {
	if len(k) != 8 || len(v) < 10 || len(v) < 10+int(v[9]) || v[8] < byte(Message) || v[8] > byte(Topic) {
		return Line{}, errLine
	}
	nick := 10 + int(v[9])
	return Line{
		Seq:  binary.BigEndian.Uint64(k),
		Time: time.UnixMicro(int64(binary.BigEndian.Uint64(v))).UTC(),
		Kind: Kind(v[8]),
		From: string(v[10:nick]),
		Text: string(v[nick:]),
	}, nil
}

// Lines returns the lines of a room with after < Seq <= upto, oldest first, as
// many as fit into about maxBytes and at least one if there is one. Records
// that do not decode are left out.
func (s *Store) Lines(room, after, upto uint64, maxBytes int) ([]Line, error) {
	if after >= upto {
		return nil, nil
	}
	if err := s.settle(room, upto); err != nil {
		return nil, err
	}
	var lines []Line
	err := s.viewLines(room, func(c *bolt.Cursor) {
		size := 0
		for k, v := c.Seek(u64(after + 1)); k != nil && binary.BigEndian.Uint64(k) <= upto && (size == 0 || size < maxBytes); k, v = c.Next() {
			if l, err := decodeLine(k, v); err == nil {
				lines = append(lines, l)
				size += len(v)
			}
		}
	})
	return lines, err
}

// Newest finds the newest n lines with Seq <= upto: they are those after the
// sequence number that it returns, and there are count of them, fewer than n
// if the room has no more.
func (s *Store) Newest(room, upto uint64, n int) (after uint64, count int, err error) {
	if n <= 0 {
		return upto, 0, nil
	}
	if err := s.settle(room, upto); err != nil {
		return 0, 0, err
	}
	after = upto
	err = s.viewLines(room, func(c *bolt.Cursor) {
		k, v := seekLast(c, upto)
		for ; k != nil && count < n; k, v = c.Prev() {
			if _, err := decodeLine(k, v); err == nil {
				after = binary.BigEndian.Uint64(k) - 1
				count++
			}
		}
	})
	return after, count, err
}

// seekLast moves to the last line with Seq <= upto.
func seekLast(c *bolt.Cursor, upto uint64) (k, v []byte) {
	if upto == math.MaxUint64 {
		return c.Last()
	}
	if k, _ = c.Seek(u64(upto + 1)); k == nil {
		return c.Last()
	}
	return c.Prev()
}

func (s *Store) viewLines(room uint64, fn func(*bolt.Cursor)) error {
	return s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketLines).Bucket(u64(room))
		if b == nil {
			return ErrNoRoom
		}
		fn(b.Cursor())
		return nil
	})
}

// settle makes sure that the lines up to upto which were delivered are on
// disk, where readers look: with Relaxed they may not be yet.
func (s *Store) settle(room, upto uint64) error {
	s.mu.Lock()
	h := s.heads[room]
	behind := h != nil && h.written < min(upto, h.Last)
	s.mu.Unlock()
	if behind {
		return s.Flush()
	}
	return nil
}

// checkTx compares heads with lines.
func checkTx(tx *bolt.Tx) error {
	var errs []error
	for err := range tx.Check() {
		errs = append(errs, err)
	}
	ports := make(map[int]uint64)
	err := tx.Bucket(bucketRooms).ForEach(func(k, v []byte) error {
		r, err := decodeRoom(k, v)
		if err != nil {
			return err
		}
		if r.Deleted.IsZero() {
			if other := ports[r.Port]; other != 0 {
				errs = append(errs, fmt.Errorf("rooms %d and %d have the same port %d", other, r.ID, r.Port))
			}
			ports[r.Port] = r.ID
			if id := tx.Bucket(bucketNames).Get([]byte(r.Key)); string(id) != string(k) {
				errs = append(errs, fmt.Errorf("room %q: its name leads to room %x", r.Name, id))
			}
			if use, ok := decodePort(tx.Bucket(bucketPorts).Get(portKey(r.Port))); !ok || use.room != r.ID {
				errs = append(errs, fmt.Errorf("room %q: its port %d leads to room %d", r.Name, r.Port, use.room))
			}
		}
		h, err := decodeHead(tx.Bucket(bucketHeads).Get(k))
		if err != nil {
			errs = append(errs, fmt.Errorf("room %q: %w", r.Name, err))
			return nil
		}
		b := tx.Bucket(bucketLines).Bucket(k)
		if b == nil {
			errs = append(errs, fmt.Errorf("room %q has no lines bucket", r.Name))
			return nil
		}
		var lines, bytes uint64
		err = b.ForEach(func(k, v []byte) error {
			l, err := decodeLine(k, v)
			if err != nil || l.Seq > h.Last || l.Seq <= h.Trimmed {
				errs = append(errs, fmt.Errorf("room %q: line %x: not between %d and %d, or damaged", r.Name, k, h.Trimmed, h.Last))
			}
			lines++
			bytes += uint64(len(k) + len(v))
			return nil
		})
		if lines != h.Lines || bytes != h.Bytes {
			errs = append(errs, fmt.Errorf("room %q has %d lines of %d bytes, its head says %d of %d", r.Name, lines, bytes, h.Lines, h.Bytes))
		}
		return err
	})
	return errors.Join(append(errs, err)...)
}
