package passwd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"roomd/netsvc/limit"
)

// A password that is wrong costs the address that gave it, the networks around
// that address, and the room. A guesser runs into the first of these bounds
// that is used up, however many addresses it has. An address that was inside the
// room not long ago has only its own bound: strangers cannot keep it out.
const (
	// After a wrong password the next one from that address (IPv6: its /64) is
	// looked at only after a time, which doubles with each and is forgotten in the
	// end.
	guessDelay    = 250 * time.Millisecond
	maxGuessDelay = time.Minute
	guessMemory   = time.Hour

	// A password that comes before its time is held for this time at most, then
	// its answer comes instead: a guesser costs no more than that.
	maxGuessWait = time.Second

	// memberMemory is how long a room knows an address that was inside.
	memberMemory = 7 * 24 * time.Hour
)

// How many wrong passwords there may be. Addresses that have given wrong ones, or
// whose neighbours have, may use half of the burst: the other half is for those
// that have not.
var (
	guessesNear = limit.Rate{PerSecond: 1. / 30, Burst: 16}  // from a /56, or a /24 of IPv4
	guessesWide = limit.Rate{PerSecond: 1. / 15, Burst: 32}  // from a /48
	guessesRoom = limit.Rate{PerSecond: 1. / 10, Burst: 128} // in a room, from all strangers together
)

// chargeOne takes one wrong password out of the burst that is whole at a time.
func chargeOne(r limit.Rate, now, whole time.Time, doubt bool) (after time.Time, wait time.Duration) {
	if doubt {
		r.Burst /= 2
	}
	debt, wait := r.Spend(whole.Sub(now), 1)
	return now.Add(debt), wait
}

// network is what lies around an address.
type network struct {
	prefix netip.Prefix
	rate   limit.Rate
}

// networks are those around an address, the nearest first.
func networks(a netip.Addr) []network {
	around := func(bits int) netip.Prefix {
		p, _ := a.Prefix(bits)
		return p
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return []network{{around(24), guessesNear}}
	}
	return []network{{around(56), guessesNear}, {around(48), guessesWide}}
}

// guesser is an address that gives passwords. One of its passwords is looked at
// at a time.
type guesser struct {
	turn      chan struct{} // capacity 1
	users     int           // who has or awaits the turn; guarded by Guesses.mu
	wrong     int           // in a row; this and what follows belong to the turn
	notBefore time.Time     // no password is looked at before
	last      time.Time     // the last wrong one
}

// suspected reports whether the address has given a wrong password within guessForget.
func (u *guesser) suspected(now time.Time) bool { return u.wrong > 0 && now.Sub(u.last) <= guessMemory }

// failed notes a wrong password and returns how long the next one has to wait.
func (u *guesser) failed(now time.Time) time.Duration {
	if !u.suspected(now) {
		u.wrong = 0
	}
	u.wrong++
	wait := guessDelayAfter(u.wrong)
	u.last, u.notBefore = now, now.Add(wait)
	return wait
}

// guessDelayAfter is how long the next password has to wait after so many wrong ones.
func guessDelayAfter(wrong int) time.Duration {
	return min(guessDelay<<min(wrong-1, 20), maxGuessDelay)
}

// guess is a password that may be looked at. It has the turn of its address, and
// its networks and the room have paid for it, unless it was inside.
type guess struct {
	guesser  *guesser
	password *Password
	addr     netip.Addr
	inside   bool
	suspect  bool
}

// rank is whose password is compared first.
func (u *guess) rank() rank {
	switch {
	case u.inside:
		return formerMember
	case u.suspect:
		return suspect
	}
	return stranger
}

// Guesses is what is known of the addresses that give passwords, and of the
// networks around them. The zero value knows nothing.
type Guesses struct {
	mu       sync.Mutex
	guessers map[netip.Prefix]*guesser
	networks limit.Buckets // what those around the guessers have paid
}

// Errors of a password that is not the right one, or was not looked at.
type (
	// Wrong is a password that is not the right one. Next is how long the next one
	// of the address has to wait.
	Wrong struct{ Next time.Duration }
	// Throttled is why a password was not looked at, as it is said to a client.
	Throttled string
)

func (e Wrong) Error() string {
	return fmt.Sprintf("that is not the password; the next one may come after %v", e.Next)
}

func (e Throttled) Error() string { return string(e) }

// ErrSuspended is the error of a caller that waited when the server was suspended.
var ErrSuspended = errors.New("the server is suspended for an upgrade")

// Check looks at a password that an address gives. It waits for the turn of the
// address, for up to a second for the bounds on wrong passwords, and for the
// comparison, until ctx is done or suspend is closed. nil: it is the right one. The
// error is Wrong, also for a text of "", Held, ErrSuspended, the one of ctx, or says
// what is wrong with the hash. text has been prepared for comparison.
func (g *Guesses) Check(ctx context.Context, suspend <-chan struct{}, p *Password, a netip.Addr, text string) error {
	u, err := g.begin(ctx, suspend, p, a)
	if err != nil {
		return err
	}
	right := false
	if text != "" {
		right, err = p.matches(ctx, suspend, text, u.rank())
	}
	wait := g.finish(time.Now(), u, err == nil, right)
	if err == nil && !right {
		return Wrong{wait}
	}
	return err
}

