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

type choreKind int

const (
	choreTrim  choreKind = iota // hide lines beyond Options.Lines and Bytes
	choreAge                    // hide lines older than Options.Age
	choreSweep                  // take hidden lines out of the database
	chorePurge                  // remove deleted rooms; of no room
	choreLook                   // look at the next rooms of retention.round; of no room
)

// chore is housekeeping for one room, done in steps by the committer. A step is a
// transaction that looks at, or removes, about sweepBlocks blocks and rooms: that is
// what a line which arrives meanwhile waits for, whatever there is to be done.
type chore struct {
	room   uint64
	kind   choreKind
	before int64 // choreAge: lines older than this go; choreLook: the time; in microseconds
}

// retention says what is removed, and when: lines that are too old or too many,
// deleted rooms.
//
// Owned by the committer, but for rules and replan.
type retention struct {
	opts   *Options
	rules  atomic.Pointer[Retention] // replaced as a whole
	replan atomic.Bool               // they have been

	chores  []chore
	waiting map[chore]bool // which chores there are
	round   []uint64       // rooms that look has not looked at yet
	aging   bool           // there may be something that gets too old
	clock   clock          // says what does
	trash   trash
}

// init is for a file that was written to last at a time; zero: that is not known.
func (r *retention) init(opts *Options, used time.Time) {
	r.opts = opts
	r.waiting = make(map[chore]bool)
	r.clock = clock{began: time.Now(), wall: used}
	r.trash.draining = make(map[uint64]trashed)
}

// overfull leaves a margin, so that a busy room is not trimmed line by line.
func (r *retention) overfull(h *head) bool {
	most := r.bounds(h)
	if most.lines > 0 {
		most.lines += most.lines/50 + trimSlack
	}
	most.bytes += most.bytes / 50
	return most.exceeded(h.Lines, h.Bytes)
}

// bounds are how much of a room's history is kept; 0: all.
type bounds struct{ lines, bytes uint64 }

func (r *retention) bounds(h *head) bounds {
	b := bounds{r.keep().Lines, r.keep().Bytes}
	if h.own.Lines != nil {
		b.lines = *h.own.Lines
	}
	return b
}

// exceeded reports whether so much is too much.
func (b bounds) exceeded(lines, bytes uint64) bool {
	return b.lines > 0 && lines > b.lines || b.bytes > 0 && bytes > b.bytes
}

// mostAge is how old the lines of a room may be; 0: any age.
func (r *retention) mostAge(h *head) time.Duration {
	if h.own.Age != nil {
		return *h.own.Age
	}
	return r.keep().Age
}

// retain makes a room keep what its settings say, from now on. It runs on the
// committer's goroutine.
func (s *Store) retain(room uint64, own Settings) {
	h := s.heads[room]
	if h == nil {
		return
	}
	s.mu.Lock()
	h.own = own
	s.mu.Unlock()
	s.retention.planRoom(h, s.retention.now(), false)
}

// planRoom has lines that are too old removed, and what is too much; with a margin
// only if it is above that.
func (r *retention) planRoom(h *head, now time.Time, margin bool) {
	if r.overfull(h) || !margin && r.bounds(h).exceeded(h.Lines, h.Bytes) {
		r.addChore(chore{room: h.id, kind: choreTrim})
	}
	if age := r.mostAge(h); age > 0 {
		r.aging = true
		r.addChore(chore{room: h.id, kind: choreAge, before: now.Add(-age).UnixMicro()})
	}
}

// hideAgain hides what retention had hidden before a crash: of a room whose
// newest lines are only in the journal, the database does not know that yet. What
// cannot be read is looked at again by the chores. The file is the caller's.
func (s *Store) hideAgain(h *head) {
	all := []chore{{room: h.id, kind: choreTrim}}
	if age := s.retention.mostAge(h); age > 0 {
		all = append(all, chore{room: h.id, kind: choreAge, before: s.retention.now().Add(-age).UnixMicro()})
	}
	for _, c := range all {
		for more := true; more; {
			more, _, _ = s.trim(c, func(fn func(*bolt.Tx) error) error { return viewDB(s.file.db, fn) })
		}
	}
}

func (r *retention) addChore(c chore) {
	key := chore{room: c.room, kind: c.kind}
	if !r.waiting[key] {
		r.waiting[key] = true
		r.chores = append(r.chores, c)
	}
}

// chore does a step of what is first, or of several where a step is little
// work, and reports whether there is more. A step that fails is dropped: the
// room is looked at again with the next line or the next minute.
func (s *Store) chore() bool {
	for blocks := 0; len(s.retention.chores) > 0 && blocks < sweepBlocks; {
		c := s.retention.chores[0]
		more, n, err := s.tidyRoom(c)
		if !more || err != nil {
			s.retention.chores = s.retention.chores[1:]
			delete(s.retention.waiting, chore{room: c.room, kind: c.kind})
		}
		blocks += n + 1
	}
	return len(s.retention.chores) > 0
}

