package netsvc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
	"roomd/store"
)

// ban is a ban or a mute that holds, with its addresses as they are compared.
type ban struct {
	store.Ban
	prefix netip.Prefix // the zero value contains no address
}

// banList is all of them. It is replaced as a whole and never written to.
type banList struct {
	all   []ban
	mutes int
}

func newBanList(bans []store.Ban) *banList {
	l := &banList{all: make([]ban, 0, len(bans))}
	for _, b := range bans {
		from, err := Network(b.Addr)
		if err != nil {
			from = netip.Prefix{}
		}
		l.all = append(l.all, ban{b, from})
		if b.Mute {
			l.mutes++
		}
	}
	return l
}

// loadBans takes the bans of the store into memory, where every join looks.
func (s *Service) loadBans() error {
	bans, err := s.store.Bans(time.Now())
	if err != nil {
		return fmt.Errorf("read the bans: %w", err)
	}
	s.bans.Store(newBanList(bans))
	return nil
}

// ParsePrefix reads a network. One of IPv4-mapped IPv6 addresses is the IPv4
// network: our peers' addresses are never mapped.
func ParsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, errors.New("write one like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64")
	}
	if !p.Addr().Is4In6() {
		return p, nil
	}
	if p.Bits() < 96 {
		return p, fmt.Errorf("%q holds all IPv4-mapped addresses and others; write the IPv4 network and the IPv6 network", text)
	}
	return p.Addr().Unmap().Prefix(p.Bits() - 96)
}

// Network reads an address or a network as a ban has it: of an IPv6 address it
// is the /64, which is what one customer has.
func Network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return limit.Prefix(a), nil
	}
	p, err := ParsePrefix(text)
	return p.Masked(), err
}

// networkText is a network as it is shown and kept: of an IPv4 address the
// address.
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() && p.Addr().Is4() {
		return p.Addr().String()
	}
	return p.String()
}

// ParseBanTarget reads what a ban is to be of: addresses or a nick, which is folded. What
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

// applies reports whether a ban holds for somebody in a room; room is 0 for the
// master port. An empty nick is not looked at.
func (b *ban) applies(now time.Time, room uint64, addr netip.Addr, nick string) bool {
	return (b.Room == 0 || b.Room == room) && !b.expired(now) &&
		(b.prefix.Contains(addr.Unmap().WithZone("")) || b.Nick != "" && b.Nick == nick)
}

func (b *ban) expired(now time.Time) bool { return !b.Until.IsZero() && now.After(b.Until) }

// setOn reports whether a ban was set on the member of that ID, of this run of
// the server: IDs begin again with the next.
func (b *ban) setOn(id uint64, started time.Time) bool {
	return b.Member != 0 && b.Member == id && b.Created.After(started)
}

// silences reports whether a mute holds for a member: it was set on it, or the
// member has its nick, or has come from its address since: it may be the same
// person. Others who were there already are not muted with it. Room.mu is held,
// or the caller is the member's reader.
func (b *ban) silences(m *Member) bool {
	switch {
	case !b.Mute || b.Room != 0 && b.Room != m.room.id:
		return false
	case b.setOn(m.id, m.room.svc.started), b.Nick != "" && b.Nick == m.nick.Key:
		return true
	}
	return b.prefix.Contains(m.out.remote.Addr().Unmap().WithZone("")) && (b.Member == 0 || m.since().After(b.Created))
}

// memberMutes is what is known of a member's mutes, until it has another nick or
// there are other mutes.
type memberMutes struct {
	list  *banList
	nick  string
	mutes []*ban
}

// activeMute is the mute that holds for the member now, of several the one that
// lasts longest; nil: it may speak. Room.mu is held, or the caller is the
// member's reader.
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

// banned finds a ban that holds for somebody in a room, or on the master port: 0.
// An empty nick is not looked at.
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

// hasNick reports whether a ban or a mute is of that nick: no guest gets it.
func (l *banList) hasNick(nick string) bool {
	return l != nil && slices.ContainsFunc(l.all, func(b ban) bool { return b.Nick == nick })
}

// banText is what is shown to a client that is banned.
func banText(b *store.Ban) string {
	text := "you are banned" + untilText(b)
	if b.Reason != "" {
		text += ": " + wire.CleanString(b.Reason)
	}
	return text
}

// untilText says when a ban or a mute ends, if it does.
func untilText(b *store.Ban) string {
	if b.Until.IsZero() {
		return ""
	}
	return " until " + b.Until.UTC().Format(wire.ClockFormat)
}

// BanTargets is what bans end, or mutes silence.
type BanTargets struct {
	Members     int `json:"members"`
	Connections int `json:"connections"` // that are no members'
}

// targets finds the members and other connections that one of the bans holds
// for.
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

// CountTargets counts what bans would reach.
func (s *Service) CountTargets(bans ...store.Ban) BanTargets {
	members, others := s.targets(newBanList(bans).all...)
	return BanTargets{len(members), len(others)}
}

// Ban keeps bans or mutes, all of them or none, on disk before it returns.
// Members and connections that a ban holds for are ended.
func (s *Service) Ban(bans ...store.Ban) (kept []store.Ban, hit BanTargets, err error) {
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
		return nil, BanTargets{}, clientError(fmt.Errorf("keep the ban: %w", err))
	}
	return bans, hit, nil
}

// enforce ends members and connections that bans hold for.
func (s *Service) enforce(held []ban) BanTargets {
	members, others := s.targets(held...)
	for _, m := range members {
		now, nick := time.Now(), m.key()
		for i := range held {
			if b := &held[i]; !b.Mute && b.applies(now, m.room.id, m.out.remote.Addr(), nick) && m.kick(banText(&b.Ban)) {
				break
			}
		}
	}
	for _, v := range others {
		v.terminate() // it looks whether it is banned
	}
	return BanTargets{len(members), len(others)}
}

// Unban lifts bans and mutes, all of them or none: store.ErrNoBan if one is not
// there.
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

// Bans are those that hold now.
func (s *Service) Bans() (bans []store.Ban) {
	now := time.Now()
	for _, b := range s.bans.Load().all {
		if !b.expired(now) {
			bans = append(bans, b.Ban)
		}
	}
	return bans
}

// Mutes finds the mutes that a nick, an address or a member's ID stands for:
// those that hold for the members it names, and those that were set on a member
// it named then, which has gone since. others are members that one of them was
// set on and that it does not name.
func (s *Service) Mutes(what string) (mutes []store.Ban, others []MemberInfo) {
	named := s.FindMembers(what)
	isNamed := func(id uint64) bool {
		return slices.ContainsFunc(named, func(i MemberInfo) bool { return i.ID == id })
	}
	id, _ := strconv.ParseUint(strings.TrimPrefix(what, "#"), 10, 64)
	addr, _ := netip.ParseAddr(what)
	name, _ := wire.ParseName(what)
	everybody, _ := s.Members("") // of all rooms there is no error
	now := time.Now()
	for _, b := range s.bans.Load().all {
		if !b.Mute || b.expired(now) {
			continue
		}
		byName := name.Key != "" && b.Nick == name.Key
		members, _ := s.targets(b)
		if !byName && !b.setOn(id, s.started) && !b.prefix.Contains(addr.Unmap().WithZone("")) &&
			!slices.ContainsFunc(members, func(m *Member) bool { return isNamed(m.id) }) {
			continue
		}
		mutes = append(mutes, b.Ban)
		for _, m := range everybody {
			if b.setOn(m.ID, s.started) && !isNamed(m.ID) && !byName {
				others = append(others, m)
			}
		}
	}
	return mutes, others
}
