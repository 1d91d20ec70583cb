package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	// batchLines bounds a transaction, and so how long a change that arrives
	// meanwhile waits.
	batchLines = 4096
	// maxUnwritten bounds the relaxed lines that a crash can lose, over all
	// rooms and so for each. After a crash each room skips as many numbers.
	maxUnwritten = 1 << 16
	// batchBytes bounds a record of the journal, about.
	batchBytes = 1 << 20
	// postOverhead is what a waiting line costs beside its text, about.
	postOverhead = 256
)

var always = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// runCommitter is the committer's goroutine. None of its timers runs while there is
// nothing that it is for.
func (s *Store) runCommitter() {
	defer close(s.done)
	// What cannot be read of a mapped file is a fault and not a panic.
	debug.SetPanicOnFault(true)
	flush, rest, tidy, heal := newAlarm(s.opts.FlushInterval), newAlarm(idleAfter), newAlarm(time.Minute), newAlarm(recoveryFirst)
	defer heal.stop()
	defer flush.stop()
	defer rest.stop()
	defer tidy.stop()
	var items []item
	open, seen, overdue := true, uint64(0), false
	for {
		items, open = s.queue.take(items)
		for left := items; len(left) > 0; {
			left = s.processNext(left)
			if len(left) > 0 {
				s.runJobs() // what is removed keeps up with what is written
			}
		}
		if !open {
			return
		}
		if s.retention.rulesChanged.Swap(false) {
			s.retention.schedule(s.retention.now(), s.heads)
		}
		var more <-chan struct{} // ready at once while housekeeping waits
		if s.runJobs() {
			more = always
		}
		well := s.ReadOnly() == nil
		flush.set(s.writer.unwritten > 0 && well)
		rest.set(len(s.checkpoint.dirty) > 0 && well)
		tidy.set(s.retention.mayExpire)
		if heal.set(!well); well {
			heal.after = recoveryFirst
		}
		select {
		case <-more:
		case <-s.queue.wakeup:
		case <-flush.C:
			flush.fired()
			if overdue = s.writer.inFlight > 0; !overdue {
				s.flushAsync()
			}
		case err := <-s.writer.flushed:
			s.flushDone(err)
			if overdue {
				overdue = false
				s.flushAsync()
			}
		case <-rest.C:
			rest.fired()
			if s.batch.number == seen {
				s.runCheckpoint()
			}
			seen = s.batch.number
		case <-heal.C:
			heal.fired()
			heal.after = min(2*heal.after, recoveryMax)
			s.tryRecovery()
		case <-tidy.C:
			tidy.fired()
			s.retention.schedule(s.retention.now(), s.heads)
		}
	}
}

// alarm is a timer that runs only while it is wanted.
type alarm struct {
	*time.Timer
	after time.Duration
	on    bool
}

func newAlarm(after time.Duration) *alarm {
	t := time.NewTimer(after)
	t.Stop()
	return &alarm{Timer: t, after: after}
}

func (a *alarm) set(wanted bool) {
	if wanted && !a.on {
		a.Reset(a.after)
		a.on = true
	}
}

func (a *alarm) fired() { a.on = false }
func (a *alarm) stop()  { a.Stop() }

// processNext does what is first in items, as much as goes into one commit, and
// returns the rest.
func (s *Store) processNext(items []item) []item {
	if c := items[0].task; c != nil {
		s.runTask(c)
		return items[1:]
	}
	if p := items[0].suspension; p != nil {
		return s.suspend(p, items[1:])
	}
	posts := s.batch.posts[:0]
	weight := int64(0) // a post that is delivered is its owner's
	for len(posts) < len(items) && len(posts) < batchLines && weight < batchBytes && items[len(posts)].post != nil {
		p := items[len(posts)].post
		posts = append(posts, p)
		weight += p.weight
	}
	s.appendPosts(posts)
	s.queue.pending.Release(weight)
	clear(posts)
	s.batch.posts = posts
	return items[len(posts):]
}

func (s *Store) runTask(c *task) {
	defer close(c.done)
	if c.recover {
		c.err = s.tryRecovery()
		return
	}
	if c.err = s.flush(); c.err == nil && c.checkpoint {
		c.err = s.runCheckpoint()
	}
	if c.err == nil && (c.change != nil || c.fn != nil) {
		c.err = s.commitTask(c)
	}
	if c.err == nil && c.then != nil {
		c.err = c.then()
	}
}

// commitTask does what a task has for the database, in a transaction of its own.
func (s *Store) commitTask(c *task) error {
	s.checkpoint.begin()
	err := s.transact(func(tx *bolt.Tx) (err error) {
		if h := s.heads[c.room]; h != nil && h.dirty {
			if err := s.writeRoom(tx, c.room, h); err != nil {
				return err
			}
		}
		if c.change == nil {
			return c.fn(tx)
		}
		c.outcome, err = c.change.apply(state{tx, s.heads})
		return err
	})
	if err != nil {
		return err
	}
	s.roomsWritten()
	if c.change != nil {
		c.change.updateMemory(s, c.outcome)
		if s.follower.Changes != nil {
			c.change.notify(s.follower.Changes, c.outcome)
		}
	}
	return nil
}

// transact runs fn in a transaction. An error of fn, or a full disk, rolls
// back and leaves the store as it was. After any other failed commit nobody
// knows what the disk has kept: the store is read-only from then on.
func (s *Store) transact(fn func(*bolt.Tx) error) (err error) {
	s.awaitFlush() // the disk is asked one thing at a time
	if err := s.ReadOnly(); err != nil {
		return err
	}
	tx, err := s.file.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.health.setReadOnly(fmt.Errorf("%w: %v", errCorruptFile, p))
			defer func() { recover() }() // of what is damaged even to end it
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	id, start := tx.ID(), time.Now()
	if err = s.health.slowDisk.watch(tx.Commit); err == nil {
		s.health.setDiskFull(false)
		s.observe(start, 0)
		return nil
	}
	// Not each error of a commit has ended the transaction.
	if e := tx.Rollback(); e != nil && !errors.Is(e, berrors.ErrTxClosed) {
		err = errors.Join(err, e)
	}
	current := s.committed(id)
	if isDiskFull(err) && !current {
		s.health.setDiskFull(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	if current {
		s.recovery.doubtfulTx = id
		if back := s.rollBack(); back != nil {
			err = fmt.Errorf("%w; %w", err, back)
		}
	}
	return s.health.setReadOnly(err)
}

// errRollback rolls back a transaction that has nothing to change.
var errRollback = errors.New("nothing to change")

// isDiskFull reports whether a commit failed for want of space. bbolt flattens the
// errors of growing the file to text.
func isDiskFull(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, no) || strings.HasSuffix(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

// committed reports whether readers see the transaction with the given id, or
// one after it: then its last page was written, and only the sync of that
// failed. Some filesystems notice a full disk no earlier (NFS, btrfs).
func (s *Store) committed(id int) bool {
	now := id // what cannot be read is not trusted
	err := viewDB(s.file.db, func(tx *bolt.Tx) error { now = tx.ID(); return nil })
	return err != nil || now >= id
}
