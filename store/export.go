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

// exportRecord is one JSON object of an export: a room, or a line of the last room
// before it.
type exportRecord struct {
	Room *Room     `json:"room,omitempty"`
	Last uint64    `json:"last,omitempty"` // with Room: its newest sequence number
	Seq  uint64    `json:"seq,omitempty"`
	Time time.Time `json:"time,omitzero"`
	Kind string    `json:"kind,omitempty"`
	// Notice is for a message: an older roomd, which does not know it, reads a message.
	Notice bool   `json:"notice,omitempty"`
	From   string `json:"from,omitempty"`
	Text   string `json:"text,omitempty"`
}

// importBatchLines is how many lines an import writes in one transaction.
const importBatchLines = 10_000

// Export writes the rooms for which want returns true as JSON, one object a line: a
// room, then its lines after a sequence number. progress, if not nil, is called now and
// then with the number of lines so far. Corrupt blocks are skipped; then the error is
// ErrCorrupt, and everything else is written.
func (s *Store) Export(w io.Writer, want func(Room) bool, after uint64, progress func(lines uint64)) error {
	rooms, err := s.Rooms()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	n, skipped := uint64(0), 0
	for _, r := range rooms {
		if !want(r) {
			continue
		}
		st, err := s.Stat(r.ID)
		if err != nil {
			return err
		}
		r.Imports, r.Plan = 0, nil // they belong to this database
		if err := enc.Encode(exportRecord{Room: &r, Last: st.Last}); err != nil {
			return err
		}
		for at := after; ; {
			lines, corrupt, err := s.LinesSkipped(r.ID, at, st.Last, 1<<18)
			if err != nil {
				return errors.Join(err, out.Flush())
			}
			skipped += corrupt
			if len(lines) == 0 {
				break
			}
			for _, l := range lines {
				if err := enc.Encode(exportRecord{Seq: l.Seq, Time: l.Time, Kind: l.Kind.String(), Notice: l.Kind == Notice, From: l.From, Text: l.Text}); err != nil {
					return err
				}
				at = l.Seq
			}
			if n += uint64(len(lines)); progress != nil {
				progress(n)
			}
		}
	}
	if err := out.Flush(); err != nil || skipped == 0 {
		return err
	}
	return fmt.Errorf("%w: blocks of lines that were skipped: %d", ErrCorrupt, skipped)
}

// ErrCorrupt is in the error of a read that has skipped corrupt blocks.
var ErrCorrupt = errors.New("the history is corrupt")

// Import reads what Export has written into a store that is started and that nobody
// else uses. Lines are added to a room with the same name if there is one; lines that
// it already has are skipped, so that an interrupted import can be done again. A line
// whose time is before that of the line before it gets that line's time. key
// returns the folded form of a name; clean (nil: none) makes each line and each topic
// fit to be shown, whatever the file contains. Import returns the number of new rooms
// and the number of new lines.
func (s *Store) Import(r io.Reader, key func(name string) (string, error), clean func(*Line), progress func(lines uint64)) (rooms int, lines uint64, err error) {
	there, err := s.Rooms()
	if err != nil {
		return 0, 0, err
	}
	im := importer{store: s, key: key, clean: clean, progress: progress, ids: make(map[string]uint64)}
	for _, r := range there {
		im.ids[r.Key] = r.ID
	}
	dec := json.NewDecoder(r)
	for n := 1; ; n++ {
		var rec exportRecord
		err := dec.Decode(&rec)
		if errors.Is(err, io.EOF) {
			return im.rooms, im.lines, im.flush()
		}
		if err == nil {
			err = im.add(&rec)
		}
		if err != nil {
			return im.rooms, im.lines, fmt.Errorf("record %d: %w", n, err)
		}
	}
}

// importer is a running Import.
type importer struct {
	store    *Store
	key      func(name string) (string, error)
	clean    func(*Line)
	progress func(lines uint64)

	ids   map[string]uint64 // of rooms, by folded name
	rooms int
	lines uint64

	room    uint64 // that the next lines belong to; 0: none yet
	last    uint64 // exportRecord.Last of the room
	counted bool   // the import is counted in the room's record
	batch   []Line
}

