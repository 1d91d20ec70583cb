package store

import (
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/lineid"
	"roomd/store/wal"
)

// limitMargin is the number of lines that a room may have above its limit, beside 2 % of
// the limit.
const limitMargin = 100

// forgetIDs bounds the IDs that one transaction removes.
const forgetIDs = 4096

type jobKind int

const (
	jobLimit     jobKind = iota // hide lines beyond Retention.Lines and Bytes
	jobAge                      // hide lines older than Retention.Age
	jobReclaim                  // remove hidden lines from the database
	jobPurge                    // remove deleted rooms; of no room
	jobPositions                // write positions of readers; of no room
	jobExpire                   // remove positions that are too old; of no room
	jobForget                   // remove IDs of lines that are too old, or too many; of no room
	jobScan                     // schedule jobs for the next rooms of retention.unscanned; of no room
)

// job is background work for one room, done in steps by the committer. A step is a
// transaction that reads or removes about jobBlocks blocks and rooms, or some readers'
// positions, so that a line which arrives meanwhile waits for that long at most.
type job struct {
	room   uint64
	kind   jobKind
	before int64 // jobAge, jobExpire: what is older than this is hidden or removed; jobForget, jobScan: the time; in microseconds
}

// retention removes lines that are too old or too many, and deleted rooms.
//
// Owned by the committer, but for rules and rulesChanged.
type retention struct {
	opts         *Options
	rules        atomic.Pointer[Retention] // replaced as a whole
	rulesChanged atomic.Bool

	jobs      []job
	queued    map[job]bool // the jobs in jobs, without before
	unscanned []uint64     // rooms that jobScan has not scheduled yet
	mayExpire bool         // there may be something that gets too old
	clock     clock
	trash     trash
}

// init takes the time when the file was written last; zero: that is not known.
func (r *retention) init(opts *Options, modified time.Time) {
	r.opts = opts
	r.queued = make(map[job]bool)
	r.clock = clock{began: time.Now(), wall: modified}
	r.trash.draining = make(map[uint64]trashEntry)
}

// overLimit has a margin, so that lines of a busy room are not removed one by one.
func (r *retention) overLimit(h *head) bool {
	most := r.limits(h)
	if most.lines > 0 {
		most.lines += most.lines/50 + limitMargin
	}
	most.bytes += most.bytes / 50
	return most.exceeded(h.Lines, h.Bytes)
}

// limits bound a room's history; 0: no limit.
type limits struct{ lines, bytes uint64 }

func (r *retention) limits(h *head) limits {
	b := limits{r.current().Lines, r.current().Bytes}
	if h.settings.Lines != nil {
		b.lines = *h.settings.Lines
	}
	return b
}

// exceeded reports whether so many lines or bytes are too many.
func (b limits) exceeded(lines, bytes uint64) bool {
	return b.lines > 0 && lines > b.lines || b.bytes > 0 && bytes > b.bytes
}

// maxAge returns how old the lines of a room may be; 0: any age.
func (r *retention) maxAge(h *head) time.Duration {
	if h.settings.Age != nil {
		return *h.settings.Age
	}
	return r.current().Age
}

// applySettings makes a room's settings take effect. It runs on the committer's
// goroutine.
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

// scheduleRoom adds the jobs that remove lines which are too old or too many. With margin, a
// room has too many only when it exceeds its limits by the margin.
func (r *retention) scheduleRoom(h *head, now time.Time, margin bool) {
	if r.overLimit(h) || !margin && r.limits(h).exceeded(h.Lines, h.Bytes) {
		r.addJob(job{room: h.id, kind: jobLimit})
	}
	if age := r.maxAge(h); age > 0 {
		r.mayExpire = true
		r.addJob(job{room: h.id, kind: jobAge, before: now.Add(-age).UnixMicro()})
	}
}

// reapplyRetention hides the lines that retention had hidden before a crash: the
// database does not know that of a room whose newest lines are only in the WAL. Errors
// come again when the jobs run. The caller holds the file.
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

// runJobs does a step of the first job, or of several jobs if their steps are short,
// and reports whether there is more to do. A step that fails ends its job: the room is
// scheduled again with its next line or after a minute.
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

// runJob does a step of a job, and returns about how many blocks it has read or
// removed.
func (s *Store) runJob(c job) (more bool, blocks int, err error) {
	switch c.kind {
	case jobPurge:
		more, err = s.purgeStep()
		return more, jobBlocks, err
	case jobScan:
		return s.retention.scan(time.UnixMicro(c.before), s.heads), jobBlocks, nil
	case jobPositions:
		more, err = s.positionsStep(positionsStep)
		return more, jobBlocks, err
	case jobExpire:
		return s.expireStep(c.before)
	case jobForget:
		return s.forgetStep(time.UnixMicro(c.before))
	case jobReclaim:
		more, err = s.reclaimStep(c.room)
		return more, jobBlocks, err
	}
	return s.applyRetention(c, s.file.view)
}

// reclaimStep removes some of a room's hidden lines from the database.
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

// schedule adds jobs that remove, in small steps, everything that is too old at a time,
// or too much.
func (r *retention) schedule(now time.Time, heads map[uint64]*head) {
	r.trash.expire(now.Add(-r.current().Trash).UnixMicro())
	r.schedulePurge()
	r.mayExpire = r.trash.nonEmpty()
	r.unscanned = slices.AppendSeq(r.unscanned[:0], maps.Keys(heads))
	r.addJob(job{kind: jobExpire, before: now.Add(-PositionsKept).UnixMicro()})
	r.addJob(job{kind: jobForget, before: now.UnixMicro()})
	r.addJob(job{kind: jobScan, before: now.UnixMicro()})
}

