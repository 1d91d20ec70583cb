package store

import (
	"os"
	"time"

	"roomd/store/wal"
)

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
