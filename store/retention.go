package store

import (
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/wal"
)

// trimSlack is how many lines beyond its limit a room has before it is trimmed,
// and 2 % of the limit more.
const trimSlack = 100

type jobKind int

const (
	jobLimit   jobKind = iota // hide lines beyond Options.Lines and Bytes
	jobAge                    // hide lines older than Options.Age
	jobReclaim                // take hidden lines out of the database
	jobPurge                  // remove deleted rooms; of no room
	jobScan                   // look at the next rooms of retention.round; of no room
)

// job is housekeeping for one room, done in steps by the committer. A step is a
// transaction that looks at, or removes, about sweepBlocks blocks and rooms: that is
// what a line which arrives meanwhile waits for, whatever there is to be done.
type job struct {
	room   uint64
	kind   jobKind
	before int64 // choreAge: lines older than this go; choreLook: the time; in microseconds
}

// retention says what is removed, and when: lines that are too old or too many,
// deleted rooms.
//
// Owned by the committer, but for rules and replan.
type retention struct {
	opts         *Options
	rules        atomic.Pointer[Retention] // replaced as a whole
	rulesChanged atomic.Bool               // they have been

	jobs      []job
	queued    map[job]bool // which chores there are
	unscanned []uint64     // rooms that look has not looked at yet
	mayExpire bool         // there may be something that gets too old
	clock     clock        // says what does
	trash     trash
}

// init is for a file that was written to last at a time; zero: that is not known.
func (r *retention) init(opts *Options, used time.Time) {
	r.opts = opts
	r.queued = make(map[job]bool)
	r.clock = clock{began: time.Now(), wall: used}
	r.trash.draining = make(map[uint64]trashEntry)
}

// overLimit leaves a margin, so that a busy room is not trimmed line by line.
func (r *retention) overLimit(h *head) bool {
	most := r.limits(h)
	if most.lines > 0 {
		most.lines += most.lines/50 + trimSlack
	}
	most.bytes += most.bytes / 50
	return most.exceeded(h.Lines, h.Bytes)
}

// limits are how much of a room's history is kept; 0: all.
type limits struct{ lines, bytes uint64 }

func (r *retention) limits(h *head) limits {
	b := limits{r.current().Lines, r.current().Bytes}
	if h.settings.Lines != nil {
		b.lines = *h.settings.Lines
	}
	return b
}

// exceeded reports whether so much is too much.
func (b limits) exceeded(lines, bytes uint64) bool {
	return b.lines > 0 && lines > b.lines || b.bytes > 0 && bytes > b.bytes
}

// maxAge is how old the lines of a room may be; 0: any age.
func (r *retention) maxAge(h *head) time.Duration {
	if h.settings.Age != nil {
		return *h.settings.Age
	}
	return r.current().Age
}

// applySettings makes a room keep what its settings say, from now on. It runs on the
// committer's goroutine.
func (s *Store) applySettings(room uint64, own Settings) {
	h := s.heads[room]
	if h == nil {
		return
	}
	s.mu.Lock()
	h.settings = own
	s.mu.Unlock()
	s.retention.scheduleRoom(h, s.retention.now(), false)
}

// scheduleRoom has lines that are too old removed, and what is too much; with a margin
// only if it is above that.
func (r *retention) scheduleRoom(h *head, now time.Time, margin bool) {
	if r.overLimit(h) || !margin && r.limits(h).exceeded(h.Lines, h.Bytes) {
		r.addJob(job{room: h.id, kind: jobLimit})
	}
	if age := r.maxAge(h); age > 0 {
		r.mayExpire = true
		r.addJob(job{room: h.id, kind: jobAge, before: now.Add(-age).UnixMicro()})
	}
}

// reapplyRetention hides what retention had hidden before a crash: of a room whose
// newest lines are only in the journal, the database does not know that yet. What
// cannot be read is looked at again by the chores. The file is the caller's.
func (s *Store) reapplyRetention(h *head) {
	all := []job{{room: h.id, kind: jobLimit}}
	if age := s.retention.maxAge(h); age > 0 {
		all = append(all, job{room: h.id, kind: jobAge, before: s.retention.now().Add(-age).UnixMicro()})
	}
	for _, c := range all {
		for more := true; more; {
			more, _, _ = s.applyRetention(c, func(fn func(*bolt.Tx) error) error { return viewDB(s.file.db, fn) })
		}
	}
}

