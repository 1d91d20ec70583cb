package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/wal"
)

const (
	// foldBytes bounds the lines that are only in the journal, over all rooms:
	// it is the memory that they take, and what Open reads after a crash.
	foldBytes = 4 << 20
	// journalBytes bounds the journal where lines leave the memory before they are
	// folded, as a room keeps few.
	journalBytes = 4 * foldBytes
	// restAfter is how long nobody has said anything when they are folded all
	// the same.
	restAfter = 5 * time.Second
)

// append gives numbers to posts, writes them and delivers them; with Relaxed
// it delivers first and leaves the writing to flush.
func (s *Store) append(posts []*Post) {
	relaxed := s.opts.Durability == Relaxed
	err := s.ready(len(posts))
	if err == nil {
		s.number(posts)
		if !relaxed {
			err = s.flush()
		}
	}
	if err != nil {
		if !relaxed {
			s.unnumber()
		}
		for _, p := range posts {
			if p.Err == nil {
				p.Err = err
			}
		}
		s.deliver(posts)
		return
	}
	s.publish(posts)
	s.deliver(posts)
}

// ready makes room for posts, or says why there can be none.
func (s *Store) ready(posts int) error {
	if err := s.Broken(); err != nil {
		return err
	}
	if s.stuck != nil {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.late != nil {
		if err := s.late(); err != nil {
			return err
		}
		s.late = nil
	}
	if s.unwritten+s.behind+posts > maxUnwritten || len(s.record) > batchBytes {
		if err := s.flush(); err != nil {
			return err
		}
	}
	// What retention has removed is in the journal still. Where folding fails for
	// want of space the journal may go on for a while.
	if s.tails > foldBytes || s.logged > journalBytes {
		if err := s.fold(); err != nil && (s.tails > 2*foldBytes || s.logged > 2*journalBytes) {
			return err
		}
	}
	return nil
}

// number gives each post its sequence number and time, and puts it into the
// record under way.
func (s *Store) number(posts []*Post) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	micros := now.UnixMicro()
	if s.unwritten == 0 {
		s.record = wal.Begin(s.record)
	}
	s.batches++
	var h *head
	room := uint64(0)
	for _, p := range posts {
		if p.Room != room || h == nil {
			room = p.Room
			if h = s.heads[room]; h == nil { // written by this goroutine only
				p.Err = ErrNoRoom
				continue
			}
		}
		if h.batch != s.batches {
			h.batch = s.batches
			h.next = h.Last
			s.touched = append(s.touched, h)
		}
		h.next++
		p.Line.Seq, p.Line.Time = h.next, now
		s.record = wal.AppendLine(s.record, room, &p.Line, micros)
		s.unwritten++
	}
}

// unnumber forgets what number has done.
func (s *Store) unnumber() {
	s.touched, s.unwritten = s.touched[:0], 0
}

// publish lets readers see numbered posts.
func (s *Store) publish(posts []*Post) {
	s.mu.Lock()
	var h *head
	room := uint64(0)
	for _, p := range posts {
		if p.Err != nil {
			continue
		}
		if p.Room != room || h == nil {
			room = p.Room
			h = s.heads[room]
		}
		s.tails += h.add(room, &p.Line)
	}
	s.mu.Unlock()
	for _, h := range s.touched {
		s.soil(h)
		if s.overfull(h) {
			s.addChore(chore{room: h.id, kind: choreTrim})
		}
	}
	s.touched = s.touched[:0]
}

// add appends a line to what is known of a room, and returns the memory it
// takes.
func (h *head) add(room uint64, l *Line) int {
	if n := len(h.tail); n == 0 || h.tail[n-1].Full() {
		h.tail = append(h.tail, block.Block{Room: room})
	}
	b := &h.tail[len(h.tail)-1]
	before := b.Len()
	b.Add(l.Seq, l.Time.UnixMicro(), l.Kind, l.From, l.Text)
	h.Last = l.Seq
	h.Lines++
	h.Bytes += block.Weight(len(l.From), len(l.Text))
	if l.Kind == Topic {
		text := l.Text
		h.topic = &text
	}
	return b.Len() - before
}

// soil notes that a room's head, or lines, are not in the database yet.
func (s *Store) soil(h *head) {
	h.dirty = true
	if !h.listed {
		h.listed = true
		s.dirty = append(s.dirty, h)
	}
}

