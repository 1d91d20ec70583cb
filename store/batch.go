package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
	"roomd/store/lineid"
	"roomd/store/wal"
)

// batch is the lines that get their numbers and go into one commit together.
//
// Owned by the committer.
type batch struct {
	number  uint64  // of this batch
	touched []*head // rooms with lines that have numbers and are not published
	repeats []*Post // lines with the ID of another line in the batch
	posts   []*Post // memory for the next batch
}

// appendPosts gives numbers to posts, writes them and delivers them; with Relaxed it
// delivers them first and leaves the write to flushAsync.
func (s *Store) appendPosts(posts []*Post) {
	relaxed := s.opts.Durability == Relaxed
	s.findIDs(posts)
	err := s.prepare(len(posts))
	if err == nil {
		s.assignSeqs(posts)
		if !relaxed {
			err = s.flush()
		}
	}
	if err == nil {
		s.publish(posts)
		s.follower.Lines(posts)
		return
	}
	if !relaxed {
		s.unassignSeqs()
	}
	s.ids.Abort()
	for _, p := range s.batch.repeats {
		p.Err = err
	}
	for _, p := range posts {
		if p.Err == nil {
			p.Err = err
		}
	}
	s.follower.Lines(posts)
}

// prepare makes sure that so many posts can be accepted: it flushes, or runs a
// checkpoint, where the bounds would be exceeded.
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
	// The WAL still contains the lines that retention has removed. If a checkpoint fails
	// because the disk is full the WAL may grow to twice its bound.
	if s.checkpoint.tailBytes > checkpointBytes || s.writer.walBytes > maxWALBytes || s.ids.Fresh() > lineid.MaxFresh {
		if err := s.runCheckpoint(); err != nil && (s.checkpoint.tailBytes > 2*checkpointBytes || s.writer.walBytes > 2*maxWALBytes) {
			return err
		}
	}
	return nil
}

// assignSeqs gives each post its sequence number and time, and appends it to the
// record that is being built. The time is that of the batch, but never before that of the
// room's line before: the wall clock may have been set back.
func (s *Store) assignSeqs(posts []*Post) {
	now := time.Now().UnixMicro()
	if s.writer.unwritten == 0 {
		s.writer.record = wal.Begin(s.writer.record)
	}
	s.batch.number++
	var h *head
	var at time.Time // h.newest
	room := uint64(0)
	for _, p := range posts {
		if p.ID != nil && !s.isNew(p) {
			continue
		}
		if p.Room != room || h == nil {
			room = p.Room
			if h = s.heads[room]; h == nil { // written by this goroutine only
				p.Err = ErrNoRoom
				continue
			}
			if h.batch != s.batch.number {
				h.batch = s.batch.number
				h.assigned = h.Last
				h.newest = max(s.newestTime(h), now)
				s.batch.touched = append(s.batch.touched, h)
			}
			at = time.UnixMicro(h.newest).UTC()
		}
		h.assigned++
		p.Line.Seq, p.Line.Time = h.assigned, at
		s.writer.record = wal.AppendLine(s.writer.record, room, &p.Line, h.newest)
		s.writer.unwritten++
		if p.ID != nil {
			s.writer.record = wal.AppendLine(s.writer.record, idsRoom, &Line{Seq: h.assigned, Kind: Message, Text: string(p.ID.key[:])}, h.newest)
			s.ids.Add(p.ID.key, lineid.Place{Seq: h.assigned, Micros: h.newest})
		}
	}
}

// idsRoom is the room, in the WAL, of the IDs of lines: a line with the number, the time and the key
// behind the line that they belong to. An older roomd skips it, as there is no such room.
const idsRoom = 0

// findIDs gives those posts their error that are on disk already, by their ID. If that cannot be
// told, they are refused.
func (s *Store) findIDs(posts []*Post) {
	s.batch.repeats = s.batch.repeats[:0]
	i := slices.IndexFunc(posts, func(p *Post) bool { return p.ID != nil })
	if i < 0 {
		return
	}
	posts = posts[i:]
	err := s.file.view(func(tx *bolt.Tx) error {
		find := s.ids.Find(tx.Bucket(bucketIDs))
		for _, p := range posts {
			if p.ID == nil {
				continue
			}
			p.ID.key = lineid.KeyOf(p.Room, p.ID.By, p.ID.ID)
			at, ok, err := find(p.ID.key)
			if err != nil {
				s.corruption.reads.Add(1)
			}
			if ok {
				p.setStored(at)
			}
		}
		return nil
	})
	for _, p := range posts {
		if err != nil && p.ID != nil && p.Err == nil {
			p.Err = err
		}
	}
}

func (p *Post) setStored(at lineid.Place) {
	p.Line.Seq, p.Line.Time, p.Err = at.Seq, time.UnixMicro(at.Micros).UTC(), ErrStored
}

// isNew reports whether a post with an ID is to be stored. If not, it has its error.
func (s *Store) isNew(p *Post) bool {
	if p.Err != nil {
		return false
	}
	if at, ok := s.ids.InBatch(p.ID.key); ok {
		p.setStored(at)
		s.batch.repeats = append(s.batch.repeats, p)
	} else {
		p.Err = p.ID.Refused
	}
	return p.Err == nil
}

// unassignSeqs undoes assignSeqs.
func (s *Store) unassignSeqs() {
	s.batch.touched, s.writer.unwritten = s.batch.touched[:0], 0
}