func (r *retention) addJob(c job) {
	key := job{room: c.room, kind: c.kind}
	if !r.queued[key] {
		r.queued[key] = true
		r.jobs = append(r.jobs, c)
	}
}

// runJobs does a step of what is first, or of several where a step is little
// work, and reports whether there is more. A step that fails is dropped: the
// room is looked at again with the next line or the next minute.
func (s *Store) runJobs() bool {
	for blocks := 0; len(s.retention.jobs) > 0 && blocks < jobBlocks; {
		c := s.retention.jobs[0]
		more, n, err := s.runJob(c)
		if !more || err != nil {
			s.retention.jobs = s.retention.jobs[1:]
			delete(s.retention.queued, job{room: c.room, kind: c.kind})
		}
		blocks += n + 1
	}
	return len(s.retention.jobs) > 0
}

// runJob does a step of a chore and tells about how many blocks' worth of
// work it was.
func (s *Store) runJob(c job) (more bool, blocks int, err error) {
	switch c.kind {
	case jobPurge:
		more, err = s.purgeStep()
		return more, jobBlocks, err
	case jobScan:
		return s.retention.scan(time.UnixMicro(c.before), s.heads), jobBlocks, nil
	case jobReclaim:
		more, err = s.reclaimStep(c.room)
		return more, jobBlocks, err
	}
	return s.applyRetention(c, s.file.view)
}

// reclaimStep takes some of a room's hidden lines out of the database.
func (s *Store) reclaimStep(room uint64) (more bool, err error) {
	h := s.heads[room]
	if h == nil || !h.unreclaimed {
		return false, nil
	}
	if err := s.flush(); err != nil {
		return false, err
	}
	s.checkpoint.begin()
	if err := s.transact(func(tx *bolt.Tx) error { return s.writeRoom(tx, room, h) }); err != nil {
		return false, err
	}
	s.roomsWritten()
	return h.unreclaimed, nil
}

// schedule has what is too old at that time, or too much, removed in small steps.
func (r *retention) schedule(now time.Time, heads map[uint64]*head) {
	r.trash.expire(now.Add(-r.current().Trash).UnixMicro())
	r.schedulePurge()
	r.mayExpire = r.trash.nonEmpty()
	r.unscanned = slices.AppendSeq(r.unscanned[:0], maps.Keys(heads))
	r.addJob(job{kind: jobScan, before: now.UnixMicro()})
}

// scan plans what is to be done in the next rooms of a round.
func (r *retention) scan(now time.Time, heads map[uint64]*head) (more bool) {
	n := min(len(r.unscanned), jobBlocks)
	for _, id := range r.unscanned[:n] {
		if h := heads[id]; h != nil {
			r.scheduleRoom(h, now, true)
		}
	}
	r.unscanned = r.unscanned[n:]
	return len(r.unscanned) > 0
}

// Retention is what is kept for how long. It can be changed while the store is
// open.
type Retention struct {
	Lines      uint64        // as Options.Lines
	Bytes      uint64        // as Options.Bytes
	Age        time.Duration // as Options.Age
	Trash      time.Duration // as Options.Trash
	TrashBytes uint64        // as Options.TrashBytes
}

// current is the retention in effect.
func (r *retention) current() Retention { return *r.rules.Load() }

// SetRetention replaces what Open was given. What is then too much goes at
// once.
func (s *Store) SetRetention(r Retention) {
	s.retention.rules.Store(&r)
	s.retention.rulesChanged.Store(true)
	s.queue.wake()
}

