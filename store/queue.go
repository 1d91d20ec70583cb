package store

import (
	"context"
	"errors"
	"sync"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"

	"roomd/store/lineid"
)

// Post is a line on its way into a room's history.
type Post struct {
	Room  uint64
	Line  Line // Kind, From and Text by the sender; Seq and Time by the store
	Owner any  // handed back with the post
	Err   error
	ID    *LineID // nil: the sender has given none

	weight int64
}

// LineID is the sender's own identifier of a line. If a line of the room with the same By and
// ID is on disk, and has come within about a day, no other line is stored: the post's error is
// ErrStored, and its Line has the number and the time of the first line. More than lineid.Max
// IDs, over all rooms, are not remembered for as long.
//
// IDs are in the database, so a backup has them as they were. An export does not have them. An older
// roomd forgets those that are not in the database yet, and all of them when it compacts it.
type LineID struct {
	By string // whose identifier it is; the same ID of another one is another
	ID string
	// Refused, if not nil, is the error for a line that was not stored before: it is not stored
	// now.
	Refused error

	key lineid.Key
}

// ErrStored is the error of a post whose line is in the room already.
var ErrStored = errors.New("the line is stored already")

// queue has the work of the committer, in its order: callers put items, the committer
// takes them.
type queue struct {
	pending *semaphore.Weighted // bytes of lines submitted and not yet committed
	wakeup  chan struct{}       // capacity 1: there are items, or the queue is closed

	mu      sync.Mutex
	items   []item
	started bool
	closing bool
}

func (q *queue) init(bytes int64) {
	q.pending = semaphore.NewWeighted(bytes)
	q.wakeup = make(chan struct{}, 1)
}

// item is an entry of the queue. One of its fields is set: a line, a task, or a
// suspension, with which another process gets the file.
type item struct {
	post       *Post
	task       *task
	suspension *suspension
}

// task is work of the committer for one caller, who waits for done: a change, or
// something that needs a place in the order of the changes.
type task struct {
	change     change
	room       uint64               // its lines are written to the database first; 0: none
	fn         func(*bolt.Tx) error // instead of change; nil: the task is a flush only
	checkpoint bool                 // runs a checkpoint first
	recover    bool                 // tries to recover a store that is read-only
	then       func() error         // runs on the committer's goroutine after the commit

	outcome outcome // of change
	err     error
	done    chan struct{}
}

// Submit queues a line. The follower gets it with a sequence number or an error, in the
// order of submission. Submit waits while Options.PendingBytes are queued, so that the
// goroutine that reads from a client stops reading. It fails only if ctx is done first
// or the store is closed; then the line is not queued and the follower never sees it.
func (s *Store) Submit(ctx context.Context, p *Post) error {
	s.weigh(p)
	if err := s.queue.pending.Acquire(ctx, p.weight); err != nil {
		return err
	}
	return s.enqueue(p)
}

// TrySubmit is Submit for callers that must not wait: it returns false while
// Options.PendingBytes are queued, and then the line is not queued. The error is
// ErrClosed or nil.
func (s *Store) TrySubmit(p *Post) (ok bool, err error) {
	s.weigh(p)
	if !s.queue.pending.TryAcquire(p.weight) {
		return false, nil
	}
	err = s.enqueue(p)
	return err == nil, err
}

func (s *Store) weigh(p *Post) {
	n := int64(len(p.Line.From)+len(p.Line.Text)) + postOverhead
	if p.ID != nil {
		n += int64(len(p.ID.By)+len(p.ID.ID)) + postOverhead
	}
	p.weight = min(n, s.opts.PendingBytes)
}

// enqueue queues a line whose weight has been acquired.
func (s *Store) enqueue(p *Post) error {
	if err := s.queue.put(item{post: p}); err != nil {
		s.queue.pending.Release(p.weight)
		return err
	}
	return nil
}

// OnCommitter calls fn on the committer's goroutine, between two changes: the follower
// has been told of everything that is on disk. fn may read, and must be quick.
func (s *Store) OnCommitter(fn func()) error {
	return s.update(nil, func() error { fn(); return nil })
}

// Flush waits until everything submitted before is on disk and delivered.
func (s *Store) Flush() error { return s.update(nil, nil) }

// Checkpoint moves the content of the WAL into the database, so that the process that
// opens the file next has less to read.
func (s *Store) Checkpoint() error { return s.do(&task{checkpoint: true}) }

// update runs fn, which makes no change that others see, in a transaction of the
// committer, after everything queued before, and waits for the commit. then, if not
// nil, runs on the committer's goroutine after the commit and before the next change.
func (s *Store) update(fn func(*bolt.Tx) error, then func() error) error {
	return s.do(&task{fn: fn, then: then})
}

// do has the committer do t after everything queued before, and waits for it.
func (s *Store) do(t *task) error {
	t.done = make(chan struct{})
	if err := s.queue.put(item{task: t}); err != nil {
		return err
	}
	<-t.done
	return t.err
}

// start lets items in.
func (q *queue) start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.started = true
}

// close lets no more items in, and reports whether start was called.
func (q *queue) close() (started bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closing = true
	return q.started
}

// put appends an item, or fails with ErrClosed.
func (q *queue) put(it item) error {
	q.mu.Lock()
	if q.closing || !q.started {
		q.mu.Unlock()
		return ErrClosed
	}
	q.items = append(q.items, it)
	first := len(q.items) == 1 // else the first one has woken the committer
	q.mu.Unlock()
	if first {
		q.wake()
	}
	return nil
}

// wake wakes the committer.
func (q *queue) wake() {
	select {
	case q.wakeup <- struct{}{}:
	default:
	}
}

// take empties the queue, which goes on in the memory of the items taken before. open
// is false when no item can come any more.
func (q *queue) take(before []item) (items []item, open bool) {
	clear(before)
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, before[:0]
	return items, !q.closing
}

// length returns the number of items.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}
