package store

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

// exportRecord is a line of an export: a room, or a line of the room before it.
type exportRecord struct {
	Room *Room     `json:"room,omitempty"`
	Last uint64    `json:"last,omitempty"` // with Room: the newest number it has given
	Seq  uint64    `json:"seq,omitempty"`
	Time time.Time `json:"time,omitzero"`
	Kind string    `json:"kind,omitempty"`
	From string    `json:"from,omitempty"`
	Text string    `json:"text,omitempty"`
}

// importBatchLines is how many lines an import brings to disk at once.
const importBatchLines = 10_000

// Export writes rooms with their lines after a number as JSON, one object a
// line: a room, then its lines. want says of each room whether it is wanted.
// progress, if not nil, is called after each few lines with how many there were.
// If there are damaged blocks it writes everything else, and the error is
// ErrDamaged.
func (s *Store) Export(w io.Writer, want func(Room) bool, after uint64, progress func(lines uint64)) error {
	rooms, err := s.Rooms()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	n, left := uint64(0), 0
	for _, r := range rooms {
		if !want(r) {
			continue
		}
		st, err := s.Stat(r.ID)
		if err != nil {
			return err
		}
		r.Imports, r.Plan = 0, nil // they are of this database
		if err := enc.Encode(exportRecord{Room: &r, Last: st.Last}); err != nil {
			return err
		}
		for at := after; ; {
			lines, damaged, err := s.LinesDamaged(r.ID, at, st.Last, 1<<18)
			if err != nil {
				return errors.Join(err, out.Flush())
			}
			left += damaged
			if len(lines) == 0 {
				break
			}
			for _, l := range lines {
				if err := enc.Encode(exportRecord{Seq: l.Seq, Time: l.Time, Kind: l.Kind.String(), From: l.From, Text: l.Text}); err != nil {
					return err
				}
				at = l.Seq
			}
			if n += uint64(len(lines)); progress != nil {
				progress(n)
			}
		}
	}
	if err := out.Flush(); err != nil || left == 0 {
		return err
	}
	return fmt.Errorf("%w: blocks of lines that are left out: %d", ErrCorrupt, left)
}

// ErrCorrupt is returned if not everything could be read.
var ErrCorrupt = errors.New("the history is damaged")

// Import reads what Export has written into a store that is started and that
// nobody else uses. A room whose name is there already is added to: lines that
// it has are left out, so that an import which was cut off can be done again.
// key gives what names are compared by, and clean (nil: none) makes each line and
// each topic fit to be shown, whatever the file has. It returns how many rooms it
// has made and how many lines it has added.
func (s *Store) Import(r io.Reader, key func(name string) (string, error), clean func(*Line), progress func(lines uint64)) (rooms int, lines uint64, err error) {
	there, err := s.Rooms()
	if err != nil {
		return 0, 0, err
	}
	ids := make(map[string]uint64)
	for _, r := range there {
		ids[r.Key] = r.ID
	}
	room, last := uint64(0), uint64(0)
	counted := false // that lines were imported into the room
	var batch []Line
	put := func() error {
		if !counted {
			// Before them: numbers that a reader remembers hold no longer.
			newest, err := s.newestSeq(room)
			if err != nil {
				return err
			}
			if counted = slices.ContainsFunc(batch, func(l Line) bool { return l.Seq > newest }); counted {
				if _, err := s.Update(room, Edit{Imported: true}); err != nil {
					return err
				}
			}
		}
		n, err := s.importBatch(room, batch, last)
		lines += n
		batch = batch[:0]
		if progress != nil {
			progress(lines)
		}
		return err
	}
	dec := json.NewDecoder(r)
	for n := 1; ; n++ {
		var rec exportRecord
		if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return rooms, lines, fmt.Errorf("record %d: %w", n, err)
		}
		if rec.Room == nil {
			l, err := rec.line()
			if err == nil && room == 0 {
				err = errors.New("a line without a room before it")
			}
			if err != nil {
				return rooms, lines, fmt.Errorf("record %d: %w", n, err)
			}
			if clean != nil {
				clean(&l)
			}
			if batch = append(batch, l); len(batch) < importBatchLines {
				continue
			}
		}
		if room != 0 {
			if err := put(); err != nil {
				return rooms, lines, fmt.Errorf("record %d: %w", n, err)
			}
		}
		if rec.Room == nil {
			continue
		}
		if rec.Room.Key, err = key(rec.Room.Name); err != nil {
			return rooms, lines, fmt.Errorf("record %d: %w", n, err)
		}
		if clean != nil {
			topic := Line{Kind: Topic, Text: rec.Room.Topic}
			clean(&topic)
			rec.Room.Topic = topic.Text
		}
		id, ok := ids[rec.Room.Key]
		if !ok {
			r, err := s.Create(*rec.Room)
			if err != nil {
				return rooms, lines, fmt.Errorf("record %d: %w", n, err)
			}
			id = r.ID
			ids[r.Key] = id
			rooms++
		}
		room, last, counted = id, rec.Last, !ok // nobody has numbers of a new one
	}
	if room != 0 {
		err = put()
	}
	return rooms, lines, err
}

func (r *exportRecord) line() (l Line, err error) {
	l.Kind = block.ParseKind(r.Kind)
	if l.Kind == 0 || r.Seq == 0 || len(r.From) > 255 {
		return l, errors.New("this is neither a room nor a line")
	}
	l.Seq, l.Time, l.From, l.Text = r.Seq, r.Time.UTC().Truncate(time.Microsecond), r.From, r.Text
	return l, nil
}

// importBatch adds lines with the numbers that they have to a room, those apart that
// are not newer than what it has. After the last of them its next number is above
// last.
func (s *Store) importBatch(room uint64, lines []Line, last uint64) (added uint64, err error) {
	c := &task{checkpoint: true, then: func() {
		var newest uint64
		if newest, err = s.newestStored(room); err != nil {
			return
		}
		h := s.heads[room]
		was := h.Last
		s.mu.Lock()
		for i := range lines {
			if l := &lines[i]; l.Seq > newest {
				s.checkpoint.tailBytes += h.add(room, l)
				newest = l.Seq
				added++
			}
		}
		if h.Last = max(h.Last, was); len(lines) < importBatchLines { // those of the room have come to their end
			h.Last = max(h.Last, last)
		}
		s.mu.Unlock()
		s.checkpoint.markDirty(h)
		if err = s.runCheckpoint(); err != nil {
			added = 0 // they are not on disk, nor will they be
		}
	}}
	failed := s.do(c)
	return added, errors.Join(failed, err)
}

// newestSeq is the number of the newest line that a room has.
func (s *Store) newestSeq(room uint64) (newest uint64, err error) {
	c := &task{checkpoint: true, then: func() { newest, err = s.newestStored(room) }}
	failed := s.do(c)
	return newest, errors.Join(failed, err)
}

// newestStored is askNewest for the committer, when all is folded. It is not Last: what
// was cut off between two lines looked like the end.
func (s *Store) newestStored(room uint64) (newest uint64, err error) {
	h := s.heads[room]
	if h == nil {
		return 0, ErrNoRoom
	}
	newest = h.Removed
	err = s.viewBlocks(room, &recent{}, func(c *bolt.Cursor) {
		if k, v := c.Last(); k != nil {
			if b, err := block.Decode(room, k, v); err == nil {
				newest = max(newest, b.Last)
			} else {
				newest = h.Last
			}
		}
	})
	return newest, err
}