// begin waits until an address may have a password looked at, which must be
// settled then.
func (g *Guesses) begin(ctx context.Context, suspend <-chan struct{}, p *Password, a netip.Addr) (*guess, error) {
	for left := maxGuessWait; ; {
		from, err := g.turn(ctx, suspend, a)
		if err != nil {
			return nil, err
		}
		u := &guess{guesser: from, password: p, addr: a}
		text := "your address has given wrong passwords"
		wait := time.Until(from.notBefore)
		if wait <= 0 {
			text = "many wrong passwords were given"
			if wait = g.charge(time.Now(), u); wait <= 0 {
				return u, nil
			}
		}
		g.done(from)
		if left <= 0 {
			return nil, Throttled(fmt.Sprintf("%s: wait %v before the next one", text, max(wait.Round(100*time.Millisecond), 100*time.Millisecond)))
		}
		pause := min(wait, left)
		left -= pause
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-suspend:
			err = ErrSuspended
		case <-ctx.Done():
			err = ctx.Err()
		}
		t.Stop()
		if err != nil {
			return nil, err
		}
	}
}

// charge makes the networks and the room pay for a password, all of them or, if it
// has to wait, none.
func (g *Guesses) charge(now time.Time, u *guess) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.suspect = u.guesser.suspected(now)
	if u.inside = now.Sub(u.password.members[limit.Prefix(u.addr)]) <= memberMemory; u.inside {
		return 0
	}
	around := networks(u.addr)
	own, after := u.suspect, make([]time.Time, len(around))
	for i, n := range around {
		whole, w := g.networks.FullAt(n.prefix), time.Duration(0)
		u.suspect = u.suspect || whole.After(now)
		after[i], w = chargeOne(n.rate, now, whole, own)
		wait = max(wait, w)
	}
	room, w := chargeOne(guessesRoom, now, u.password.fullAt, u.suspect)
	if wait = max(wait, w); wait > 0 {
		return wait
	}
	u.password.fullAt = room
	for i, n := range around {
		g.networks.SetFullAt(now, n.prefix, after[i])
	}
	return 0
}

// finish ends a guess: with the right password, or one that was not compared, what
// was paid is given back; after a wrong one it returns how long the next has to
// wait.
func (g *Guesses) finish(now time.Time, u *guess, compared, right bool) (wait time.Duration) {
	defer g.done(u.guesser)
	if compared && !right {
		return u.guesser.failed(now)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !u.inside {
		u.password.fullAt = u.password.fullAt.Add(-guessesRoom.Time(1))
		for _, n := range networks(u.addr) {
			if whole := g.networks.FullAt(n.prefix); !whole.IsZero() {
				g.networks.SetFullAt(now, n.prefix, whole.Add(-n.rate.Time(1)))
			}
		}
	}
	return 0
}

// Remember notes that an address is, or was, inside the room of a password. Each of
// so many rooms knows its part of limit.MaxPrefixes; those that were inside last
// stay.
func (g *Guesses) Remember(now time.Time, p *Password, a netip.Addr, rooms int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.members == nil {
		p.members = make(map[netip.Prefix]time.Time)
	}
	k := limit.Prefix(a)
	if _, known := p.members[k]; !known && len(p.members) >= max(16, limit.MaxPrefixes/max(rooms, 1)) {
		oldest := k
		for other, at := range p.members {
			if oldest == k || at.Before(p.members[oldest]) {
				oldest = other
			}
		}
		delete(p.members, oldest)
	}
	p.members[k] = now
}

// turn waits until an address may have a password compared, or be told that it
// may not yet.
func (g *Guesses) turn(ctx context.Context, suspend <-chan struct{}, a netip.Addr) (*guesser, error) {
	u := g.guesser(limit.Prefix(a))
	select {
	case u.turn <- struct{}{}:
		return u, nil
	default:
	}
	err := ErrSuspended
	select {
	case u.turn <- struct{}{}:
		return u, nil
	case <-suspend:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.unuse(u)
	return nil, err
}

// done ends a turn.
func (g *Guesses) done(u *guesser) {
	<-u.turn
	g.unuse(u)
}

func (g *Guesses) unuse(u *guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.users--
}

// guesser finds what is known of an address. Of more than limit.MaxPrefixes some
// that nobody uses are forgotten: those that guess no more, then any.
func (g *Guesses) guesser(k netip.Prefix) *guesser {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.guessers[k]
	if u == nil {
		now := time.Now()
		limit.Evict(g.guessers, func(u *guesser) bool { return now.Sub(u.last) > guessMemory }, func(u *guesser) bool { return u.users > 0 })
		if g.guessers == nil {
			g.guessers = make(map[netip.Prefix]*guesser)
		}
		u = &guesser{turn: make(chan struct{}, 1)}
		g.guessers[k] = u
	}
	u.users++
	return u
}
