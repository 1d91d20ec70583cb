package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/wal"
)

// After a failed write the committer tries to heal by itself, at first after
// healFirst and then at doubling distances up to healMost.
const (
	healFirst = 2 * time.Second
	healMost  = 5 * time.Minute
)

// Reopen makes a store that is read-only writable again, if the disk has kept
// what it was given: the file is closed, opened and checked, and what is only
// in memory is written anew. The committer tries it by itself as well. On a
// store that is not read-only it does nothing.
func (s *Store) Reopen() error {
	c := &change{heal: true, done: make(chan struct{})}
	if err := s.enqueue(item{change: c}); err != nil {
		return err
	}
	<-c.done
	return c.err
}

// heal is the committer's part of Reopen. The lines that were acknowledged and
// are not in the database are all in memory: they count, and not what the
// journal may hold of lines that were refused.
func (s *Store) heal() error {
	if err := s.Broken(); err == nil || errors.Is(err, errFile) {
		return err // what is damaged does not heal
	}
	if err := s.InPlace(); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.settle()
	// Readers have what they need: nothing is closed before the disk takes a
	// byte again.
	if err := probe(s.path); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err := s.takeBack(); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.files.Lock()
	err := s.reload()
	s.files.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.mu.Lock()
	was := s.broken
	s.broken = nil
	s.mu.Unlock()
	err = s.transact(func(tx *bolt.Tx) error {
		s.beginFold()
		return errors.Join(s.foldAll(tx), tx.Bucket(bucketMeta).Delete(keyJournal))
	})
	if err == nil {
		s.foldedAll()
		if err = os.Remove(wal.Path(s.path)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil { // as it was
		s.mu.Lock()
		s.broken = was
		s.mu.Unlock()
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	s.record, s.unwritten, s.stuck = s.record[:0], 0, nil
	s.openJournal()
	if err := s.Broken(); err != nil {
		return err
	}
	if s.opts.Latched != nil {
		s.opts.Latched(nil)
	}
	return nil
}

// probe writes to a new file beside path.
func probe(path string) error {
	f, err := beside(path, useNew)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// reload opens the file anew, checks it, and gives the rooms their lines in
// memory back.
func (s *Store) reload() error {
	err := s.journal.Close()
	s.endBackups()
	if err = errors.Join(err, s.closeFile()); err != nil {
		return err
	}
	dropCache(s.path) // else the check would see what the disk has not got
	db, err := openFile(s.opts.Context, s.path, s.opts.LockTimeout, nil)
	if err != nil {
		// Readers have the file as it is, if it can be had at all.
		s.db, _ = bolt.Open(s.path, 0, &bolt.Options{ReadOnly: true, Timeout: s.opts.LockTimeout})
		return err
	}
	s.db = db
	// What was damaged at the start is still, and nobody was served it.
	if err := viewDB(db, func(tx *bolt.Tx) error { return checkBut(context.Background(), tx, s.spoilt.Load()) }); err != nil {
		return err
	}
	heads := make(map[uint64]*head)
	var gone []trashed
	if err := viewDB(db, func(tx *bolt.Tx) (err error) { _, gone, err = readHeads(tx, heads); return err }); err != nil {
		return err
	}
	for id := range s.heads {
		if heads[id] == nil {
			return fmt.Errorf("room %d is not there any more", id)
		}
	}
	s.mu.Lock()
	old := s.heads
	s.heads = heads
	s.mu.Unlock()
	s.trash.fill(gone)
	s.journal = wal.New(s.path)
	s.dirty, s.touched, s.tails = nil, nil, 0
	for id, h := range heads {
		was := old[id]
		if was == nil {
			continue
		}
		for i := range was.tail {
			sc := was.tail[i].Scan()
			for lines := sc.Whole(); sc.Next(); {
				if l := sc.Line(lines); l.Seq > h.Last {
					s.tails += h.add(id, &l)
				}
			}
		}
		if h.Last < was.Last {
			return fmt.Errorf("room %d: the lines %d to %d are lost", id, h.Last+1, was.Last)
		}
		if len(h.tail) > 0 {
			s.soil(h)
			s.hideAgain(h)
		}
		if s.overfull(h) {
			s.addChore(chore{room: id, kind: choreTrim})
		}
	}
	return nil
}