// tidyRoom does a step of a chore and tells about how many blocks' worth of
// work it was.
func (s *Store) tidyRoom(c chore) (more bool, blocks int, err error) {
	switch c.kind {
	case chorePurge:
		more, err = s.purgeStep()
		return more, sweepBlocks, err
	case choreLook:
		return s.retention.look(time.UnixMicro(c.before), s.heads), sweepBlocks, nil
	case choreSweep:
		more, err = s.sweepStep(c.room)
		return more, sweepBlocks, err
	}
	return s.trim(c, s.file.view)
}

// sweepStep takes some of a room's hidden lines out of the database.
func (s *Store) sweepStep(room uint64) (more bool, err error) {
	h := s.heads[room]
	if h == nil || !h.unswept {
		return false, nil
	}
	if err := s.flush(); err != nil {
		return false, err
	}
	s.checkpoint.begin()
	if err := s.transact(func(tx *bolt.Tx) error { return s.foldRoom(tx, room, h) }); err != nil {
		return false, err
	}
	s.folded()
	return h.unswept, nil
}

// plan has what is too old at that time, or too much, removed in small steps.
func (r *retention) plan(now time.Time, heads map[uint64]*head) {
	r.trash.expire(now.Add(-r.keep().Trash).UnixMicro())
	r.planPurge()
	r.aging = r.trash.any()
	r.round = slices.AppendSeq(r.round[:0], maps.Keys(heads))
	r.addChore(chore{kind: choreLook, before: now.UnixMicro()})
}

// look plans what is to be done in the next rooms of a round.
func (r *retention) look(now time.Time, heads map[uint64]*head) (more bool) {
	n := min(len(r.round), sweepBlocks)
	for _, id := range r.round[:n] {
		if h := heads[id]; h != nil {
			r.planRoom(h, now, true)
		}
	}
	r.round = r.round[n:]
	return len(r.round) > 0
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

// keep is the retention in effect.
func (r *retention) keep() Retention { return *r.rules.Load() }

// SetRetention replaces what Open was given. What is then too much goes at
// once.
func (s *Store) SetRetention(r Retention) {
	s.retention.rules.Store(&r)
	s.retention.replan.Store(true)
	s.queue.nudge()
}

// trim hides the oldest lines of a room as far as c says: from now on nobody
// sees them, and with the next fold they go from the database. It looks at no
// more than sweepBlocks blocks; more is true if that was not enough.
func (s *Store) trim(c chore, view func(func(*bolt.Tx) error) error) (more bool, blocks int, err error) {
	h := s.heads[c.room]
	if h == nil {
		return false, 0, nil
	}
	to, most := *h, s.retention.bounds(h)
	if c.kind == choreTrim && !most.exceeded(h.Lines, h.Bytes) {
		return false, 0, nil
	}
	stop, damaged := false, false
	look := func(b *block.Block) {
		blocks++
		if c.kind == choreTrim && b.First > to.Trimmed && to.Lines >= uint64(b.Lines) && to.Bytes >= uint64(b.Size) &&
			most.exceeded(to.Lines-uint64(b.Lines)+1, to.Bytes-uint64(b.Size)+1) {
			to.Trimmed = b.Last
			to.Lines -= uint64(b.Lines)
			to.Bytes -= uint64(b.Size)
			return
		}
		for sc := b.Scan(); sc.Next(); {
			if sc.Seq <= to.Trimmed {
				continue
			}
			if stop = c.kind == choreTrim && !most.exceeded(to.Lines, to.Bytes) || c.kind == choreAge && sc.Micros >= c.before; stop {
				return
			}
			to.Trimmed = sc.Seq
			to.Lines--
			to.Bytes -= sc.Weight()
		}
	}
	err = view(blocksOf(c.room, &recent{}, func(cur *bolt.Cursor) {
		k, v := seekLast(cur, to.Trimmed+1)
		if k == nil {
			k, v = cur.First()
		}
		for ; k != nil && !stop && !more; k, v = cur.Next() {
			if b, err := block.Decode(c.room, k, v); err == nil {
				look(&b)
			} else {
				damaged = true
			}
			more = blocks >= sweepBlocks
		}
		if damaged {
			to.recount(c.room, cur)
		}
	}))
	for i := 0; err == nil && i < len(h.tail) && !stop && !more; i++ {
		look(&h.tail[i])
	}
	if err != nil || to.Trimmed == h.Trimmed && !damaged {
		return false, blocks, err
	}
	s.mu.Lock()
	h.Trimmed, h.Lines, h.Bytes, h.unswept = to.Trimmed, to.Lines, to.Bytes, true
	gone := 0
	for ; gone < len(h.tail) && h.tail[gone].Last <= h.Trimmed; gone++ {
		s.checkpoint.tails -= h.tail[gone].Len()
	}
	if gone > 0 { // a copy: readers keep what they have, and we nothing of what is gone
		h.tail = slices.Clone(h.tail[gone:])
	}
	s.mu.Unlock()
	s.checkpoint.soil(h)
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
		r.opts.Events.Jumped(jumped)
	}
	return now
}

// lastUsed is when somebody wrote to a database last; zero if that is not known.
func lastUsed(path string) (at time.Time) {
	for _, p := range []string{path, wal.Path(path)} {
		if st, err := os.Stat(p); err == nil && st.ModTime().After(at) {
			at = st.ModTime()
		}
	}
	return at
}
