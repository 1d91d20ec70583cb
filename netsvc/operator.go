package netsvc

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/netsvc/ban"
	"roomd/netsvc/limit"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

// What the operator does and sees. An error that is the caller's fault is a *wire.Error.

// MemberInfo is a member as the operator sees it.
type MemberInfo struct {
	ID     uint64    `json:"id"`
	Nick   string    `json:"nick"`
	Room   string    `json:"room"`
	Remote string    `json:"remote"`
	Door   string    `json:"door,omitempty"` // by which it is here; empty: the room's port
	Since  time.Time `json:"since"`
	Spoke  time.Time `json:"spoke,omitzero"` // when it sent its last line
	Lines  uint64    `json:"lines"`          // that it has sent
	Behind uint64    `json:"behind"`         // events that it has not received yet
	JSON   bool      `json:"json"`
	Muted  bool      `json:"muted"`
	State  string    `json:"state,omitempty" table:"maybe"` // leaving: it has ended, and has not received everything yet; closing: it has

	remote netip.AddrPort
	key    string
}

// info returns the member as it is now, without Remote and Room: formatting them takes longer than
// the lock should be held. Room.mu is held.
func (m *Member) info(end uint64) MemberInfo {
	i := MemberInfo{
		ID: m.id, Nick: m.nick.Shown, Door: m.door(), Since: m.since().UTC(),
		Lines: m.lines.Load(), JSON: m.reads == roomlog.JSON, Muted: m.activeMute() != nil, remote: m.out.remote, key: m.nick.Key,
	}
	if t := m.lastLine.Load(); t != 0 {
		i.Spoke = time.UnixMicro(t).UTC()
	}
	if pos := m.reached.Load(); end > pos {
		i.Behind = end - pos
	}
	if m.cause != "" {
		i.State = "leaving"
		if m.isDrained() {
			i.State = "closing"
		}
	}
	return i
}

// BanTarget returns what a ban of the member's address is of: an IPv4 address, or a network of IPv6.
func (i MemberInfo) BanTarget() string { return ban.Target(i.remote.Addr()) }

// Key returns the folded nick.
func (i MemberInfo) Key() string { return i.key }

// key returns the folded nick now.
func (m *Member) key() string { return locked(&m.room.mu, &m.nick.Key) }

// Members returns the members of a room, or of all rooms for "", by their IDs. It includes members
// that have ended and have not received everything yet.
func (s *Service) Members(room string) ([]MemberInfo, error) {
	infos, err := s.allMembers(room)
	return slices.DeleteFunc(infos, func(i MemberInfo) bool { return i.State == "closing" }), err
}

