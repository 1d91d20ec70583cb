package passwd

import (
	"net/netip"
	"time"

	"roomd/netsvc/limit"
)

const (
	// After a wrong password the next one of the address (IPv6: of its /64) has to wait. The
	// delay doubles with each wrong one, and is forgotten after guessMemory.
	guessDelay    = 250 * time.Millisecond
	maxGuessDelay = time.Minute
	guessMemory   = time.Hour

	// memberMemory is how long a room remembers an address that had a member in it.
	memberMemory = 7 * 24 * time.Hour
)

// guesser is an address that gives passwords. One of its passwords is compared at a time.
type guesser struct {
	turn  chan struct{} // has a token unless somebody has the turn
	users int           // goroutines that have or await the turn; guarded by Guesses.mu

	// Owned by the holder of the turn.
	wrong     int       // passwords in a row
	notBefore time.Time // for the next password
	last      time.Time // the last wrong one
}

func newGuesser() *guesser {
	u := &guesser{turn: make(chan struct{}, 1)}
	u.turn <- struct{}{}
	return u
}

// suspected reports whether the address has given a wrong password within guessMemory.
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

// guessDelayAfter returns how long the next password has to wait after so many wrong ones.
func guessDelayAfter(wrong int) time.Duration {
	return min(guessDelay<<min(wrong-1, 20), maxGuessDelay)
}

// How many wrong passwords there may be. An address that has given wrong ones, or whose network
// has, may use only half of the burst: the other half is for those that have not.
var (
	guessesNear = limit.Rate{PerSecond: 1. / 30, Burst: 16}  // from a /56, or a /24 of IPv4
	guessesWide = limit.Rate{PerSecond: 1. / 15, Burst: 32}  // from a /48
	guessesRoom = limit.Rate{PerSecond: 1. / 10, Burst: 128} // in a room, from all strangers together
)

// network is a network around an address, and its limit on wrong passwords.
type network struct {
	prefix netip.Prefix
	rate   limit.Rate
}

// networks returns the networks around an address, the smallest first.
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

// spendGuess takes one wrong password out of a burst that is full at fullAt.
func spendGuess(r limit.Rate, now, fullAt time.Time, suspect bool) (after time.Time, wait time.Duration) {
	if suspect {
		r.Burst /= 2
	}
	debt, wait := r.Spend(fullAt.Sub(now), 1)
	return now.Add(debt), wait
}
