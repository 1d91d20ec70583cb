package store

import (
	"context"
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

// Post is a line on its way into a room's history.
type Post struct {
	Room  uint64
	Line  Line // Kind, From and Text by the sender; Seq and Time by the store
	Owner any  // handed back with the post
	Err   error

	weight int64
}

// item is an entry of the queue: a line, a change with a transaction of its own,
// or that the file is to be let go.
type item struct {
	post   *Post
	change *change
	pause  *suspension
}

type change struct {
	room uint64               // its lines are to be in the database first; 0: none
	fn   func(*bolt.Tx) error // nil: only what is unwritten is to be flushed
	fold bool                 // what is only in the journal, too
	heal bool                 // it is about a store that is read-only
	then func()               // runs on the committer's goroutine after the commit
	err  error
	done chan struct{}
}

// Submit queues a line. The deliver function gets it back with a sequence
// number or an error, in the order of submission. Submit waits while
// Options.PendingBytes are queued: whoever reads from a client stops reading.
// It fails only if ctx ends first or the store is closed; then the line is not
// queued and deliver never sees it.
func (s *Store) Submit(ctx context.Context, p *Post) error {
	s.weigh(p)
	if err := s.pending.Acquire(ctx, p.weight); err != nil {
		return err
	}
	return s.submit(p)
}

// TrySubmit is Submit for who must not wait: it returns false while
// Options.PendingBytes are queued, and then the line is not queued. The error is
// ErrClosed or nil.
func (s *Store) TrySubmit(p *Post) (ok bool, err error) {
	s.weigh(p)
	if !s.pending.TryAcquire(p.weight) {
		return false, nil
	}
	if err := s.submit(p); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Store) weigh(p *Post) {
	p.weight = min(int64(len(p.Line.From)+len(p.Line.Text))+postOverhead, s.opts.PendingBytes)
}

// submit queues a line whose weight has been acquired.
func (s *Store) submit(p *Post) error {
	if err := s.enqueue(item{post: p}); err != nil {
		s.pending.Release(p.weight)
		return err
	}
	return nil
}

// Flush waits until everything submitted before is on disk and delivered.
func (s *Store) Flush() error { return s.update(nil, nil) }

// Fold brings what is only in the journal into the database. Whoever opens the
// file next has less to read.
func (s *Store) Fold() error {
	c := &change{fold: true, done: make(chan struct{})}
	if err := s.enqueue(item{change: c}); err != nil {
		return err
	}
	<-c.done
	return c.err
}

// update runs fn in a transaction of the committer, after everything queued
// before, and waits for the commit. then, if not nil, runs on the committer's
// goroutine after it and before the next change.
func (s *Store) update(fn func(*bolt.Tx) error, then func()) error {
	return s.updateRoom(0, fn, then)
}

// updateRoom is update for what concerns a room's record or head: fn finds them
// with everything that was said before.
func (s *Store) updateRoom(room uint64, fn func(*bolt.Tx) error, then func()) error {
	c := &change{room: room, fn: fn, then: then, done: make(chan struct{})}
	if err := s.enqueue(item{change: c}); err != nil {
		return err
	}
	<-c.done
	return c.err
}

func (s *Store) enqueue(it item) error {
	s.in.Lock()
	if s.closing || !s.started {
		s.in.Unlock()
		return ErrClosed
	}
	s.queue = append(s.queue, it)
	first := len(s.queue) == 1 // else whoever was first has nudged
	s.in.Unlock()
	if first {
		s.nudge()
	}
	return nil
}

func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take empties the queue into the space of the one before. open is false when
// nothing can come any more.
func (s *Store) take(before []item) (items []item, open bool) {
	clear(before)
	s.in.Lock()
	defer s.in.Unlock()
	items, s.queue = s.queue, before[:0]
	return items, !s.closing || len(items) > 0
}

var always = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// commit is the committer's goroutine. None of its timers runs while there is
// nothing that it is for.
func (s *Store) commit() {
	defer close(s.done)
	// What cannot be read of a mapped file is a fault and not a panic.
	debug.SetPanicOnFault(true)
	flush, rest, tidy, heal := newAlarm(s.opts.FlushInterval), newAlarm(restAfter), newAlarm(time.Minute), newAlarm(healFirst)
	defer heal.stop()
	defer flush.stop()
	defer rest.stop()
	defer tidy.stop()
	var items []item
	open, seen, overdue := true, uint64(0), false
	for {
		items, open = s.take(items)
		for left := items; len(left) > 0; {
			left = s.step(left)
			if len(left) > 0 {
				s.chore() // what is removed keeps up with what is written
			}
		}
		if !open {
			return
		}
		if s.replan.Swap(false) {
			s.planTidy(s.now())
		}
		var more <-chan struct{} // ready at once while housekeeping waits
		if s.chore() {
			more = always
		}
		well := s.Broken() == nil
		flush.set(s.unwritten > 0 && well)
		rest.set(len(s.dirty) > 0 && well)
		tidy.set(s.aging)
		if heal.set(!well); well {
			heal.after = healFirst
		}
		select {
		case <-more:
		case <-s.wake:
		case <-flush.C:
			flush.rang()
			if overdue = s.behind > 0; !overdue {
				s.flushBehind()
			}
		case err := <-s.written:
			s.settled(err)
			if overdue {
				overdue = false
				s.flushBehind()
			}
		case <-rest.C:
			rest.rang()
			if s.batches == seen {
				s.fold()
			}
			seen = s.batches
		case <-heal.C:
			heal.rang()
			heal.after = min(2*heal.after, healMost)
			s.heal()
		case <-tidy.C:
			tidy.rang()
			s.planTidy(s.now())
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

func (a *alarm) rang() { a.on = false }
func (a *alarm) stop() { a.Stop() }

// step does what is first in items, as much as goes into one commit, and
// returns the rest.
func (s *Store) step(items []item) []item {
	if c := items[0].change; c != nil {
		s.run(c)
		return items[1:]
	}
	if p := items[0].pause; p != nil {
		return s.pause(p, items[1:])
	}
	posts := s.posts[:0]
	weight := int64(0) // a post that is delivered is its owner's
	for len(posts) < len(items) && len(posts) < batchLines && weight < batchBytes && items[len(posts)].post != nil {
		p := items[len(posts)].post
		posts = append(posts, p)
		weight += p.weight
	}
	s.append(posts)
	s.pending.Release(weight)
	clear(posts)
	s.posts = posts
	return items[len(posts):]
}

func (s *Store) run(c *change) {
	defer close(c.done)
	if c.heal {
		c.err = s.heal()
		return
	}
	if c.err = s.flush(); c.err == nil && c.fold {
		c.err = s.fold()
	}
	if c.err != nil {
		return
	}
	if c.fn == nil {
		if c.then != nil {
			c.then()
		}
		return
	}
	s.beginFold()
	c.err = s.transact(func(tx *bolt.Tx) error {
		if h := s.heads[c.room]; h != nil && h.dirty {
			if err := s.foldRoom(tx, c.room, h); err != nil {
				return err
			}
		}
		return c.fn(tx)
	})
	if c.err == nil {
		s.folded()
		if c.then != nil {
			c.then()
		}
	}
}

// transact runs fn in a transaction. An error of fn, or a full disk, rolls
// back and leaves the store as it was. After any other failed commit nobody
// knows what the disk has kept: the store is read-only from then on.
func (s *Store) transact(fn func(*bolt.Tx) error) (err error) {
	s.settle() // the disk is asked one thing at a time
	if err := s.Broken(); err != nil {
		return err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.latch(fmt.Errorf("%w: %v", errFile, p))
			defer func() { recover() }() // of what is damaged even to end it
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	id, start := tx.ID(), time.Now()
	if err = s.stall.ask(tx.Commit); err == nil {
		s.filled(false)
		if s.opts.Observe != nil {
			s.opts.Observe(time.Since(start), 0)
		}
		return nil
	}
	// Not each error of a commit has ended the transaction.
	if e := tx.Rollback(); e != nil && !errors.Is(e, berrors.ErrTxClosed) {
		err = errors.Join(err, e)
	}
	current := s.current(id)
	if full(err) && !current {
		s.filled(true)
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	if current {
		s.doubtful = id
		if back := s.takeBack(); back != nil {
			err = fmt.Errorf("%w; %w", err, back)
		}
	}
	return s.latch(err)
}

// latch makes the store read-only, and returns the error that says so.
func (s *Store) latch(why error) error {
	err := fmt.Errorf("%w: %w", ErrReadOnly, why)
	s.mu.Lock()
	s.broken = err
	s.mu.Unlock()
	if s.opts.Latched != nil {
		s.opts.Latched(err)
	}
	return err
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
	err := viewDB(s.db, func(tx *bolt.Tx) error { now = tx.ID(); return nil })
	return err != nil || now >= id
}