// allMembers is Members, and includes members whose connections are being closed.
func (s *Service) allMembers(room string) ([]MemberInfo, error) {
	rooms, err := s.roomsNamed(room)
	if err != nil {
		return nil, err
	}
	infos := []MemberInfo{}
	for _, r := range rooms {
		end := r.log.End().Pos
		from := len(infos)
		r.mu.Lock()
		infos = slices.Grow(infos, len(r.members)+len(r.leaving))
		for _, m := range r.members {
			infos = append(infos, m.info(end))
		}
		for m := range r.leaving {
			infos = append(infos, m.info(end))
		}
		r.mu.Unlock()
		for i := from; i < len(infos); i++ {
			infos[i].Room, infos[i].Remote = r.name(), infos[i].remote.String()
		}
	}
	slices.SortFunc(infos, func(a, b MemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	return infos, nil
}

// roomsNamed returns the room of a name, or all rooms for "".
func (s *Service) roomsNamed(name string) ([]*Room, error) {
	if name == "" {
		return s.allRooms(), nil
	}
	r, err := s.room(name)
	return []*Room{r}, err
}

// selector is how the operator names members: by a nick, an address, with or without a port, or an
// ID, with or without "#". Fields of the other kinds are zero.
type selector struct {
	text string
	id   uint64
	addr netip.Addr
	key  string // the folded nick
}

func parseSelector(text string) selector {
	id, _ := strconv.ParseUint(strings.TrimPrefix(text, "#"), 10, 64)
	addr, _ := netip.ParseAddr(text)
	name, _ := wire.ParseName(text)
	return selector{text, id, addr.Unmap(), name.Key}
}

func (s selector) matches(m MemberInfo) bool {
	return s.id != 0 && m.ID == s.id || s.addr.IsValid() && m.remote.Addr() == s.addr || s.key != "" && m.key == s.key || m.Remote == s.text
}

// FindMembers returns the members of a nick, an address, or an ID.
func (s *Service) FindMembers(what string) []MemberInfo {
	all, _ := s.Members("") // for all rooms there is no error
	by := parseSelector(what)
	return slices.DeleteFunc(all, func(m MemberInfo) bool { return !by.matches(m) })
}

// Kick ends members by their IDs, with a sentence for them, and returns how many there were. The
// connection of a member that has ended before is broken.
func (s *Service) Kick(ids []uint64, say string) (int, error) {
	end, err := s.beginChange()
	if err != nil {
		return 0, err
	}
	defer end()
	n := 0
	for _, r := range s.allRooms() {
		for _, m := range r.membersAndLeaving() {
			if slices.Contains(ids, m.id) && m.kick(cmp.Or(say, "you were asked to leave")) {
				n++
			}
		}
	}
	return n, nil
}

// kick ends the member with a sentence, or breaks its connection if it has ended before.
func (m *Member) kick(say string) bool {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.cause != "" {
		return m.abortLocked()
	}
	m.answer(wire.Event{Time: time.Now(), Type: wire.TypeNotice, Code: string(CauseKicked), Text: r.name() + ": " + wire.CleanString(say)})
	m.endLocked(CauseKicked)
	r.announceLeave(m)
	return true
}

// Say shows a notice of the operator in a room, or in all rooms for "", and returns how many members
// there are to see it. A session that is in several rooms gets it once. The notice is not stored.
func (s *Service) Say(room, text string) (int, error) {
	end, err := s.beginChange()
	if err != nil {
		return 0, err
	}
	defer end()
	rooms, err := s.roomsNamed(room)
	if err != nil {
		return 0, err
	}
	e := Event{Type: "notice", Text: wire.CleanString(text)}
	if room != "" {
		e.Room = rooms[0].name()
	}
	s.Publish(e)
	sortRooms(rooms)
	n, seen := 0, make(map[*output]bool)
	for _, r := range rooms {
		r.mu.Lock()
		if r.state != closing { // an unbound room may have members, too
			n += len(r.members)
			r.skipSeen(seen)
			r.operatorSays(text)
		}
		r.mu.Unlock()
	}
	return n, nil
}

// operatorSays shows a notice of the operator. Room.mu is held.
func (r *Room) operatorSays(text string) {
	r.announce(wire.Event{Type: wire.TypeNotice, Text: "operator: " + wire.CleanString(text)})
}

// SetTopic changes a room's topic. The topic is on disk before it is shown.
func (s *Service) SetTopic(name, topic string) error {
	r, end, err := s.beginRoomChange(name)
	if err != nil {
		return err
	}
	defer end()
	topic = wire.CleanTopic(topic)
	return r.update(store.Edit{Topic: &topic})
}

// loadBans reads the bans of the store into memory: each join looks at them.
func (s *Service) loadBans() error {
	bans, err := s.store.Bans(time.Now())
	if err != nil {
		return fmt.Errorf("read the bans: %w", err)
	}
	s.bans.Store(ban.NewList(bans))
	return nil
}

// banned returns a ban that applies to an address or a nick in a room, as ban.Refuses; nil: there is
// none.
func (s *Service) banned(room uint64, addr netip.Addr, nick string) *store.Ban {
	list := s.bans.Load()
	if !list.HasBans() {
		return nil
	}
	return list.Refusing(time.Now(), room, addr, nick)
}

// memberMutes are the mutes of a member, as long as its nick and the list of bans stay the same.
type memberMutes struct {
	list  *ban.List
	nick  string
	mutes []*ban.Ban
}

// toMute is the member as mutes see it. The caller holds Room.mu, or the member's read lock.
func (m *Member) toMute() *ban.Member {
	return &ban.Member{ID: m.id, Room: m.room.id, Addr: m.out.remote.Addr(), Nick: m.nick.Key, Joined: m.since()}
}

// activeMute returns the mute that applies to the member now, of several the one that lasts longest;
// nil: the member may speak. The caller holds Room.mu, or the member's read lock.
func (m *Member) activeMute() *store.Ban {
	list := m.room.svc.bans.Load()
	if !list.HasMutes() {
		return nil
	}
	known := m.muted.Load()
	if known == nil || known.list != list || known.nick != m.nick.Key {
		known = &memberMutes{list, m.nick.Key, list.Silencing(m.toMute(), m.room.svc.started)}
		m.muted.Store(known)
	}
	return ban.Longest(time.Now(), known.mutes)
}

// BanTargets counts the members and other connections that bans or mutes apply to.
type BanTargets struct {
	Members     int `json:"members"`
	Connections int `json:"connections"` // that are not a member's
}

// targets returns the members and other connections that one of the bans applies to.
func (s *Service) targets(bans []ban.Ban) (members []*Member, others []nonMember) {
	now := time.Now()
	for _, r := range s.allRooms() {
		r.mu.Lock()
		for _, m := range append(r.undrained(), r.members...) {
			as := m.toMute()
			if slices.ContainsFunc(bans, func(b ban.Ban) bool {
				return b.Silences(as, s.started) || b.Refuses(now, r.id, as.Addr, as.Nick)
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
		if slices.ContainsFunc(bans, func(b ban.Ban) bool { return b.Refuses(now, room, addr.Addr(), "") }) {
			others = append(others, v)
		}
	}
	return members, others
}

// CountTargets counts the members and other connections that bans would apply to.
func (s *Service) CountTargets(bans ...store.Ban) BanTargets {
	members, others := s.targets(ban.NewList(bans).All())
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
		if _, err := limit.ParseNetwork(b.Addr); b.Addr == "" && b.Nick == "" || b.Addr != "" && err != nil {
			return nil, BanTargets{}, wire.Errorf(wire.CodeBadRequest, "a ban is of an address, a network or a nick")
		}
	}
	if bans, err = s.store.AddBans(&hit, bans...); err != nil {
		return nil, BanTargets{}, clientError(fmt.Errorf("store the ban: %w", err))
	}
	return bans, hit, nil
}

// enforce ends the members and connections that bans apply to.
func (s *Service) enforce(bans []ban.Ban) BanTargets {
	members, others := s.targets(bans)
	for _, m := range members {
		now, nick := time.Now(), m.key()
		for i := range bans {
			if b := &bans[i]; b.Refuses(now, m.room.id, m.out.remote.Addr(), nick) && m.kick(ban.Text(&b.Ban)) {
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
func (s *Service) Bans() []store.Ban { return s.bans.Load().Active(time.Now()) }

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
	for _, b := range s.bans.Load().All() {
		if !b.Mute || b.Expired(now) {
			continue
		}
		byName := by.key != "" && b.Nick == by.key
		members, _ := s.targets([]ban.Ban{b})
		if !byName && !b.SetOn(by.id, s.started) && !b.Covers(by.addr) &&
			!slices.ContainsFunc(members, func(m *Member) bool { return isNamed(m.id) }) {
			continue
		}
		mutes = append(mutes, b.Ban)
		for _, m := range all {
			if b.SetOn(m.ID, s.started) && !isNamed(m.ID) && !byName {
				others = append(others, m)
			}
		}
	}
	return mutes, others
}

// plural returns a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Printable makes text safe for one line of a terminal: cleaned as the lines of members are, and
// without tabs.
func Printable(s string) string { return strings.ReplaceAll(wire.CleanString(s), "\t", " ") }

// RoomID returns the ID of a room, by which a ban refers to it.
func (s *Service) RoomID(name string) (uint64, error) {
	r, err := s.room(name)
	if err != nil {
		return 0, err
	}
	return r.id, nil
}

// RoomName returns the name of the room of an ID; "" for 0, and for a room that is deleted.
func (s *Service) RoomName(id uint64) string {
	if r := s.byID(id); r != nil {
		return r.name()
	}
	return ""
}

// ClientError returns the code and the text of an error that is the caller's fault.
func ClientError(err error) (code, text string, ok bool) {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code, e.Text, true
	}
	return "", "", false
}
