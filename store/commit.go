package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// batchLines bounds a transaction, and so how long a change that arrives
	// meanwhile waits.
	batchLines = 4096
	// maxUnwritten bounds the relaxed lines that a crash can lose, over all
	// rooms and so for each. After a crash each room skips as many numbers.
	maxUnwritten = 1 << 16
	// fillPercent is for keys that only ever grow: pages are split nearly full.
	fillPercent = 0.95
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
	fn   func(*bolt.Tx) error // nil: only what is unwritten is to be flushed
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
// Options.PendingBytes are queued, and then the line is not queued. After a
// false the function given to OnSpace is called, once, when there is space
// again; it may be called without one, too. The error is ErrClosed or nil.
func (s *Store) TrySubmit(p *Post) (ok bool, err error) {
	s.weigh(p)
	if !s.pending.TryAcquire(p.weight) {
		// What was released before the mark was set is seen by a second try;
		// what is released after it makes the call.
		s.refused.Store(true)
		if !s.pending.TryAcquire(p.weight) {
			return false, nil
		}
	}
	if err := s.submit(p); err != nil {
		return false, err
	}
	return true, nil
}

// OnSpace sets what is called after TrySubmit has returned false and lines have
// left the queue. fn runs on the committer's goroutine; it must not block, nor
// call the store. OnSpace must be called before Start.
func (s *Store) OnSpace(fn func()) { s.space = fn }

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

// release gives back the weight of posts that are delivered.
func (s *Store) release(weight int64) {
	s.pending.Release(weight)
	if s.space != nil && s.refused.Load() && s.refused.Swap(false) {
		s.space()
	}
}

// Flush waits until everything submitted before is on disk and delivered.
func (s *Store) Flush() error { return s.update(nil, nil) }

// update runs fn in a transaction of the committer, after everything queued
// before, and waits for the commit. then, if not nil, runs on the committer's
// goroutine after it and before the next change.
func (s *Store) update(fn func(*bolt.Tx) error, then func()) error {
	c := &change{fn: fn, then: then, done: make(chan struct{})}
	if err := s.enqueue(item{change: c}); err != nil {
		return err
	}
	<-c.done
	return c.err
}

func (s *Store) enqueue(it item) error {
	s.mu.Lock()
	if s.closing || !s.started {
		s.mu.Unlock()
		return ErrClosed
	}
	s.queue = append(s.queue, it)
	first := len(s.queue) == 1 // else whoever was first has nudged
	s.mu.Unlock()
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

// take empties the queue. open is false when nothing can come any more.
func (s *Store) take() (items []item, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, s.queue = s.queue, nil
	return items, !s.closing || len(items) > 0
}

var always = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// commit is the committer's goroutine.
func (s *Store) commit() {
	defer close(s.done)
	tidy := time.NewTicker(time.Minute)
	defer tidy.Stop()
	flush := time.NewTimer(s.opts.FlushInterval)
	flush.Stop()
	defer flush.Stop()
	for {
		items, open := s.take()
		waiting := len(s.unwritten) > 0 // then the timer runs already
		for len(items) > 0 {
			items = s.step(items)
		}
		if !open {
			s.flushUnwritten()
			return
		}
		if !waiting && len(s.unwritten) > 0 {
			flush.Reset(s.opts.FlushInterval)
		}
		var more <-chan struct{} // ready at once while housekeeping waits
		if s.chore() {
			more = always
		}
		select {
		case <-more:
		case <-s.wake:
		case <-flush.C:
			if s.flushUnwritten() != nil {
				flush.Reset(s.opts.FlushInterval)
			}
		case now := <-tidy.C:
			s.planTidy(now)
		}
	}
}

// step does what is first in items, as much as goes into one transaction, and
// returns the rest.
func (s *Store) step(items []item) []item {
	if c := items[0].change; c != nil {
		s.run(c)
		return items[1:]
	}
	if p := items[0].pause; p != nil {
		return s.pause(p, items[1:])
	}
	posts := make([]*Post, 0, min(len(items), batchLines))
	weight := int64(0) // a post that is delivered is its owner's
	for len(posts) < len(items) && len(posts) < batchLines && items[len(posts)].post != nil {
		p := items[len(posts)].post
		posts = append(posts, p)
		weight += p.weight
	}
	s.append(posts)
	s.release(weight)
	return items[len(posts):]
}

func (s *Store) run(c *change) {
	defer close(c.done)
	if c.err = s.flushUnwritten(); c.err != nil || c.fn == nil {
		return
	}
	if c.err = s.transact(c.fn); c.err == nil && c.then != nil {
		c.then()
	}
}

// append gives numbers to posts, writes them and delivers them; with Relaxed
// it delivers first and leaves the writing to flushUnwritten.
func (s *Store) append(posts []*Post) {
	if s.opts.Durability == Relaxed {
		var err error
		if len(s.unwritten)+len(posts) > maxUnwritten {
			err = s.flushUnwritten()
		}
		if err == nil {
			err = s.Broken()
		}
		if err == nil {
			err = s.stuck
		}
		if err != nil {
			s.refuse(posts, err)
			return
		}
		s.number(posts)
		s.deliver(posts)
		for _, p := range posts {
			if p.Err == nil {
				s.unwritten = append(s.unwritten, p)
			}
		}
		return
	}
	undo := s.number(posts)
	if err := s.transact(func(tx *bolt.Tx) error { return s.putLines(tx, posts) }); err != nil {
		s.mu.Lock()
		for id, h := range undo {
			*s.heads[id] = h
		}
		s.mu.Unlock()
		s.refuse(posts, err)
		return
	}
	s.markWritten(posts)
	s.deliver(posts)
}

func (s *Store) refuse(posts []*Post, err error) {
	for _, p := range posts {
		if p.Err == nil {
			p.Err = err
		}
	}
	s.deliver(posts)
}

// number gives each post its sequence number and time, and returns the heads
// as they were.
func (s *Store) number(posts []*Post) (undo map[uint64]head) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	undo = make(map[uint64]head)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range posts {
		h := s.heads[p.Room]
		if h == nil {
			p.Err = ErrNoRoom
			continue
		}
		if _, ok := undo[p.Room]; !ok {
			undo[p.Room] = *h
		}
		h.Last++
		h.Lines++
		h.Bytes += uint64(8 + 10 + len(p.Line.From) + len(p.Line.Text))
		p.Line.Seq, p.Line.Time = h.Last, now
	}
	return undo
}

