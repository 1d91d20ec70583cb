package store

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// transact runs fn in a transaction. An error of fn, or a full disk, rolls
// back and leaves the store as it was. After any other failed commit nobody
// knows what the disk has kept: the store is read-only from then on.
func (s *Store) transact(fn func(*bolt.Tx) error) (err error) {
	s.settle() // the disk is asked one thing at a time
	if err := s.Broken(); err != nil {
		return err
	}
	tx, err := s.file.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.health.latch(fmt.Errorf("%w: %v", errFile, p))
			defer func() { recover() }() // of what is damaged even to end it
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	id, start := tx.ID(), time.Now()
	if err = s.health.stall.ask(tx.Commit); err == nil {
		s.health.filled(false)
		s.observe(start, 0)
		return nil
	}
	// Not each error of a commit has ended the transaction.
	if e := tx.Rollback(); e != nil && !errors.Is(e, berrors.ErrTxClosed) {
		err = errors.Join(err, e)
	}
	current := s.current(id)
	if full(err) && !current {
		s.health.filled(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	if current {
		s.recovery.doubtful = id
		if back := s.takeBack(); back != nil {
			err = fmt.Errorf("%w; %w", err, back)
		}
	}
	return s.health.latch(err)
}

// errNothing rolls back a transaction that has nothing to change.
var errNothing = errors.New("nothing to change")

// full reports whether a commit failed for want of space. bbolt flattens the
// errors of growing the file to text.
func full(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, no) || strings.HasSuffix(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

// current reports whether readers see the transaction with the given id, or
// one after it: then its last page was written, and only the sync of that
// failed. Some filesystems notice a full disk no earlier (NFS, btrfs).
func (s *Store) current(id int) bool {
	now := id // what cannot be read is not trusted
	err := viewDB(s.file.db, func(tx *bolt.Tx) error { now = tx.ID(); return nil })
	return err != nil || now >= id
}
