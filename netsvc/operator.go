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

	"roomd/netsvc/limit"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

// What the operator sees and does. Errors are *wire.Error where the caller is
// at fault.

// MemberInfo is a member as the operator sees it.
type MemberInfo struct {
	ID     uint64    `json:"id"`
	Nick   string    `json:"nick"`
	Room   string    `json:"room"`
	Remote string    `json:"remote"`
	Since  time.Time `json:"since"`
	Spoke  time.Time `json:"spoke,omitzero"` // when it last said something
	Lines  uint64    `json:"lines"`          // that it said
	Behind uint64    `json:"behind"`         // events that it has not got yet
	JSON   bool      `json:"json"`
	Muted  bool      `json:"muted"`
	State  string    `json:"state,omitempty" table:"maybe"` // leaving: it has ended, and has not got everything yet; closing: it has

	remote netip.AddrPort
	key    string
}

// info is the member as it is now; Remote is left to be filled in, as that takes
// longer than the lock should be held. Room.mu is held.
func (m *Member) info(end uint64) MemberInfo {
	i := MemberInfo{
		ID: m.id, Nick: m.nick.Shown, Since: m.since().UTC(),
		Lines: m.lines.Load(), JSON: m.reads == roomlog.JSON, Muted: m.activeMute() != nil, remote: m.out.remote, key: m.nick.Key,
	}
	if t := m.spoke.Load(); t != 0 {
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

// BanTarget is the address of the member as a ban or a mute has it: an IPv4 address,
// or a network of IPv6.
func (i MemberInfo) BanTarget() string { return networkText(limit.Prefix(i.remote.Addr())) }

// Key is the folded nick.
func (i MemberInfo) Key() string { return i.key }

// key is the folded nick now.
func (m *Member) key() string {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.nick.Key
}

// Members returns the members of a room, or of all rooms for "", those who
// came first at the top: also those that have ended and have not got everything yet.
func (s *Service) Members(room string) ([]MemberInfo, error) {
	infos, err := s.allMembers(room)
	return slices.DeleteFunc(infos, func(i MemberInfo) bool { return i.State == "closing" }), err
}

// allMembers is Members with those that are just being closed.
func (s *Service) allMembers(room string) ([]MemberInfo, error) {
	rooms := s.allRooms()
	if room != "" {
		r, err := s.room(room)
		if err != nil {
			return nil, err
		}
		rooms = []*Room{r}
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

// FindMembers returns the members of a nick, an address, or an ID.
func (s *Service) FindMembers(what string) []MemberInfo {
	all, err := s.Members("")
	if err != nil {
		return nil
	}
	id, _ := strconv.ParseUint(strings.TrimPrefix(what, "#"), 10, 64)
	addr, _ := netip.ParseAddr(what)
	name, _ := wire.ParseName(what)
	return slices.DeleteFunc(all, func(m MemberInfo) bool {
		return !(id != 0 && m.ID == id || addr.IsValid() && m.remote.Addr() == addr.Unmap() ||
			name.Key != "" && m.key == name.Key || m.Remote == what)
	})
}

// Kick ends members by their IDs, with a sentence for them, and returns how
// many were there. What is pending for one that is leaving is not written any more.
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

// kick ends the member with a sentence, or breaks the connection of one that has
// ended.
func (m *Member) kick(say string) bool {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.cause != "" {
		return m.abortLocked()
	}
	m.answer(wire.Event{Time: time.Now(), Type: wire.TypeNotice, Code: string(causeKicked), Text: r.name() + ": " + wire.CleanString(say)})
	m.endLocked(causeKicked)
	r.announceLeave(m)
	return true
}

// Say shows a notice of the operator in a room, or in all rooms for "", and
// returns how many members there are to see it. It is not stored.
func (s *Service) Say(room, text string) (int, error) {
	end, err := s.beginChange()
	if err != nil {
		return 0, err
	}
	defer end()
	rooms, name := s.allRooms(), ""
	if room != "" {
		r, err := s.room(room)
		if err != nil {
			return 0, err
		}
		rooms, name = []*Room{r}, r.name()
	}
	s.Publish(Event{Type: "notice", Room: name, Text: wire.CleanString(text)})
	n := 0
	for _, r := range rooms {
		r.mu.Lock()
		if r.state != closing { // members of a room whose port is lost are there, too
			n += len(r.members)
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

// RoomDetail is all there is to say of a room.
type RoomDetail struct {
	ID       uint64    `json:"id"`
	Name     string    `json:"name"`
	Port     int       `json:"port"`
	State    string    `json:"state"`           // opening, open, unbound or closing
	Cause    string    `json:"cause,omitempty"` // why it is unbound
	ReadOnly bool      `json:"read_only"`
	Members  int       `json:"members"`
	Lagging  int       `json:"lagging"` // members that have not got everything
	Worst    uint64    `json:"worst"`   // how many events the slowest of them is behind
	Lines    uint64    `json:"lines"`
	Bytes    uint64    `json:"bytes"`
	Newest   uint64    `json:"newest"` // sequence number
	Rate     float64   `json:"rate"`   // lines a minute, a moving average
	Spoke    time.Time `json:"spoke,omitzero"`
	Created  time.Time `json:"created,omitzero"`
	Creator  string    `json:"creator,omitempty"`
	Topic    string    `json:"topic"`
	Locked   bool      `json:"-"` // has a password
}

// stateNames are what a room may be in, as they are called.
var stateNames = map[state]string{opening: "opening", open: "open", unbound: "unbound", closing: "closing"}

// States returns how many rooms are in each state.
func (s *Service) States() map[string]int {
	n := make(map[string]int)
	for _, name := range stateNames {
		n[name] = 0
	}
	for _, r := range s.allRooms() {
		n[stateNames[r.currentState()]]++
	}
	return n
}

// Rooms returns all rooms, sorted by folded name, those that are just being
// opened or closed included.
func (s *Service) Rooms() []RoomDetail {
	rooms := s.allRooms()
	slices.SortFunc(rooms, func(a, b *Room) int { return strings.Compare(a.key(), b.key()) })
	all := make([]RoomDetail, len(rooms))
	for i, r := range rooms {
		all[i] = r.detail()
	}
	return all
}

// Room returns one room.
func (s *Service) Room(name string) (RoomDetail, error) {
	r, err := s.room(name)
	if err != nil {
		return RoomDetail{}, err
	}
	return r.detail(), nil
}

func (r *Room) detail() RoomDetail {
	d := RoomDetail{ID: r.id, ReadOnly: r.settings.Load().ReadOnly}
	if st, err := r.svc.store.Stat(r.id); err == nil {
		d.Lines, d.Bytes, d.Newest = st.Lines, st.Bytes, st.Last
	}
	end := r.log.End().Pos
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Name, d.Port, d.State, d.Cause = r.name(), r.port(), stateNames[r.state], r.binding
	d.Members, d.Topic, d.Spoke, d.Rate = len(r.members), r.topic, r.spoke, r.rate.now(time.Now())
	d.Created, d.Creator, d.Locked = r.created, r.madeBy, r.password.Load() != nil
	d.Lagging, d.Worst = r.lag(end)
	return d
}

// SetTopic changes a room's topic, on disk before it is shown.
func (s *Service) SetTopic(name, topic string) error {
	r, end, err := s.beginRoomChange(name)
	if err != nil {
		return err
	}
	defer end()
	topic = wire.CleanTopic(topic)
	return r.update(store.Edit{Topic: &topic})
}

// PortsInfo is the state of the ports for rooms.
type PortsInfo struct {
	First   int           `json:"first"`
	Last    int           `json:"last"`
	Bound   int           `json:"bound"`
	Free    int           `json:"free"`    // those that rest included
	Next    []int         `json:"next"`    // the first that are free, in the order in which they are given out
	Resting []int         `json:"resting"` // free, and a room had them: given out last
	Unbound []UnboundRoom `json:"unbound"`
}

// UnboundRoom is a room whose port is not bound.
type UnboundRoom struct {
	Room  string `json:"room"`
	Port  int    `json:"port"`
	Cause string `json:"cause"`
}

// Ports tells the state of the ports.
func (s *Service) Ports() PortsInfo {
	s.mu.Lock()
	q := &s.ports
	i := PortsInfo{First: q.first, Last: q.last, Free: len(q.free), Next: slices.Clone(q.free[:min(5, len(q.free))]), Resting: q.quarantined(), Unbound: []UnboundRoom{}}
	s.mu.Unlock()
	for _, r := range s.List() {
		if r.Unbound != "" {
			i.Unbound = append(i.Unbound, UnboundRoom{r.Name, r.Port, r.Unbound})
		} else {
			i.Bound++
		}
	}
	return i
}

// Connections are those of members and of the master port, now.
func (s *Service) Connections() int { return s.conns.Total() }

// Status is the server in numbers.
type Status struct {
	Started     time.Time        `json:"started"`
	MasterPort  int              `json:"master_port"`
	Listening   []netip.AddrPort `json:"listening"`         // where the master port is really open
	Missing     []Missing        `json:"missing,omitempty"` // addresses that are waited for
	Engine      string           `json:"engine"`            // what serves plain connections: event loops, or goroutines
	Rooms       int              `json:"rooms"`
	Unbound     int              `json:"unbound"`
	Members     int              `json:"members"`
	Connections int              `json:"connections"` // of members and of the master port
	Lines       uint64           `json:"lines"`       // in all histories
	Bytes       uint64           `json:"bytes"`
	ReadOnly    string           `json:"read_only,omitempty"` // why nothing can be written
	Stalled     string           `json:"stalled,omitempty"`   // that the disk does not answer, and for how long
}

// Status tells how the server is.
func (s *Service) Status() Status {
	st := Status{Started: s.started, MasterPort: s.Port(), Listening: s.Listening(), Missing: s.Missing(), Engine: s.engine.String(), Connections: s.conns.Total()}
	for _, r := range s.Rooms() {
		st.Rooms++
		st.Members += r.Members
		st.Lines += r.Lines
		st.Bytes += r.Bytes
		if r.State == stateNames[unbound] {
			st.Unbound++
		}
	}
	if err := s.store.ReadOnly(); err != nil {
		st.ReadOnly = err.Error()
	}
	if took := s.store.SlowDisk(); took > 0 {
		st.Stalled = fmt.Sprintf("the disk has not answered for %v", took.Round(100*time.Millisecond))
	}
	return st
}

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Printable makes text safe for a terminal and a single line: the rule for what
// chatters send, and no tab.
func Printable(s string) string { return strings.ReplaceAll(wire.CleanString(s), "\t", " ") }

// RoomID is what a ban refers to a room by.
func (s *Service) RoomID(name string) (uint64, error) {
	r, err := s.room(name)
	if err != nil {
		return 0, err
	}
	return r.id, nil
}

// RoomName is the opposite of RoomID: "" for 0, and for a room that is gone.
func (s *Service) RoomName(id uint64) string {
	if r := s.byID(id); r != nil {
		return r.name()
	}
	return ""
}

// ClientError takes apart an error that is the caller's fault.
func ClientError(err error) (code, text string, ok bool) {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code, e.Text, true
	}
	return "", "", false
}
