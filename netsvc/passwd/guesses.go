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

// maxGuessWait is how long a password may wait that comes too early. Then it is answered with
// Throttled, and not compared: a guesser costs no more than that.
const maxGuessWait = time.Second

// Guesses knows the addresses that give passwords, and the networks around them. A wrong password
// costs the address that gave it, the networks around it, and the room: a guesser reaches the
// first of these limits, however many addresses it has. An address that had a member in the room
// has only its own limit: strangers cannot keep it out. The zero value knows no address.
type Guesses struct {
	mu       sync.Mutex
	guessers map[netip.Prefix]*guesser
	networks limit.Buckets // wrong passwords of the networks around guessers
}

// Errors of a password that is wrong, or was not compared.
type (
	// Wrong is a wrong password. Next is how long the next one of the address has to wait.
	Wrong struct{ Next time.Duration }
	// Throttled says to a client why its password was not compared.
	Throttled string
)

func (e Wrong) Error() string {
	return fmt.Sprintf("that is not the password; the next one may come after %v", e.Next)
}

func (e Throttled) Error() string { return string(e) }

// ErrSuspended is the error of a caller that waited when the server was suspended.
var ErrSuspended = errors.New("the server is suspended for an upgrade")

// receive waits until c can be received from. The error is ErrSuspended once suspend is closed, or
// the one of ctx.
func receive[T any](ctx context.Context, suspend <-chan struct{}, c <-chan T) error {
	select {
	case <-c:
		return nil
	case <-suspend:
		return ErrSuspended
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guess is a password that may be compared. It has the turn of its address, and its networks and
// the room are charged for it, unless the address had a member in the room.
type guess struct {
	guesser  *guesser
	password *Password
	addr     netip.Addr
	member   bool // the address had a member in the room
	suspect  bool
}

// rank returns the guess's rank in the queue of hashes.
func (u *guess) rank() rank {
	switch {
	case u.member:
		return formerMember
	case u.suspect:
		return suspect
	}
	return stranger
}

// Check compares a password that an address gives. It waits for the turn of the address, for up to
// maxGuessWait for the limits on wrong passwords, and for the comparison, until ctx is done or
// suspend is closed. nil: it is the right one. The error is Wrong, also for a text of "",
// Throttled, ErrSuspended, the one of ctx, or says what is wrong with the hash. text has been
// prepared for comparison.
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

// begin waits until a password of the address may be compared. finish must follow.
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
		g.endTurn(from)
		if left <= 0 {
			return nil, Throttled(fmt.Sprintf("%s: wait %v before the next one", text, max(wait.Round(100*time.Millisecond), 100*time.Millisecond)))
		}
		pause := min(wait, left)
		left -= pause
		if err := receive(ctx, suspend, time.After(pause)); err != nil {
			return nil, err
		}
	}
}

// charge charges the networks and the room for a password. If one of them has to wait, none is
// charged.
func (g *Guesses) charge(now time.Time, u *guess) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.suspect = u.guesser.suspected(now)
	if u.member = now.Sub(u.password.members[limit.Prefix(u.addr)]) <= memberMemory; u.member {
		return 0
	}
	around := networks(u.addr)
	own, after := u.suspect, make([]time.Time, len(around))
	for i, n := range around {
		fullAt, w := g.networks.FullAt(n.prefix), time.Duration(0)
		u.suspect = u.suspect || fullAt.After(now)
		after[i], w = spendGuess(n.rate, now, fullAt, own)
		wait = max(wait, w)
	}
	room, w := spendGuess(guessesRoom, now, u.password.fullAt, u.suspect)
	if wait = max(wait, w); wait > 0 {
		return wait
	}
	u.password.fullAt = room
	for i, n := range around {
		g.networks.SetFullAt(now, n.prefix, after[i])
	}
	return 0
}

// finish ends a guess. After a wrong password it returns how long the next one has to wait. For a
// right one, and one that was not compared, the charge is given back.
func (g *Guesses) finish(now time.Time, u *guess, compared, right bool) (wait time.Duration) {
	defer g.endTurn(u.guesser)
	if compared && !right {
		return u.guesser.failed(now)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !u.member {
		u.password.fullAt = u.password.fullAt.Add(-guessesRoom.Time(1))
		for _, n := range networks(u.addr) {
			if fullAt := g.networks.FullAt(n.prefix); !fullAt.IsZero() {
				g.networks.SetFullAt(now, n.prefix, fullAt.Add(-n.rate.Time(1)))
			}
		}
	}
	return 0
}

// Remember notes that an address has a member in the room of a password, or had one. Each of so
// many rooms remembers its part of limit.MaxPrefixes, the newest.
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

// turn waits for the turn of an address. endTurn must follow.
func (g *Guesses) turn(ctx context.Context, suspend <-chan struct{}, a netip.Addr) (*guesser, error) {
	u := g.use(limit.Prefix(a))
	select {
	case <-u.turn: // also if ctx is done
		return u, nil
	default:
	}
	if err := receive(ctx, suspend, u.turn); err != nil {
		g.unuse(u)
		return nil, err
	}
	return u, nil
}

func (g *Guesses) endTurn(u *guesser) {
	u.turn <- struct{}{}
	g.unuse(u)
}

// use returns the guesser of an address, for unuse. Of more than limit.MaxPrefixes it forgets some
// that are not in use: those beyond guessMemory, then any.
func (g *Guesses) use(k netip.Prefix) *guesser {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.guessers[k]
	if u == nil {
		now := time.Now()
		limit.Evict(g.guessers, func(u *guesser) bool { return now.Sub(u.last) > guessMemory }, func(u *guesser) bool { return u.users > 0 })
		if g.guessers == nil {
			g.guessers = make(map[netip.Prefix]*guesser)
		}
		u = newGuesser()
		g.guessers[k] = u
	}
	u.users++
	return u
}

func (g *Guesses) unuse(u *guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.users--
}