// flush brings the record under way to disk. With Relaxed its lines have been
// delivered: after an error they stay, to be tried again, and no others are
// accepted until they are written.
func (s *Store) flush() error {
	s.settle()
	if s.unwritten == 0 {
		return nil
	}
	start, err := time.Now(), s.Broken()
	if err == nil && !s.journal.Exists() {
		err = s.beginJournal()
	}
	if err == nil {
		err = s.journaled(s.write(s.record))
	}
	return s.wrote(start, err)
}

// wrote takes the outcome of writing the record under way.
func (s *Store) wrote(start time.Time, err error) error {
	relaxed := s.opts.Durability == Relaxed
	if errors.Is(err, ErrFull) && len(s.dirty) > 0 && s.foldDirty() == nil {
		// The journal is empty now. What was delivered is not needed in it.
		if err = nil; !relaxed {
			err = s.journaled(s.write(s.record))
		}
	}
	if relaxed {
		s.stuck = err
	}
	if err != nil {
		return err
	}
	s.observe(start, s.unwritten)
	s.logged += len(s.record)
	s.unwritten = 0
	if cap(s.record) > 2*batchBytes {
		s.record = nil
	}
	return nil
}

func (s *Store) observe(start time.Time, lines int) {
	if s.opts.Observe != nil {
		s.opts.Observe(time.Since(start), lines)
	}
}

// write brings a record to the journal.
func (s *Store) write(record []byte) error {
	return s.stall.ask(func() error { return s.journal.Write(record) })
}

// flushBehind is flush for lines that are delivered already, while the committer
// goes on: those that come next do not wait for the disk.
func (s *Store) flushBehind() {
	if !s.journal.Exists() || s.stuck != nil {
		s.flush() // an error is in stuck
		return
	}
	s.settle()
	if s.unwritten == 0 {
		return
	}
	record := s.record
	s.record, s.spare = s.spare, record
	s.behind, s.since, s.unwritten = s.unwritten, time.Now(), 0
	go func() { s.written <- s.write(record) }()
}

// settle waits for what flushBehind has begun; then the journal is the
// committer's again.
func (s *Store) settle() {
	if s.behind > 0 {
		s.settled(<-s.written)
	}
}

// settled takes the outcome of what flushBehind has begun.
func (s *Store) settled(err error) {
	if err = s.journaled(err); err == nil {
		s.observe(s.since, s.behind)
		s.logged += len(s.spare)
		s.behind = 0
		return
	}
	// What could not be written comes before what was said since.
	if s.unwritten > 0 {
		s.spare = wal.Append(s.spare, s.record)
	}
	s.record, s.spare = s.spare, s.record
	s.unwritten, s.behind = s.unwritten+s.behind, 0
	s.wrote(s.since, err)
}

// journaled says what an error of writing to the journal means for the store.
func (s *Store) journaled(err error) error {
	if err == nil {
		s.filled(false)
		return nil
	}
	back := s.takeBack()
	switch {
	case back != nil:
		err = fmt.Errorf("%w; %w", err, back)
	case full(err) && !errors.Is(err, wal.ErrSync):
		s.filled(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return s.latch(err)
}

// openJournal makes the journal while there are descriptors to be had. If it
// cannot be made now the first line tries again, and is refused with the reason.
func (s *Store) openJournal() {
	if !s.journal.Exists() && s.late == nil && s.Broken() == nil {
		s.beginJournal()
	}
}

// beginJournal makes the journal of a database that has none.
func (s *Store) beginJournal() error {
	err := s.stall.ask(func() error {
		return s.journal.Create(func(f *os.File) error { return own(f, s.path) })
	})
	switch {
	case err == nil:
	case full(err):
		s.filled(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return fmt.Errorf("create the journal: %w", err)
	}
	if err := s.transact(s.putJournal); err != nil {
		if s.Broken() == nil {
			err = errors.Join(err, s.journal.Remove())
		}
		return err
	}
	return nil
}

// putJournal notes which journal belongs to the database, and that everything
// before its next record is in the database.
func (s *Store) putJournal(tx *bolt.Tx) error {
	if !s.journal.Exists() {
		return nil
	}
	return tx.Bucket(bucketMeta).Put(keyJournal, s.journal.Key())
}
