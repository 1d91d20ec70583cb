package netsvc

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// notes are what is known of addresses and networks, as it is handed over: of each
// its prefix, a time and a number, in noteBytes. There may be many, while all stands
// still: JSON of their own would take ten times as long.
type notes []byte

const (
	noteBytes = 16 + 1 + 8 + 1
	noteOf4   = 0x80 // with the bits of a prefix: it is of IPv4
)

func (b notes) add(p netip.Prefix, at time.Time, n int) notes {
	addr, bits := p.Addr().As16(), byte(p.Bits())
	if p.Addr().Is4() {
		bits |= noteOf4
	}
	b = append(append(b, addr[:]...), bits)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro()))
	return append(b, byte(min(n, 255)))
}

func (b notes) each(f func(p netip.Prefix, at time.Time, n int)) {
	for ; len(b) >= noteBytes; b = b[noteBytes:] {
		addr, bits := netip.AddrFrom16([16]byte(b)), b[16]
		if bits&noteOf4 != 0 {
			addr, bits = addr.Unmap(), bits&^noteOf4
		}
		f(netip.PrefixFrom(addr, int(bits)), time.UnixMicro(int64(binary.BigEndian.Uint64(b[17:]))), int(b[25]))
	}
}

// state is what addresses have guessed, and their networks have paid.
func (g *gate) state(now time.Time) (guesses, paid notes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, u := range g.guesses {
		select {
		case u.turn <- struct{}{}:
			if u.doubted(now) {
				guesses = guesses.add(k, u.last, u.wrong)
			}
			<-u.turn
		default: // it stays behind
		}
	}
	for k, debt := range g.networks.Debts(now) {
		paid = paid.add(k, now.Add(debt), 0)
	}
	return guesses, paid
}

// restore takes over what state gave.
func (g *gate) restore(guesses, paid notes) {
	guesses.each(func(k netip.Prefix, at time.Time, wrong int) {
		u := g.guesser(k)
		u.wrong, u.last, u.until = wrong, at, at.Add(guessWait(wrong))
		g.unuse(u)
	})
	paid.each(func(k netip.Prefix, whole time.Time, _ int) { g.networks.SetWhole(time.Now(), k, whole) })
}

// lockState is who is known of a room, and what strangers have paid.
func (g *gate) lockState(l *lock) (inside notes, guessed time.Time) {
	if l == nil {
		return nil, guessed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, at := range l.inside {
		inside = inside.add(k, at, 0)
	}
	return inside, l.guessed
}

// restoreLock takes over what lockState gave.
func (g *gate) restoreLock(l *lock, inside notes, guessed time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l.guessed, l.inside = guessed, make(map[netip.Prefix]time.Time)
	inside.each(func(k netip.Prefix, at time.Time, _ int) { l.inside[k] = at })
}
