package passwd

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Records are the times and numbers that are known of prefixes, in recordBytes each, for another
// process. There may be many, and the server is suspended meanwhile: as JSON they would take ten
// times as long.
type Records []byte

const (
	recordBytes = 16 + 1 + 8 + 1
	recordIPv4  = 0x80 // with the bits of a prefix: it is of IPv4
)

func (b Records) add(p netip.Prefix, at time.Time, n int) Records {
	addr, bits := p.Addr().As16(), byte(p.Bits())
	if p.Addr().Is4() {
		bits |= recordIPv4
	}
	b = append(append(b, addr[:]...), bits)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro()))
	return append(b, byte(min(n, 255)))
}

func (b Records) each(f func(p netip.Prefix, at time.Time, n int)) {
	for ; len(b) >= recordBytes; b = b[recordBytes:] {
		addr, bits := netip.AddrFrom16([16]byte(b)), b[16]
		if bits&recordIPv4 != 0 {
			addr, bits = addr.Unmap(), bits&^recordIPv4
		}
		f(netip.PrefixFrom(addr, int(bits)), time.UnixMicro(int64(binary.BigEndian.Uint64(b[17:]))), int(b[25]))
	}
}

// State returns the wrong passwords of addresses, and the charges of their networks.
func (g *Guesses) State(now time.Time) (guesses, paid Records) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, u := range g.guessers {
		select {
		case <-u.turn:
			if u.suspected(now) {
				guesses = guesses.add(k, u.last, u.wrong)
			}
			u.turn <- struct{}{}
		default: // a password is being compared: its address is left out
		}
	}
	for k, debt := range g.networks.Debts(now) {
		paid = paid.add(k, now.Add(debt), 0)
	}
	return guesses, paid
}

// Restore takes over what State returned, in another process.
func (g *Guesses) Restore(guesses, paid Records) {
	guesses.each(func(k netip.Prefix, at time.Time, wrong int) {
		u := g.use(k)
		u.wrong, u.last, u.notBefore = wrong, at, at.Add(guessDelayAfter(wrong))
		g.unuse(u)
	})
	paid.each(func(k netip.Prefix, whole time.Time, _ int) { g.networks.SetFullAt(time.Now(), k, whole) })
}

// RoomState returns the addresses that had members in the room of a password, and when the burst
// of its strangers is full again. p may be nil.
func (g *Guesses) RoomState(p *Password) (members Records, fullAt time.Time) {
	if p == nil {
		return nil, fullAt
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, at := range p.members {
		members = members.add(k, at, 0)
	}
	return members, p.fullAt
}

// RestoreRoom takes over what RoomState returned, in another process.
func (g *Guesses) RestoreRoom(p *Password, members Records, fullAt time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.fullAt, p.members = fullAt, make(map[netip.Prefix]time.Time)
	members.each(func(k netip.Prefix, at time.Time, _ int) { p.members[k] = at })
}
