package ban

import (
	"net/netip"
	"slices"
	"time"

	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Ban is a ban or a mute, with its addresses as they are compared.
type Ban struct {
	store.Ban
	prefix netip.Prefix // the zero value contains no address
}

// New returns a stored ban or mute. One whose address is none applies by its nick only.
func New(b store.Ban) Ban {
	prefix, _ := limit.ParseNetwork(b.Addr) // a ban of a nick has none
	return Ban{b, prefix}
}

// Covers reports whether the ban or mute is of an address, or of a network that contains it.
func (b *Ban) Covers(a netip.Addr) bool { return b.prefix.Contains(a.Unmap().WithZone("")) }

// Expired reports whether the ban or mute no longer applies.
func (b *Ban) Expired(now time.Time) bool { return !b.Until.IsZero() && now.After(b.Until) }

// Refuses reports whether a ban, and not a mute, applies to an address or a folded nick in a room.
// room is 0 for the master port, and nick "" for a client that has none.
func (b *Ban) Refuses(now time.Time, room uint64, addr netip.Addr, nick string) bool {
	return !b.Mute && (b.Room == 0 || b.Room == room) && !b.Expired(now) &&
		(b.Covers(addr) || b.Nick != "" && b.Nick == nick)
}

// Member is a member of a room as mutes see it.
type Member struct {
	ID     uint64
	Room   uint64
	Addr   netip.Addr
	Nick   string    // folded
	Joined time.Time // the room
}

// SetOn reports whether the ban or mute was set on the member of that ID since the server started:
// IDs begin again with each start.
func (b *Ban) SetOn(id uint64, started time.Time) bool {
	return b.Member != 0 && b.Member == id && b.Created.After(started)
}

// Silences reports whether a mute, expired or not, applies to a member: the mute was set on the
// member since the server started, or the member has its nick, or has joined from its address since,
// and may be the same person. Members of that address who were there before are not muted.
func (b *Ban) Silences(m *Member, started time.Time) bool {
	switch {
	case !b.Mute || b.Room != 0 && b.Room != m.Room:
		return false
	case b.SetOn(m.ID, started), b.Nick != "" && b.Nick == m.Nick:
		return true
	}
	return b.Covers(m.Addr) && (b.Member == 0 || m.Joined.After(b.Created))
}

// List has all bans and mutes. Nobody may write to it. A nil List is empty.
type List struct {
	all   []Ban
	mutes int
}

// NewList returns a list of stored bans and mutes.
func NewList(bans []store.Ban) *List {
	l := &List{all: make([]Ban, 0, len(bans))}
	for _, b := range bans {
		l.all = append(l.all, New(b))
		if b.Mute {
			l.mutes++
		}
	}
	return l
}

// All returns the bans and mutes, also those that have expired. The caller must not write to them.
func (l *List) All() []Ban {
	if l == nil {
		return nil
	}
	return l.all
}

// HasBans reports whether there is a ban.
func (l *List) HasBans() bool { return l != nil && len(l.all) > l.mutes }

// HasMutes reports whether there is a mute.
func (l *List) HasMutes() bool { return l != nil && l.mutes > 0 }

// HasNick reports whether a ban or a mute is of that folded nick.
func (l *List) HasNick(nick string) bool {
	return slices.ContainsFunc(l.All(), func(b Ban) bool { return b.Nick == nick })
}

// Refusing returns the first ban that applies, as Ban.Refuses; nil: there is none.
func (l *List) Refusing(now time.Time, room uint64, addr netip.Addr, nick string) *store.Ban {
	all := l.All()
	for i := range all {
		if b := &all[i]; b.Refuses(now, room, addr, nick) {
			return &b.Ban
		}
	}
	return nil
}

// Silencing returns the mutes of a member, as Ban.Silences.
func (l *List) Silencing(m *Member, started time.Time) (mutes []*Ban) {
	all := l.All()
	for i := range all {
		if b := &all[i]; b.Silences(m, started) {
			mutes = append(mutes, b)
		}
	}
	return mutes
}

// Active returns the bans and mutes that have not expired.
func (l *List) Active(now time.Time) (bans []store.Ban) {
	for _, b := range l.All() {
		if !b.Expired(now) {
			bans = append(bans, b.Ban)
		}
	}
	return bans
}

// Longest returns the one that lasts longest; nil: all have expired.
func Longest(now time.Time, bans []*Ban) (longest *store.Ban) {
	for _, b := range bans {
		if !b.Expired(now) && (longest == nil || b.Until.IsZero() || !longest.Until.IsZero() && b.Until.After(longest.Until)) {
			longest = &b.Ban
		}
	}
	return longest
}

// Text is the text for a client that is banned.
func Text(b *store.Ban) string {
	text := "you are banned" + UntilText(b)
	if b.Reason != "" {
		text += ": " + wire.CleanString(b.Reason)
	}
	return text
}

// UntilText says when a ban or a mute ends; "": never.
func UntilText(b *store.Ban) string {
	if b.Until.IsZero() {
		return ""
	}
	return " until " + b.Until.UTC().Format(wire.ClockFormat)
}
