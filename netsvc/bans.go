package netsvc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
	"roomd/store"
)

// ban is a ban or a mute, with its addresses as they are compared.
type ban struct {
	store.Ban
	prefix netip.Prefix // the zero value contains no address
}

// banList has all bans and mutes. It is replaced as a whole and never written to.
type banList struct {
	all   []ban
	mutes int
}

func newBanList(bans []store.Ban) *banList {
	l := &banList{all: make([]ban, 0, len(bans))}
	for _, b := range bans {
		prefix, _ := Network(b.Addr) // a ban of a nick has none
		l.all = append(l.all, ban{b, prefix})
		if b.Mute {
			l.mutes++
		}
	}
	return l
}

// loadBans reads the bans of the store into memory: each join looks at them.
func (s *Service) loadBans() error {
	bans, err := s.store.Bans(time.Now())
	if err != nil {
		return fmt.Errorf("read the bans: %w", err)
	}
	s.bans.Store(newBanList(bans))
	return nil
}

// ParsePrefix reads a network. A network of IPv4-mapped IPv6 addresses becomes the IPv4 network,
// because the addresses of clients are never mapped.
func ParsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, errors.New("write one like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64")
	}
	if !p.Addr().Is4In6() {
		return p, nil
	}
	if p.Bits() < 96 {
		return netip.Prefix{}, fmt.Errorf("%q holds all IPv4-mapped addresses and others; write the IPv4 network and the IPv6 network", text)
	}
	return p.Addr().Unmap().Prefix(p.Bits() - 96)
}

// Network reads the address or the network of a ban. For an IPv6 address it is the /64, which is
// what one customer has.
func Network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return limit.Prefix(a), nil
	}
	p, err := ParsePrefix(text)
	return p.Masked(), err
}

// networkText returns a network as it is shown and stored. A single IPv4 address has no "/32".
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() && p.Addr().Is4() {
		return p.Addr().String()
	}
	return p.String()
}

// ParseBanTarget reads the target of a ban: an address, a network or a nick, which is folded. What
// looks like an address and is none is an error, and not a nick.
func ParseBanTarget(what string) (addr, nick string, err error) {
	if p, err := Network(what); err == nil {
		return networkText(p), "", nil
	}
	if strings.ContainsAny(what, ":/[]") {
		_, err := Network(what)
		return "", "", wire.Errorf(wire.CodeBadRequest, "%s is not an address or a network; %v", wire.CleanString(what), err)
	}
	n, err := wire.ParseName(what)
	if err != nil {
		return "", "", wire.Errorf(wire.CodeBadRequest, "%q is neither an address, a network nor a nick", wire.CleanString(what))
	}
	if wire.IsNumeric(n.Key) {
		return "", "", wire.Errorf(wire.CodeBadRequest, "%s looks like an address and is none; write all four numbers of an IPv4 address, or #ID for a member", n.Shown)
	}
	return "", n.Key, nil
}

// applies reports whether a ban applies to an address or a nick in a room. room is 0 for the master
// port, and nick "" for a client that has none.
func (b *ban) applies(now time.Time, room uint64, addr netip.Addr, nick string) bool {
	return (b.Room == 0 || b.Room == room) && !b.expired(now) &&
		(b.prefix.Contains(addr.Unmap().WithZone("")) || b.Nick != "" && b.Nick == nick)
}

func (b *ban) expired(now time.Time) bool { return !b.Until.IsZero() && now.After(b.Until) }

// setOn reports whether a ban was set on the member of that ID since the server started: IDs begin
// again with each start.
func (b *ban) setOn(id uint64, started time.Time) bool {
	return b.Member != 0 && b.Member == id && b.Created.After(started)
}

// silences reports whether a mute applies to a member: the mute was set on the member, or the member
// has its nick, or has joined from its address since, and may be the same person. Members of that
// address who were there before are not muted. The caller holds Room.mu, or the member's read lock.
func (b *ban) silences(m *Member) bool {
	switch {
	case !b.Mute || b.Room != 0 && b.Room != m.room.id:
		return false
	case b.setOn(m.id, m.room.svc.started), b.Nick != "" && b.Nick == m.nick.Key:
		return true
	}
	return b.prefix.Contains(m.out.remote.Addr().Unmap().WithZone("")) && (b.Member == 0 || m.since().After(b.Created))
}

// memberMutes are the mutes of a member, as long as its nick and the list of bans stay the same.
type memberMutes struct {
	list  *banList
	nick  string
	mutes []*ban
}

// activeMute returns the mute that applies to the member now, of several the one that lasts longest;
// nil: the member may speak. The caller holds Room.mu, or the member's read lock.
func (m *Member) activeMute() *store.Ban {
	list := m.room.svc.bans.Load()
	if list == nil || list.mutes == 0 {
		return nil
	}
	known := m.muted.Load()
	if known == nil || known.list != list || known.nick != m.nick.Key {
		known = &memberMutes{list: list, nick: m.nick.Key}
		for i := range list.all {
			if b := &list.all[i]; b.silences(m) {
				known.mutes = append(known.mutes, b)
			}
		}
		m.muted.Store(known)
	}
	var longest *store.Ban
	now := time.Now()
	for _, b := range known.mutes {
		if !b.expired(now) && (longest == nil || b.Until.IsZero() || !longest.Until.IsZero() && b.Until.After(longest.Until)) {
			longest = &b.Ban
		}
	}
	return longest
}

