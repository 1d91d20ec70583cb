package store

import (
	"time"

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