// forgetStep removes some IDs of lines. n is 0 if there is nothing to look for.
func (s *Store) forgetStep(now time.Time) (more bool, n int, err error) {
	expired := false
	err = s.file.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketIDs)
		s.retention.mayExpire = s.retention.mayExpire || lineid.Any(b)
		expired = lineid.Expired(b, now)
		return nil
	})
	if err != nil || !expired {
		return false, 0, err
	}
	err = s.transact(func(tx *bolt.Tx) (err error) {
		more, err = lineid.Remove(tx.Bucket(bucketIDs), now, forgetIDs)
		return err
	})
	return more, jobBlocks, err
}

// scan schedules the next rooms of unscanned.
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

// Retention says which lines and which deleted rooms are kept.
type Retention struct {
	// Lines kept per room; the oldest ones are removed. 0: no limit. A room may
	// have about 2 % more for a while, as lines are not removed one by one.
	Lines uint64
	// Bytes kept per room, as Stat counts them; the oldest lines are removed. 0: no
	// limit. It has a margin of 2 %, too.
	Bytes uint64
	// Age of the oldest line kept, checked once a minute. 0: no limit. It goes by
	// the wall clock, but see Events.ClockJumped.
	Age time.Duration
	// Trash is how long a deleted room can be restored. 0: not at all.
	Trash time.Duration
	// TrashBytes bounds the size of the trash: for each room the bytes of its lines,
	// and 1 KiB. Beyond it the room that was deleted first is purged. 0: no limit.
	TrashBytes uint64
}

// current returns the rules in effect.
func (r *retention) current() Retention { return *r.rules.Load() }

// SetRetention replaces the rules that Open was given. Lines and rooms that exceed them
// are removed at once.
func (s *Store) SetRetention(r Retention) {
	s.retention.rules.Store(&r)
	s.retention.rulesChanged.Store(true)
	s.queue.wake()
}

// applyRetention hides the oldest lines of a room, as j says: from now on readers do not
// see them, and later transactions remove them from the database. It reads at most
// jobBlocks blocks; more is true if that was not enough. view runs a read transaction.
func (s *Store) applyRetention(j job, view func(func(*bolt.Tx) error) error) (more bool, blocks int, err error) {
	h := s.heads[j.room]
	if h == nil {
		return false, 0, nil
	}
	to, most := h.Stat, s.retention.limits(h)
	if j.kind == jobLimit && !most.exceeded(h.Lines, h.Bytes) {
		return false, 0, nil
	}
	stop, corrupt := false, false
	hide := func(b *block.Block) {
		blocks++
		if j.kind == jobLimit && b.First > to.Removed && to.Lines >= uint64(b.Lines) && to.Bytes >= uint64(b.Size) &&
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
			if stop = j.kind == jobLimit && !most.exceeded(to.Lines, to.Bytes) || j.kind == jobAge && sc.Micros >= j.before; stop {
				return
			}
			to.Removed = sc.Seq
			to.Lines--
			to.Bytes -= sc.Weight()
		}
	}
	err = view(blocksOf(j.room, &recent{}, func(cur *bolt.Cursor) {
		k, v := seekLast(cur, to.Removed+1)
		if k == nil {
			k, v = cur.First()
		}
		for ; k != nil && !stop && !more; k, v = cur.Next() {
			if b, err := block.Decode(j.room, k, v); err == nil {
				hide(&b)
			} else {
				corrupt = true
			}
			more = blocks >= jobBlocks
		}
		if corrupt {
			to.recount(j.room, cur, h.tail)
		}
	}))
	for i := 0; err == nil && i < len(h.tail) && !stop && !more; i++ {
		hide(&h.tail[i])
	}
	if err != nil || to.Removed == h.Removed && !corrupt {
		return false, blocks, err
	}
	s.mu.Lock()
	h.Stat, h.unreclaimed = to, true
	hidden := 0
	for ; hidden < len(h.tail) && h.tail[hidden].Last <= h.Removed; hidden++ {
		s.checkpoint.tailBytes -= h.tail[hidden].Len()
	}
	if hidden > 0 { // a copy: readers may have the old slice, and the hidden blocks are to be freed
		h.tail = slices.Clone(h.tail[hidden:])
	}
	s.mu.Unlock()
	s.checkpoint.markDirty(h)
	return more, blocks, nil
}

const (
	// clockJump is how far the wall clock may run ahead of the monotonic one between
	// two readings without being distrusted.
	clockJump = 10 * time.Minute
	// clockDoubt is how long a jump does not count: the time to correct the clock.
	clockDoubt = time.Hour
)

// clock is the wall clock as far as it can be trusted by a job that removes lines for
// good. When it jumps ahead, the jump counts after clockDoubt, and not at all if the
// clock has been set back by then. A jump back counts at once: more is kept. Time for
// which the machine slept, or the server was down, looks like a jump and is treated
// like one.
//
// Owned by the committer.
type clock struct {
	began time.Time     // where the monotonic clock is 0
	wall  time.Time     // at the last reading, without a monotonic part
	mono  time.Duration // at the last reading
	ahead time.Duration // how much of wall is not trusted
	since time.Duration // when the last jump was, by the monotonic clock
}

// trusted returns the time to go by when the clocks show wall and mono. jumped is how
// far ahead the wall clock has jumped since the last reading.
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

// now returns the trusted time.
func (r *retention) now() time.Time {
	now, jumped := r.clock.trusted(time.Now(), time.Since(r.clock.began))
	if jumped > 0 {
		r.opts.Events.ClockJumped(jumped)
	}
	return now
}

// lastModified returns when a database was written last, or zero if that is not known.
func lastModified(path string) (at time.Time) {
	for _, p := range []string{path, wal.Path(path)} {
		if st, err := os.Stat(p); err == nil && st.ModTime().After(at) {
			at = st.ModTime()
		}
	}
	return at
}
