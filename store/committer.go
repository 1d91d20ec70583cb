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
	// batchLines bounds a batch, and so the time that a change which arrives
	// meanwhile waits.
	batchLines = 4096
	// maxUnwritten bounds the relaxed lines that a crash can lose, over all
	// rooms and so for each. After a crash each room skips as many numbers.
	maxUnwritten = 1 << 16
	// batchBytes bounds a record of the WAL, about.
	batchBytes = 1 << 20
	// postOverhead is about the memory that a queued line takes beside its text.
	postOverhead = 256
)

var always = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// runCommitter is the committer's goroutine. Each of its timers runs only while there
// is work for it.
func (s *Store) runCommitter() {
	defer close(s.done)
	// A page of a mapped file that cannot be read is a fault, and without this no panic.
	debug.SetPanicOnFault(true)
	flush, idle, retention, recovery := newAlarm(s.opts.FlushInterval), newAlarm(idleAfter), newAlarm(time.Minute), newAlarm(recoveryFirst)
	var items []item
	open, seen, overdue := true, uint64(0), false
	for {
		items, open = s.queue.take(items)
		for left := items; len(left) > 0; {
			left = s.processNext(left)
			if len(left) > 0 {
				s.runJobs() // removing lines keeps up with writing them
			}
		}
		if !open {
			return
		}
		if s.retention.rulesChanged.Swap(false) {
			s.retention.schedule(s.retention.now(), s.heads)
		}
		var more <-chan struct{} // ready at once while there are jobs
		if s.runJobs() {
			more = always
		}
		writable := s.ReadOnly() == nil
		flush.set(s.writer.unwritten > 0 && writable)
		idle.set((len(s.checkpoint.dirty) > 0 || s.positions.some.Load()) && writable)
		retention.set(s.retention.mayExpire)
		if recovery.set(!writable); writable {
			recovery.after = recoveryFirst
		}
		select {
		case <-more:
		case <-s.queue.wakeup:
		case <-flush.C:
			flush.on = false
			if overdue = s.writer.inFlight > 0; !overdue {
				s.flushAsync()
			}
		case err := <-s.writer.flushed:
			s.flushDone(err)
			if overdue {
				overdue = false
				s.flushAsync()
			}
		case <-idle.C:
			idle.on = false
			if s.batch.number == seen {
				s.runCheckpoint()
			}
			seen = s.batch.number
			if s.positions.some.Load() {
				s.retention.addJob(job{kind: jobPositions})
			}
		case <-recovery.C:
			recovery.on = false
			recovery.after = min(2*recovery.after, recoveryMax)
			s.tryRecovery()
		case <-retention.C:
			retention.on = false
			s.retention.schedule(s.retention.now(), s.heads)
		}
	}
}

// alarm is a timer that is started when it is needed. The receiver from C sets on
// to false.
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

// set starts the timer if it is needed and does not run.
func (a *alarm) set(needed bool) {
	if needed && !a.on {
		a.Reset(a.after)
		a.on = true
	}
}

// processNext processes the first items, as many as go into one commit, and returns
// the others.
func (s *Store) processNext(items []item) []item {
	if t := items[0].task; t != nil {
		t.err = s.runTask(t)
		close(t.done)
		return items[1:]
	}
	if p := items[0].suspension; p != nil {
		return s.suspend(p, items[1:])
	}
	posts := s.batch.posts[:0]
	weight := int64(0) // the posts belong to their owners once they are delivered
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

func (s *Store) runTask(t *task) error {
	if t.recover {
		return s.tryRecovery()
	}
	err := s.flush()
	if err == nil && t.checkpoint {
		if err = s.runCheckpoint(); err == nil {
			s.writePositions()
		}
	}
	if err == nil && (t.change != nil || t.fn != nil) {
		err = s.commitTask(t)
	}
	if err == nil && t.then != nil {
		err = t.then()
	}
	return err
}

// commitTask runs the change or the function of a task in a transaction of its own.
func (s *Store) commitTask(t *task) error {
	s.checkpoint.begin()
	err := s.transact(func(tx *bolt.Tx) (err error) {
		if h := s.heads[t.room]; h != nil && h.dirty {
			if err := s.writeRoom(tx, t.room, h); err != nil {
				return err
			}
		}
		if t.change == nil {
			return t.fn(tx)
		}
		t.outcome, err = t.change.apply(state{tx, s.heads})
		return err
	})
	if err != nil {
		return err
	}
	s.roomsWritten()
	if t.change != nil {
		t.change.updateMemory(s, t.outcome)
		if s.follower.Changes != nil {
			t.change.notify(s.follower.Changes, t.outcome)
		}
	}
	return nil
}

// transact runs fn in a transaction. An error of fn, or a full disk, rolls back and
// leaves the store as it was. After any other failed commit nobody knows what the disk
// has kept: the store is read-only from then on.
func (s *Store) transact(fn func(*bolt.Tx) error) (err error) {
	s.awaitFlush() // one write at a time
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
			defer func() { recover() }() // a rollback may panic on the same page
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
	// After some errors of a commit the transaction has not ended.
	if e := tx.Rollback(); e != nil && !errors.Is(e, berrors.ErrTxClosed) {
		err = errors.Join(err, e)
	}
	committed := s.committed(id)
	if isDiskFull(err) && !committed {
		return s.health.refuseFull(err)
	}
	if committed {
		s.recovery.doubtfulTx = id
		if failed := s.rollBack(); failed != nil {
			err = fmt.Errorf("%w; %w", err, failed)
		}
	}
	return s.health.setReadOnly(err)
}

// errRollback rolls back a transaction that changes nothing.
var errRollback = errors.New("nothing to change")

// isDiskFull reports whether a write failed because the disk is full. When bbolt cannot
// grow the file, its error has only the text of the system's error.
func isDiskFull(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, no) || strings.HasSuffix(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

// committed reports whether readers see the transaction with the given id, or a later
// one: then its last page was written, and only the sync of that page failed. Some
// filesystems notice a full disk no earlier (NFS, btrfs).
func (s *Store) committed(id int) bool {
	now := id // a file that cannot be read is not trusted
	err := viewDB(s.file.db, func(tx *bolt.Tx) error { now = tx.ID(); return nil })
	return err != nil || now >= id
}
