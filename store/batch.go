package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
	"roomd/store/wal"
)

// batch is the lines that get their numbers and go into one commit together.
//
// Owned by the committer.
type batch struct {
	number  uint64  // so many batches there were
	touched []*head // rooms with lines that are numbered and not yet published
	posts   []*Post // space for the next
}

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
		s.follower.Lines(posts)
		return
	}
	s.publish(posts)
	s.follower.Lines(posts)
}

// ready makes room for posts, or says why there can be none.
func (s *Store) ready(posts int) error {
	if err := s.Broken(); err != nil {
		return err
	}
	if s.writer.stuck != nil {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.recovery.late != nil {
		if err := s.recovery.late(); err != nil {
			return err
		}
		s.recovery.late = nil
	}
	if s.writer.unwritten+s.writer.behind+posts > maxUnwritten || len(s.writer.record) > batchBytes {
		if err := s.flush(); err != nil {
			return err
		}
	}
	// What retention has removed is in the journal still. Where folding fails for
	// want of space the journal may go on for a while.
	if s.checkpoint.tails > foldBytes || s.writer.logged > journalBytes {
		if err := s.fold(); err != nil && (s.checkpoint.tails > 2*foldBytes || s.writer.logged > 2*journalBytes) {
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
	if s.writer.unwritten == 0 {
		s.writer.record = wal.Begin(s.writer.record)
	}
	s.batch.number++
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
		if h.batch != s.batch.number {
			h.batch = s.batch.number
			h.next = h.Last
			s.batch.touched = append(s.batch.touched, h)
		}
		h.next++
		p.Line.Seq, p.Line.Time = h.next, now
		s.writer.record = wal.AppendLine(s.writer.record, room, &p.Line, micros)
		s.writer.unwritten++
	}
}

// unnumber forgets what number has done.
func (s *Store) unnumber() {
	s.batch.touched, s.writer.unwritten = s.batch.touched[:0], 0
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
		s.checkpoint.tails += h.add(room, &p.Line)
	}
	s.mu.Unlock()
	for _, h := range s.batch.touched {
		s.checkpoint.soil(h)
		if s.retention.overfull(h) {
			s.retention.addChore(chore{room: h.id, kind: choreTrim})
		}
	}
	s.batch.touched = s.batch.touched[:0]
}

// writer brings lines that have their numbers to the journal.
//
// Owned by the committer. While behind is not 0, a goroutine has wal and spare.
type writer struct {
	wal       *wal.File
	logged    int    // bytes of records that are in it
	record    []byte // under way
	unwritten int    // lines in it; with Relaxed they are delivered already
	stuck     error  // why it could not be written; nil: not tried yet

	spare   []byte // the record that is being written behind the committer
	behind  int    // lines in it; 0: there is none
	since   time.Time
	written chan error // capacity 1: what became of it
}

func newWriter(path string) writer {
	return writer{wal: wal.New(path), written: make(chan error, 1)}
}

// flush brings the record under way to disk. With Relaxed its lines have been
// delivered: after an error they stay, to be tried again, and no others are
// accepted until they are written.
func (s *Store) flush() error {
	s.settle()
	if s.writer.unwritten == 0 {
		return nil
	}
	start, err := time.Now(), s.Broken()
	if err == nil && !s.writer.wal.Exists() {
		err = s.beginJournal()
	}
	if err == nil {
		err = s.journaled(s.write(s.writer.record))
	}
	return s.wrote(start, err)
}

// wrote takes the outcome of writing the record under way.
func (s *Store) wrote(start time.Time, err error) error {
	relaxed := s.opts.Durability == Relaxed
	if errors.Is(err, ErrFull) && len(s.checkpoint.dirty) > 0 && s.foldDirty() == nil {
		// The journal is empty now. What was delivered is not needed in it.
		if err = nil; !relaxed {
			err = s.journaled(s.write(s.writer.record))
		}
	}
	if relaxed {
		s.writer.stuck = err
	}
	if err != nil {
		return err
	}
	s.observe(start, s.writer.unwritten)
	s.writer.logged += len(s.writer.record)
	s.writer.unwritten = 0
	if cap(s.writer.record) > 2*batchBytes {
		s.writer.record = nil
	}
	return nil
}

func (s *Store) observe(start time.Time, lines int) {
	s.opts.Events.Observe(time.Since(start), lines)
}

// write brings a record to the journal.
func (s *Store) write(record []byte) error {
	return s.health.stall.ask(func() error { return s.writer.wal.Write(record) })
}

// flushBehind is flush for lines that are delivered already, while the committer
// goes on: those that come next do not wait for the disk.
func (s *Store) flushBehind() {
	if !s.writer.wal.Exists() || s.writer.stuck != nil {
		s.flush() // an error is in stuck
		return
	}
	s.settle()
	if s.writer.unwritten == 0 {
		return
	}
	record := s.writer.record
	s.writer.record, s.writer.spare = s.writer.spare, record
	s.writer.behind, s.writer.since, s.writer.unwritten = s.writer.unwritten, time.Now(), 0
	go func() { s.writer.written <- s.write(record) }()
}

// settle waits for what flushBehind has begun; then the journal is the
// committer's again.
func (s *Store) settle() {
	if s.writer.behind > 0 {
		s.settled(<-s.writer.written)
	}
}

// settled takes the outcome of what flushBehind has begun.
func (s *Store) settled(err error) {
	if err = s.journaled(err); err == nil {
		s.observe(s.writer.since, s.writer.behind)
		s.writer.logged += len(s.writer.spare)
		s.writer.behind = 0
		return
	}
	// What could not be written comes before what was said since.
	if s.writer.unwritten > 0 {
		s.writer.spare = wal.Append(s.writer.spare, s.writer.record)
	}
	s.writer.record, s.writer.spare = s.writer.spare, s.writer.record
	s.writer.unwritten, s.writer.behind = s.writer.unwritten+s.writer.behind, 0
	s.wrote(s.writer.since, err)
}

// journaled says what an error of writing to the journal means for the store.
func (s *Store) journaled(err error) error {
	if err == nil {
		s.health.filled(false)
		return nil
	}
	back := s.takeBack()
	switch {
	case back != nil:
		err = fmt.Errorf("%w; %w", err, back)
	case full(err) && !errors.Is(err, wal.ErrSync):
		s.health.filled(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return s.health.latch(err)
}

// openJournal makes the journal while there are descriptors to be had. If it
// cannot be made now the first line tries again, and is refused with the reason.
func (s *Store) openJournal() {
	if !s.writer.wal.Exists() && s.recovery.late == nil && s.Broken() == nil {
		s.beginJournal()
	}
}

// beginJournal makes the journal of a database that has none.
func (s *Store) beginJournal() error {
	err := s.health.stall.ask(func() error {
		return s.writer.wal.Create(func(f *os.File) error { return disk.Own(f, s.path) })
	})
	switch {
	case err == nil:
	case full(err):
		s.health.filled(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return fmt.Errorf("create the journal: %w", err)
	}
	if err := s.transact(s.putJournal); err != nil {
		if s.Broken() == nil {
			err = errors.Join(err, s.writer.wal.Remove())
		}
		return err
	}
	return nil
}

// putJournal notes which journal belongs to the database, and that everything
// before its next record is in the database.
func (s *Store) putJournal(tx *bolt.Tx) error {
	if !s.writer.wal.Exists() {
		return nil
	}
	return tx.Bucket(bucketMeta).Put(keyJournal, s.writer.wal.Key())
}
