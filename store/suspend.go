package store

import (
	"errors"
	"fmt"
)

// suspension is the time for which another process has the file.
type suspension struct {
	began chan error    // the file is closed, or cannot be
	end   chan struct{} // closed by Resume or Close
}

// errSuspended is returned by Suspend if the store is suspended already.
var errSuspended = errors.New("the store is suspended already")

// Suspend commits and delivers what has been submitted and closes the file, so that
// another process can open it. Until Resume, changes wait in the queue, and readers
// wait too. After an error the store goes on as before. Suspend is quick after
// Checkpoint: the lines since then stay in the WAL.
func (s *Store) Suspend() error {
	p := &suspension{began: make(chan error, 1), end: make(chan struct{})}
	s.mu.Lock()
	if s.suspended != nil {
		s.mu.Unlock()
		return errSuspended
	}
	s.suspended = p
	s.mu.Unlock()
	err := s.queue.put(item{suspension: p})
	if err == nil {
		err = <-p.began
	}
	if err != nil {
		s.mu.Lock()
		s.suspended = nil
		s.mu.Unlock()
	}
	return err
}

// Resume opens the file again after Suspend. After an error the store is still
// suspended, and Resume may be called again.
func (s *Store) Resume() error {
	p := s.suspension()
	if p == nil {
		return nil
	}
	// The committer holds file.mu, and waits for end.
	if err := s.file.open(&s.opts, s.path, nil); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return errors.Join(fmt.Errorf("read the database %s: %w", s.path, err), s.file.close())
	}
	s.openWAL()
	s.mu.Lock()
	s.suspended = nil
	s.mu.Unlock()
	close(p.end)
	return nil
}

func (s *Store) suspension() *suspension {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspended
}

// flushForSuccessor brings to disk what the next process that opens the file needs.
func (s *Store) flushForSuccessor() error {
	if s.opts.Durability == Relaxed {
		return s.finish() // which removes the mark that a relaxed server runs
	}
	return s.flush()
}

// suspend is the committer's part of Suspend: it closes the file, keeps readers out
// and waits for the end of the suspension. It returns the items that are still to be
// processed.
func (s *Store) suspend(p *suspension, items []item) []item {
	err := s.ReadOnly()
	if err == nil {
		err = s.VerifyPath()
	}
	if err == nil {
		err = s.flushForSuccessor()
	}
	if err != nil {
		p.began <- err
		return items
	}
	s.endBackups()
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	p.began <- errors.Join(s.writer.wal.Close(), s.file.close())
	s.file.released = true
	<-p.end
	if s.suspension() == nil {
		s.file.released = false
		return items
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	// The store was closed. The follower is not told of the lines: the process that has
	// the file has the connections too.
	for _, it := range append(items, s.queue.items...) {
		if it.task != nil {
			it.task.err = ErrClosed
			close(it.task.done)
		}
	}
	s.queue.items = nil
	return nil
}