// putLines writes numbered posts and the heads of their rooms.
func (s *Store) putLines(tx *bolt.Tx, posts []*Post) error {
	s.putting = len(posts)
	lines := tx.Bucket(bucketLines)
	var b *bolt.Bucket
	room := uint64(0)
	touched := make(map[uint64]bool)
	for _, p := range posts {
		if p.Err != nil {
			continue
		}
		if p.Room != room {
			room = p.Room
			touched[room] = true
			if b = lines.Bucket(u64(room)); b == nil {
				return fmt.Errorf("room %d has no lines bucket: %w", room, ErrNoRoom)
			}
			b.FillPercent = fillPercent
		}
		if err := b.Put(u64(p.Line.Seq), p.Line.encode()); err != nil {
			return err
		}
		if p.Line.Kind == Topic {
			r, err := getRoom(tx, room)
			if err != nil {
				return err
			}
			r.Topic = p.Line.Text
			if err := putRoom(tx, r); err != nil {
				return err
			}
		}
	}
	heads := tx.Bucket(bucketHeads)
	for id := range touched {
		s.mu.Lock()
		v := s.heads[id].encode()
		s.mu.Unlock()
		if err := heads.Put(u64(id), v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) markWritten(posts []*Post) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range posts {
		if p.Err != nil {
			continue
		}
		h := s.heads[p.Room]
		h.written = p.Line.Seq
		if s.overfull(h) {
			s.addChore(chore{room: p.Room, kind: choreTrim})
		}
	}
}

// flushUnwritten writes what Relaxed has delivered. After an error the lines
// stay, to be tried again, and no others are accepted until they are written.
func (s *Store) flushUnwritten() error {
	if len(s.unwritten) == 0 {
		return nil
	}
	s.stuck = s.transact(func(tx *bolt.Tx) error { return s.putLines(tx, s.unwritten) })
	if s.stuck != nil {
		return s.stuck
	}
	s.markWritten(s.unwritten)
	s.unwritten = nil
	return nil
}

// transact runs fn in a transaction. An error of fn, or a full disk, rolls
// back and leaves the store as it was. After any other failed commit nobody
// knows what the disk has kept: the store is read-only from then on.
func (s *Store) transact(fn func(*bolt.Tx) error) error {
	if err := s.Broken(); err != nil {
		return err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	id, lines, start := tx.ID(), s.putting, time.Now()
	s.putting = 0
	err = tx.Commit()
	switch {
	case err == nil:
		if s.opts.Observe != nil {
			s.opts.Observe(time.Since(start), lines)
		}
		return nil
	case full(err) && !s.current(id):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	s.mu.Lock()
	s.broken = err
	s.mu.Unlock()
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
	err := s.db.View(func(tx *bolt.Tx) error { now = tx.ID(); return nil })
	return err != nil || now >= id
}