// publish shows posts with numbers to readers.
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
	s.ids.Commit()
	for _, h := range s.batch.touched {
		s.checkpoint.markDirty(h)
		if s.retention.overLimit(h) {
			s.retention.addJob(job{room: h.id, kind: jobLimit})
		}
	}
	s.batch.touched = s.batch.touched[:0]
}

// writer writes lines with numbers to the WAL.
//
// Owned by the committer. While inFlight is not 0, a goroutine uses wal and spare.
type writer struct {
	wal       *wal.File
	walBytes  int    // bytes of records in the WAL
	record    []byte // the record that is being built
	unwritten int    // lines in record; with Relaxed they are delivered already
	writeErr  error  // why record could not be written; nil: it was not tried

	spare    []byte // the record that a goroutine writes
	inFlight int    // lines in spare; 0: there is no such goroutine
	since    time.Time
	flushed  chan error // capacity 1: the result of that goroutine
}

func newWriter(path string) writer {
	return writer{wal: wal.New(path), flushed: make(chan error, 1)}
}

// flush writes the record to disk. With Relaxed its lines have been delivered: after an
// error they stay, to be tried again, and no others are accepted until they are
// written.
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

// finishFlush handles the result of writing the record.
func (s *Store) finishFlush(start time.Time, err error) error {
	relaxed := s.opts.Durability == Relaxed
	if errors.Is(err, ErrFull) && len(s.checkpoint.dirty) > 0 && s.checkpointDirty() == nil {
		// The WAL is empty now, and the database has the lines that were delivered.
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
	took := time.Since(start)
	s.commits.n.Add(1)
	s.commits.nanoseconds.Add(uint64(took))
	s.opts.Events.Committed(took, lines)
}

// commits counts what the committer has brought to disk. It is written by the committer only.
type commits struct{ n, nanoseconds atomic.Uint64 }

// Commits returns the number of commits since the store was opened, and how long they have taken
// together.
func (s *Store) Commits() (n uint64, took time.Duration) {
	return s.commits.n.Load(), time.Duration(s.commits.nanoseconds.Load())
}

// writeWAL writes a record to the WAL.
func (s *Store) writeWAL(record []byte) error {
	return s.health.slowDisk.watch(func() error { return s.writer.wal.Write(record) })
}

// flushAsync is flush for lines that are delivered already, on a goroutine of its own:
// the next lines do not wait for the disk.
func (s *Store) flushAsync() {
	if !s.writer.wal.Exists() || s.writer.writeErr != nil {
		s.flush() // which keeps the error in writeErr
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

// awaitFlush waits for the goroutine of flushAsync; then the WAL is the committer's
// again.
func (s *Store) awaitFlush() {
	if s.writer.inFlight > 0 {
		s.flushDone(<-s.writer.flushed)
	}
}

// flushDone handles the result of the goroutine of flushAsync.
func (s *Store) flushDone(err error) {
	if err = s.handleWALError(err); err == nil {
		s.observe(s.writer.since, s.writer.inFlight)
		s.writer.walBytes += len(s.writer.spare)
		s.writer.inFlight = 0
		return
	}
	// The lines that could not be written come before the newer ones.
	if s.writer.unwritten > 0 {
		s.writer.spare = wal.AppendRecord(s.writer.spare, s.writer.record)
	}
	s.writer.record, s.writer.spare = s.writer.spare, s.writer.record
	s.writer.unwritten, s.writer.inFlight = s.writer.unwritten+s.writer.inFlight, 0
	s.finishFlush(s.writer.since, err)
}

// handleWALError undoes a failed write to the WAL. It returns ErrFull if the disk has
// certainly kept nothing; else the store is read-only.
func (s *Store) handleWALError(err error) error {
	if err == nil {
		s.health.setDiskFull(false)
		return nil
	}
	if failed := s.rollBack(); failed != nil {
		err = fmt.Errorf("%w; %w", err, failed)
	} else if isDiskFull(err) && !errors.Is(err, wal.ErrSync) {
		return s.health.refuseFull(err)
	}
	return s.health.setReadOnly(err)
}

// openWAL creates the WAL at the start, when file descriptors are available. If that
// fails the first line tries again, and is refused with the reason.
func (s *Store) openWAL() {
	if !s.writer.wal.Exists() && s.recovery.deferred == nil && s.ReadOnly() == nil {
		s.createWAL()
	}
}

// createWAL creates the WAL of a database that has none.
func (s *Store) createWAL() error {
	err := s.health.slowDisk.watch(func() error {
		return s.writer.wal.Create(func(f *os.File) error { return disk.CopyOwner(f, s.path) })
	})
	if err != nil && isDiskFull(err) {
		return s.health.refuseFull(err)
	}
	if err != nil {
		return fmt.Errorf("create the WAL: %w", err)
	}
	err = s.transact(s.putWALKey)
	if err != nil && s.ReadOnly() == nil {
		err = errors.Join(err, s.writer.wal.Remove())
	}
	return err
}

// putWALKey notes which WAL belongs to the database, and that the content of its
// earlier records is in the database.
func (s *Store) putWALKey(tx *bolt.Tx) error {
	if !s.writer.wal.Exists() {
		return nil
	}
	return tx.Bucket(bucketMeta).Put(keyWAL, s.writer.wal.Key())
}
