package store

import (
	"errors"
	"fmt"
	"os"
)

// suspension is the file being somebody else's for a while.
type suspension struct {
	began chan error    // the file is closed, or it cannot be
	end   chan struct{} // closed by Resume or Close
}

// errSuspended is returned by Suspend if the store is suspended already.
var errSuspended = errors.New("the store is suspended already")

// Suspend writes and delivers what has been submitted and lets go of the file,
// so that another process can take it over. Until Resume changes wait in the
// queue, and readers wait too. After an error the store goes on as before. It is
// quick after Fold: what was said since then stays in the journal.
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

// Resume takes the file back after Suspend. After an error the store is
// suspended still, and Resume may be called again.
func (s *Store) Resume() error {
	s.mu.Lock()
	p := s.suspended
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	db, err := openFile(s.opts.Context, s.path, s.opts.LockTimeout, nil)
	if err != nil {
		return err
	}
	file, err := os.Lstat(s.path)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.file.db, s.file.info = db, file // the committer holds files, and waits for end
	if err := s.load(); err != nil {
		return errors.Join(fmt.Errorf("read the database %s: %w", s.path, err), db.Close())
	}
	s.openWAL()
	s.mu.Lock()
	s.suspended = nil
	s.mu.Unlock()
	close(p.end)
	return nil
}

// flushForSuccessor brings to disk what the next process that has the file needs.
func (s *Store) flushForSuccessor() error {
	if s.opts.Durability == Relaxed {
		return s.finish() // which takes back the mark that a relaxed server runs
	}
	return s.flush()
}

// suspend is the committer's part of Suspend: the file is closed, and nobody can
// read, until it is to go on. It returns what is still to be done of items.
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
	p.began <- errors.Join(s.writer.wal.Close(), s.file.db.Close())
	s.file.released = true
	<-p.end
	s.mu.Lock()
	resumed := s.suspended == nil
	s.mu.Unlock()
	if resumed {
		s.file.released = false
		return items
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	// Closed meanwhile. Nobody is told of lines: the process that has the file has
	// the connections too.
	for _, it := range append(items, s.queue.items...) {
		if it.task != nil {
			it.task.err = ErrClosed
			close(it.task.done)
		}
	}
	s.queue.items = nil
	return nil
}