// banned returns a ban that applies to an address or a nick in a room, as ban.applies; nil: there is
// none.
func (s *Service) banned(room uint64, addr netip.Addr, nick string) *store.Ban {
	list := s.bans.Load()
	if list == nil || len(list.all) == list.mutes {
		return nil
	}
	now := time.Now()
	for i := range list.all {
		if b := &list.all[i]; !b.Mute && b.applies(now, room, addr, nick) {
			return &b.Ban
		}
	}
	return nil
}

// hasNick reports whether a ban or a mute is of that nick. Guests do not get such a nick.
func (l *banList) hasNick(nick string) bool {
	return l != nil && slices.ContainsFunc(l.all, func(b ban) bool { return b.Nick == nick })
}

// banText is the text for a client that is banned.
func banText(b *store.Ban) string {
	text := "you are banned" + untilText(b)
	if b.Reason != "" {
		text += ": " + wire.CleanString(b.Reason)
	}
	return text
}

// untilText says when a ban or a mute ends; "": never.
func untilText(b *store.Ban) string {
	if b.Until.IsZero() {
		return ""
	}
	return " until " + b.Until.UTC().Format(wire.ClockFormat)
}

// BanTargets counts the members and other connections that bans or mutes apply to.
type BanTargets struct {
	Members     int `json:"members"`
	Connections int `json:"connections"` // that are not a member's
}

// targets returns the members and other connections that one of the bans applies to.
func (s *Service) targets(bans ...ban) (members []*Member, others []nonMember) {
	now := time.Now()
	for _, r := range s.allRooms() {
		r.mu.Lock()
		for _, m := range append(r.undrained(), r.members...) {
			if slices.ContainsFunc(bans, func(b ban) bool {
				return b.silences(m) || !b.Mute && b.applies(now, r.id, m.out.remote.Addr(), m.nick.Key)
			}) {
				members = append(members, m)
			}
		}
		r.mu.Unlock()
	}
	for _, v := range s.nonMembers() {
		room := uint64(0)
		r, addr := v.location()
		if r != nil {
			room = r.id
		}
		if slices.ContainsFunc(bans, func(b ban) bool { return !b.Mute && b.applies(now, room, addr.Addr(), "") }) {
			others = append(others, v)
		}
	}
	return members, others
}

// CountTargets counts the members and other connections that bans would apply to.
func (s *Service) CountTargets(bans ...store.Ban) BanTargets {
	members, others := s.targets(newBanList(bans).all...)
	return BanTargets{len(members), len(others)}
}

// Ban sets bans or mutes, all of them or none, on disk before it returns. It ends the members and
// connections that a ban applies to.
func (s *Service) Ban(bans ...store.Ban) (stored []store.Ban, hit BanTargets, err error) {
	end, err := s.beginChange()
	if err != nil {
		return nil, BanTargets{}, err
	}
	defer end()
	for _, b := range bans {
		if _, err := Network(b.Addr); b.Addr == "" && b.Nick == "" || b.Addr != "" && err != nil {
			return nil, BanTargets{}, wire.Errorf(wire.CodeBadRequest, "a ban is of an address, a network or a nick")
		}
	}
	if bans, err = s.store.AddBans(&hit, bans...); err != nil {
		return nil, BanTargets{}, clientError(fmt.Errorf("store the ban: %w", err))
	}
	return bans, hit, nil
}

// enforce ends the members and connections that bans apply to.
func (s *Service) enforce(bans []ban) BanTargets {
	members, others := s.targets(bans...)
	for _, m := range members {
		now, nick := time.Now(), m.key()
		for i := range bans {
			if b := &bans[i]; !b.Mute && b.applies(now, m.room.id, m.out.remote.Addr(), nick) && m.kick(banText(&b.Ban)) {
				break
			}
		}
	}
	for _, v := range others {
		v.terminate() // the ban is the reason that it finds
	}
	return BanTargets{len(members), len(others)}
}

// Unban lifts bans and mutes, all of them or none. The error is store.ErrNoBan if one does not exist.
func (s *Service) Unban(ids ...uint64) error {
	end, err := s.beginChange()
	if err != nil {
		return err
	}
	defer end()
	if err := s.store.RemoveBans(ids...); err != nil {
		return clientError(fmt.Errorf("lift the ban: %w", err))
	}
	return nil
}

// Bans returns the bans and mutes that have not expired.
func (s *Service) Bans() (bans []store.Ban) {
	now := time.Now()
	for _, b := range s.bans.Load().all {
		if !b.expired(now) {
			bans = append(bans, b.Ban)
		}
	}
	return bans
}

// Mutes returns the mutes that a nick, an address or a member's ID stands for: those that apply to
// the members it names now, and those that were set on a member it named, which has left since.
// others are members that one of the mutes was set on, and that it does not name.
func (s *Service) Mutes(what string) (mutes []store.Ban, others []MemberInfo) {
	named := s.FindMembers(what)
	isNamed := func(id uint64) bool {
		return slices.ContainsFunc(named, func(i MemberInfo) bool { return i.ID == id })
	}
	by := parseSelector(what)
	all, _ := s.Members("") // for all rooms there is no error
	now := time.Now()
	for _, b := range s.bans.Load().all {
		if !b.Mute || b.expired(now) {
			continue
		}
		byName := by.key != "" && b.Nick == by.key
		members, _ := s.targets(b)
		if !byName && !b.setOn(by.id, s.started) && !b.prefix.Contains(by.addr.WithZone("")) &&
			!slices.ContainsFunc(members, func(m *Member) bool { return isNamed(m.id) }) {
			continue
		}
		mutes = append(mutes, b.Ban)
		for _, m := range all {
			if b.setOn(m.ID, s.started) && !isNamed(m.ID) && !byName {
				others = append(others, m)
			}
		}
	}
	return mutes, others
}