// applyRetention hides the oldest lines of a room as far as c says: from now on nobody
// sees them, and with the next fold they go from the database. It looks at no
// more than sweepBlocks blocks; more is true if that was not enough.
func (s *Store) applyRetention(c job, view func(func(*bolt.Tx) error) error) (more bool, blocks int, err error) {
	h := s.heads[c.room]
	if h == nil {
		return false, 0, nil
	}
	to, most := *h, s.retention.limits(h)
	if c.kind == jobLimit && !most.exceeded(h.Lines, h.Bytes) {
		return false, 0, nil
	}
	stop, damaged := false, false
	look := func(b *block.Block) {
		blocks++
		if c.kind == jobLimit && b.First > to.Removed && to.Lines >= uint64(b.Lines) && to.Bytes >= uint64(b.Size) &&
			most.exceeded(to.Lines-uint64(b.Lines)+1, to.Bytes-uint64(b.Size)+1) {
			to.Removed = b.Last
			to.Lines -= uint64(b.Lines)
			to.Bytes -= uint64(b.Size)
			return
		}
		for sc := b.Scan(); sc.Next(); {
			if sc.Seq <= to.Removed {
				continue
			}
			if stop = c.kind == jobLimit && !most.exceeded(to.Lines, to.Bytes) || c.kind == jobAge && sc.Micros >= c.before; stop {
				return
			}
			to.Removed = sc.Seq
			to.Lines--
			to.Bytes -= sc.Weight()
		}
	}
	err = view(blocksOf(c.room, &recent{}, func(cur *bolt.Cursor) {
		k, v := seekLast(cur, to.Removed+1)
		if k == nil {
			k, v = cur.First()
		}
		for ; k != nil && !stop && !more; k, v = cur.Next() {
			if b, err := block.Decode(c.room, k, v); err == nil {
				look(&b)
			} else {
				damaged = true
			}
			more = blocks >= jobBlocks
		}
		if damaged {
			to.recount(c.room, cur)
		}
	}))
	for i := 0; err == nil && i < len(h.tail) && !stop && !more; i++ {
		look(&h.tail[i])
	}
	if err != nil || to.Removed == h.Removed && !damaged {
		return false, blocks, err
	}
	s.mu.Lock()
	h.Removed, h.Lines, h.Bytes, h.unreclaimed = to.Removed, to.Lines, to.Bytes, true
	gone := 0
	for ; gone < len(h.tail) && h.tail[gone].Last <= h.Removed; gone++ {
		s.checkpoint.tailBytes -= h.tail[gone].Len()
	}
	if gone > 0 { // a copy: readers keep what they have, and we nothing of what is gone
		h.tail = slices.Clone(h.tail[gone:])
	}
	s.mu.Unlock()
	s.checkpoint.markDirty(h)
	return more, blocks, nil
}

const (
	// clockJump is what the wall clock may run ahead of the monotonic one between
	// two looks without being doubted.
	clockJump = 10 * time.Minute
	// clockDoubt is how long a jump is not believed: the time to set the clock
	// right again.
	clockDoubt = time.Hour
)

// clock is the wall clock as far as it may be believed by what removes for good.
// When it jumps ahead, that begins to count clockDoubt later, and not at all if
// it has been set back by then. A jump back counts at once: more is kept. Time
// that the machine slept, or the server was down, looks like a jump and is
// treated like one.
//
// Owned by the committer.
type clock struct {
	began time.Time     // where the monotonic clock is 0
	wall  time.Time     // at the last look, without a monotonic reading
	mono  time.Duration // at the last look
	ahead time.Duration // how much of wall is not believed
	since time.Duration // when that began, by the monotonic clock
}

// trusted is the time to go by, when the clocks show wall and mono. jumped is how
// far ahead the wall clock has jumped since the last look.
func (c *clock) trusted(wall time.Time, mono time.Duration) (now time.Time, jumped time.Duration) {
	wall = wall.Round(0)
	jump := wall.Sub(c.wall) - (mono - c.mono)
	switch {
	case c.wall.IsZero():
	case jump > clockJump:
		c.ahead += jump
		c.since = mono
		jumped = jump
	case jump < -clockJump:
		c.ahead = max(0, c.ahead+jump)
	}
	c.wall, c.mono = wall, mono
	if mono-c.since >= clockDoubt {
		c.ahead = 0
	}
	return wall.Add(-c.ahead), jumped
}

// now is the time by which something is too old.
func (r *retention) now() time.Time {
	now, jumped := r.clock.trusted(time.Now(), time.Since(r.clock.began))
	if jumped > 0 {
		r.opts.Events.ClockJumped(jumped)
	}
	return now
}

// lastModified is when somebody wrote to a database last; zero if that is not known.
func lastModified(path string) (at time.Time) {
	for _, p := range []string{path, wal.Path(path)} {
		if st, err := os.Stat(p); err == nil && st.ModTime().After(at) {
			at = st.ModTime()
		}
	}
	return at
}
