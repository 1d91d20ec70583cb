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

// appendPosts gives numbers to posts, writes them and delivers them; with Relaxed
// it delivers first and leaves the writing to flush.
func (s *Store) appendPosts(posts []*Post) {
	relaxed := s.opts.Durability == Relaxed
	err := s.prepare(len(posts))
	if err == nil {
		s.assignSeqs(posts)
		if !relaxed {
			err = s.flush()
		}
	}
	if err != nil {
		if !relaxed {
			s.unassignSeqs()
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

// prepare makes room for posts, or says why there can be none.
func (s *Store) prepare(posts int) error {
	if err := s.ReadOnly(); err != nil {
		return err
	}
	if s.writer.writeErr != nil {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.recovery.deferred != nil {
		if err := s.recovery.deferred(); err != nil {
			return err
		}
		s.recovery.deferred = nil
	}
	if s.writer.unwritten+s.writer.inFlight+posts > maxUnwritten || len(s.writer.record) > batchBytes {
		if err := s.flush(); err != nil {
			return err
		}
	}
	// What retention has removed is in the journal still. Where folding fails for
	// want of space the journal may go on for a while.
	if s.checkpoint.tailBytes > checkpointBytes || s.writer.walBytes > maxWALBytes {
		if err := s.runCheckpoint(); err != nil && (s.checkpoint.tailBytes > 2*checkpointBytes || s.writer.walBytes > 2*maxWALBytes) {
			return err
		}
	}
	return nil
}

// assignSeqs gives each post its sequence number and time, and puts it into the
// record under way.
func (s *Store) assignSeqs(posts []*Post) {
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
			h.assigned = h.Last
			s.batch.touched = append(s.batch.touched, h)
		}
		h.assigned++
		p.Line.Seq, p.Line.Time = h.assigned, now
		s.writer.record = wal.AppendLine(s.writer.record, room, &p.Line, micros)
		s.writer.unwritten++
	}
}

// unassignSeqs forgets what number has done.
func (s *Store) unassignSeqs() {
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
		s.checkpoint.tailBytes += h.add(room, &p.Line)
	}
	s.mu.Unlock()
	for _, h := range s.batch.touched {
		s.checkpoint.markDirty(h)
		if s.retention.overLimit(h) {
			s.retention.addJob(job{room: h.id, kind: jobLimit})
		}
	}
	s.batch.touched = s.batch.touched[:0]
}

// writer brings lines that have their numbers to the journal.
//
// Owned by the committer. While behind is not 0, a goroutine has wal and spare.
type writer struct {
	wal       *wal.File
	walBytes  int    // bytes of records that are in it
	record    []byte // under way
	unwritten int    // lines in it; with Relaxed they are delivered already
	writeErr  error  // why it could not be written; nil: not tried yet

	spare    []byte // the record that is being written behind the committer
	inFlight int    // lines in it; 0: there is none
	since    time.Time
	flushed  chan error // capacity 1: what became of it
}

func newWriter(path string) writer {
	return writer{wal: wal.New(path), flushed: make(chan error, 1)}
}

// flush brings the record under way to disk. With Relaxed its lines have been
// delivered: after an error they stay, to be tried again, and no others are
// accepted until they are written.
func (s *Store) flush() error {
	s.awaitFlush()
	if s.writer.unwritten == 0 {
		return nil
	}
	start, err := time.Now(), s.ReadOnly()
	if err == nil && !s.writer.wal.Exists() {
		err = s.createWAL()
	}
	if err == nil {
		err = s.handleWALError(s.writeWAL(s.writer.record))
	}
	return s.finishFlush(start, err)
}

// finishFlush takes the outcome of writing the record under way.
func (s *Store) finishFlush(start time.Time, err error) error {
	relaxed := s.opts.Durability == Relaxed
	if errors.Is(err, ErrFull) && len(s.checkpoint.dirty) > 0 && s.checkpointDirty() == nil {
		// The journal is empty now. What was delivered is not needed in it.
		if err = nil; !relaxed {
			err = s.handleWALError(s.writeWAL(s.writer.record))
		}
	}
	if relaxed {
		s.writer.writeErr = err
	}
	if err != nil {
		return err
	}
	s.observe(start, s.writer.unwritten)
	s.writer.walBytes += len(s.writer.record)
	s.writer.unwritten = 0
	if cap(s.writer.record) > 2*batchBytes {
		s.writer.record = nil
	}
	return nil
}

func (s *Store) observe(start time.Time, lines int) {
	s.opts.Events.Committed(time.Since(start), lines)
}

// writeWAL brings a record to the journal.
func (s *Store) writeWAL(record []byte) error {
	return s.health.slowDisk.watch(func() error { return s.writer.wal.Write(record) })
}

// flushAsync is flush for lines that are delivered already, while the committer
// goes on: those that come next do not wait for the disk.
func (s *Store) flushAsync() {
	if !s.writer.wal.Exists() || s.writer.writeErr != nil {
		s.flush() // an error is in stuck
		return
	}
	s.awaitFlush()
	if s.writer.unwritten == 0 {
		return
	}
	record := s.writer.record
	s.writer.record, s.writer.spare = s.writer.spare, record
	s.writer.inFlight, s.writer.since, s.writer.unwritten = s.writer.unwritten, time.Now(), 0
	go func() { s.writer.flushed <- s.writeWAL(record) }()
}

// awaitFlush waits for what flushBehind has begun; then the journal is the
// committer's again.
func (s *Store) awaitFlush() {
	if s.writer.inFlight > 0 {
		s.flushDone(<-s.writer.flushed)
	}
}

// flushDone takes the outcome of what flushBehind has begun.
func (s *Store) flushDone(err error) {
	if err = s.handleWALError(err); err == nil {
		s.observe(s.writer.since, s.writer.inFlight)
		s.writer.walBytes += len(s.writer.spare)
		s.writer.inFlight = 0
		return
	}
	// What could not be written comes before what was said since.
	if s.writer.unwritten > 0 {
		s.writer.spare = wal.AppendRecord(s.writer.spare, s.writer.record)
	}
	s.writer.record, s.writer.spare = s.writer.spare, s.writer.record
	s.writer.unwritten, s.writer.inFlight = s.writer.unwritten+s.writer.inFlight, 0
	s.finishFlush(s.writer.since, err)
}

// handleWALError says what an error of writing to the journal means for the store.
func (s *Store) handleWALError(err error) error {
	if err == nil {
		s.health.setDiskFull(false)
		return nil
	}
	back := s.rollBack()
	switch {
	case back != nil:
		err = fmt.Errorf("%w; %w", err, back)
	case isDiskFull(err) && !errors.Is(err, wal.ErrSync):
		s.health.setDiskFull(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return s.health.setReadOnly(err)
}

// openWAL makes the journal while there are descriptors to be had. If it
// cannot be made now the first line tries again, and is refused with the reason.
func (s *Store) openWAL() {
	if !s.writer.wal.Exists() && s.recovery.deferred == nil && s.ReadOnly() == nil {
		s.createWAL()
	}
}

// createWAL makes the journal of a database that has none.
func (s *Store) createWAL() error {
	err := s.health.slowDisk.watch(func() error {
		return s.writer.wal.Create(func(f *os.File) error { return disk.CopyOwner(f, s.path) })
	})
	switch {
	case err == nil:
	case isDiskFull(err):
		s.health.setDiskFull(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return fmt.Errorf("create the journal: %w", err)
	}
	if err := s.transact(s.putWALKey); err != nil {
		if s.ReadOnly() == nil {
			err = errors.Join(err, s.writer.wal.Remove())
		}
		return err
	}
	return nil
}

// putWALKey notes which journal belongs to the database, and that everything
// before its next record is in the database.
func (s *Store) putWALKey(tx *bolt.Tx) error {
	if !s.writer.wal.Exists() {
		return nil
	}
	return tx.Bucket(bucketMeta).Put(keyWAL, s.writer.wal.Key())
}