// add takes a record: a line goes into the batch, a room begins a new one.
func (im *importer) add(rec *exportRecord) error {
	if rec.Room == nil {
		l, err := rec.line()
		if err == nil && im.room == 0 {
			err = errors.New("a line without a room before it")
		}
		if err != nil {
			return err
		}
		if im.clean != nil {
			im.clean(&l)
		}
		if im.batch = append(im.batch, l); len(im.batch) < importBatchLines {
			return nil
		}
		return im.flush()
	}
	if err := im.flush(); err != nil {
		return err
	}
	r, err := *rec.Room, error(nil)
	if r.Key, err = im.key(r.Name); err != nil {
		return err
	}
	if im.clean != nil {
		topic := Line{Kind: Topic, Text: r.Topic}
		im.clean(&topic)
		r.Topic = topic.Text
	}
	id, exists := im.ids[r.Key]
	if !exists {
		if r, err = im.store.Create(r); err != nil {
			return err
		}
		id = r.ID
		im.ids[r.Key] = id
		im.rooms++
	}
	im.room, im.last, im.counted = id, rec.Last, !exists // nobody remembers numbers of a new room
	return nil
}

// flush brings the batch to disk.
func (im *importer) flush() error {
	if im.room == 0 {
		return nil
	}
	if !im.counted {
		// Before the lines: numbers that a reader remembers do not hold any more.
		newest, err := im.store.newestSeq(im.room)
		if err != nil {
			return err
		}
		if im.counted = slices.ContainsFunc(im.batch, func(l Line) bool { return l.Seq > newest }); im.counted {
			if _, err := im.store.Update(im.room, Edit{Imported: true}); err != nil {
				return err
			}
		}
	}
	n, err := im.store.importBatch(im.room, im.batch, im.last)
	im.lines += n
	im.batch = im.batch[:0]
	if im.progress != nil {
		im.progress(im.lines)
	}
	return err
}

func (r *exportRecord) line() (l Line, err error) {
	l.Kind = block.ParseKind(r.Kind)
	if l.Kind == 0 || r.Seq == 0 || len(r.From) > 255 {
		return l, errors.New("this is neither a room nor a line")
	}
	if l.Kind == Message && r.Notice {
		l.Kind = Notice
	}
	l.Seq, l.Time, l.From, l.Text = r.Seq, r.Time.UTC().Truncate(time.Microsecond), r.From, r.Text
	return l, nil
}

// importBatch adds lines to a room with the sequence numbers that they have. Lines that
// are not newer than the newest of the room are skipped. A batch that is not full is the
// last one: the next number that the room gives is above last.
func (s *Store) importBatch(room uint64, lines []Line, last uint64) (added uint64, err error) {
	err = s.do(&task{checkpoint: true, then: func() error {
		newest, err := s.newestStored(room)
		if err != nil {
			return err
		}
		h := s.heads[room]
		was, at := h.Last, time.UnixMicro(s.newestTime(h)).UTC()
		s.mu.Lock()
		for i := range lines {
			if l := &lines[i]; l.Seq > newest {
				if l.Time.Before(at) { // the room has lines of another database
					l.Time = at
				}
				at = l.Time
				s.checkpoint.tailBytes += h.add(room, l)
				newest = l.Seq
				added++
			}
		}
		if h.Last = max(h.Last, was); len(lines) < importBatchLines {
			h.Last = max(h.Last, last)
		}
		s.mu.Unlock()
		s.checkpoint.markDirty(h)
		if err = s.runCheckpoint(); err != nil {
			added = 0 // they are not on disk, and will not be
		}
		return err
	}})
	return added, err
}

// newestSeq returns the sequence number of the newest line that a room has.
func (s *Store) newestSeq(room uint64) (newest uint64, err error) {
	err = s.do(&task{checkpoint: true, then: func() (err error) {
		newest, err = s.newestStored(room)
		return err
	}})
	return newest, err
}

// newestStored is newestSeq for the committer, after a checkpoint. It reads the lines
// and not Last, which an interrupted import may have set too high.
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
