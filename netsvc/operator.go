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

// What the operator does and sees. An error that is the caller's fault is a *wire.Error.

// MemberInfo is a member as the operator sees it.
type MemberInfo struct {
	ID     uint64    `json:"id"`
	Nick   string    `json:"nick"`
	Room   string    `json:"room"`
	Remote string    `json:"remote"`
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
		ID: m.id, Nick: m.nick.Shown, Since: m.since().UTC(),
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
func (i MemberInfo) BanTarget() string { return networkText(limit.Prefix(i.remote.Addr())) }

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
	m.answer(wire.Event{Time: time.Now(), Type: wire.TypeNotice, Code: string(causeKicked), Text: r.name() + ": " + wire.CleanString(say)})
	m.endLocked(causeKicked)
	r.announceLeave(m)
	return true
}

// Say shows a notice of the operator in a room, or in all rooms for "", and returns how many members
// there are to see it. The notice is not stored.
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
	n := 0
	for _, r := range rooms {
		r.mu.Lock()
		if r.state != closing { // an unbound room may have members, too
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

// RoomDetail is a room as the operator sees it.
type RoomDetail struct {
	ID       uint64    `json:"id"`
	Name     string    `json:"name"`
	Port     int       `json:"port"`
	State    string    `json:"state"`           // opening, open, unbound or closing
	Cause    string    `json:"cause,omitempty"` // why it is unbound
	ReadOnly bool      `json:"read_only"`
	Members  int       `json:"members"`
	Lagging  int       `json:"lagging"` // members that have not received everything
	Worst    uint64    `json:"worst"`   // by how many events the slowest of them lags behind
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

// stateNames are the names of the states of a room.
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

// Rooms returns all rooms, sorted by folded name. It includes rooms that are being opened or closed.
func (s *Service) Rooms() []RoomDetail {
	rooms := s.sortedRooms()
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
	d.Name, d.Port, d.State, d.Cause = r.name(), r.port(), stateNames[r.state], r.unboundReason
	d.Members, d.Topic, d.Spoke, d.Rate = len(r.members), r.topic, r.lastLine, r.rate.now(time.Now())
	d.Created, d.Creator, d.Locked = r.created, r.creatorAddr, r.password.Load() != nil
	d.Lagging, d.Worst = r.lag(end)
	return d
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

// PortsInfo is the state of the ports for rooms.
type PortsInfo struct {
	First   int           `json:"first"`
	Last    int           `json:"last"`
	Bound   int           `json:"bound"`
	Free    int           `json:"free"`    // includes those in quarantine
	Next    []int         `json:"next"`    // the first free ones, in the order in which they are given out
	Resting []int         `json:"resting"` // in quarantine: free, and given out last because a room had them
	Unbound []UnboundRoom `json:"unbound"`
}

// UnboundRoom is a room whose port is not bound.
type UnboundRoom struct {
	Room  string `json:"room"`
	Port  int    `json:"port"`
	Cause string `json:"cause"`
}

// Ports returns the state of the ports.
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

// Connections returns how many connections there are now, to all ports.
func (s *Service) Connections() int { return s.conns.Total() }

// Status is the server in numbers.
type Status struct {
	Started     time.Time        `json:"started"`
	MasterPort  int              `json:"master_port"`
	Listening   []netip.AddrPort `json:"listening"`         // addresses on which the master port is open
	Missing     []Missing        `json:"missing,omitempty"` // addresses that the machine does not have yet
	Engine      string           `json:"engine"`            // what serves plain connections: event loops, or goroutines
	Rooms       int              `json:"rooms"`
	Unbound     int              `json:"unbound"`
	Members     int              `json:"members"`
	Connections int              `json:"connections"` // to all ports
	Lines       uint64           `json:"lines"`       // in all histories
	Bytes       uint64           `json:"bytes"`
	ReadOnly    string           `json:"read_only,omitempty"` // why nothing can be written
	Stalled     string           `json:"stalled,omitempty"`   // for how long the disk has not answered, if that is long
}

// Status returns the state of the server.
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
