package netsvc

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/store"
)

// Inconsistencies compares what the server knows twice: members with nicks and counters, rooms with
// ports, and rooms with those on disk. It returns a sentence for each difference. Each comparison
// is of one moment, so a change that is under way is no difference.
func (s *Service) Inconsistencies() []string {
	found := s.memoryInconsistencies()
	if len(s.diskInconsistencies()) == 0 {
		return found
	}
	// The disk was read at another moment than the memory. They agree between two changes.
	var disk findings
	if err := s.store.OnCommitter(func() { disk = s.diskInconsistencies() }); err != nil { // the store is closed: there are no changes
		disk = s.diskInconsistencies()
	}
	return append(found, disk...)
}

// findings are sentences about differences.
type findings []string

func (f *findings) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// memoryInconsistencies compares what is in memory twice. It holds the locks of the service and of
// all rooms while it looks at every member: meanwhile nobody joins or leaves.
func (s *Service) memoryInconsistencies() (found findings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rooms := make(map[*Room]bool) // each once, even if it has two names by mistake
	for _, r := range s.allRoomsLocked() {
		if !rooms[r] {
			rooms[r] = true
			r.mu.Lock()
			defer r.mu.Unlock()
		}
	}
	members, outputs := uint64(0), make(map[*output]bool)
	for r := range rooms {
		r.inconsistencies(&found)
		members += uint64(len(r.members))
		for _, m := range r.members {
			outputs[m.out] = true
		}
	}
	if n := s.conns.Total(); n < len(outputs) {
		found.add("there are %d connections, but %d with members", n, len(outputs))
	}
	ended := s.endedMembers() + s.uncounted.Load()
	if came := s.memberIDs.Load(); came != ended+members {
		found.add("%d members have joined, %d have ended, but %d are here", came, ended, members)
	}
	owner := make(map[int]string)
	for key, r := range s.rooms {
		if r.key() != key {
			found.add("the room %s is registered as %s", r.name(), key)
		}
		port := r.port()
		if port == 0 || r.dropped.Load() {
			continue // it is a placeholder, or releases its port soon
		}
		if owner[port] != "" {
			found.add("%s and %s have the same port %d", owner[port], r.name(), port)
		}
		owner[port] = r.name()
	}
	for _, p := range s.ports.Free() {
		if owner[p] != "" {
			found.add("port %d of %s is in the queue of free ports", p, owner[p])
		}
	}
	return found
}

// endedMembers returns how many members have ended, of all causes.
func (s *Service) endedMembers() (n uint64) {
	for _, of := range s.Counters().Ended {
		n += of
	}
	return n
}

// inconsistencies compares the members, nicks and listeners of the room. mu is held.
func (r *Room) inconsistencies(found *findings) {
	reads := [roomlog.Formats]int{}
	for i, m := range r.members {
		reads[m.reads]++
		if int(m.index) != i || r.nicks[m.nick.Key] != m || m.cause != "" {
			found.add("%s: member %d is not in its place in the lists", r.name(), m.id)
		}
	}
	for f, n := range reads {
		if counted := r.reads.of[f]; n != counted {
			found.add("%s: %[3]d members read %[2]s, but %[4]d are counted", r.name(), roomlog.Format(f), n, counted)
		}
	}
	chosen := 0
	for key, m := range r.nicks {
		if !m.nick.IsGuest() {
			chosen++
		}
		has := m.cause == "" && int(m.index) < len(r.members) && r.members[m.index] == m
		if m.cause != "" { // it keeps its nick until all that it said is in the room
			m.mu.Lock()
			has = m.inFlight > 0
			m.mu.Unlock()
		}
		if m.nick.Key != key || !has {
			found.add("%s: the nick %s belongs to member %d, which has left, or has another nick", r.name(), key, m.id)
		}
	}
	if known := r.confusables.Len(); known != chosen {
		found.add("%s: members chose %s, but new ones are compared with %d", r.name(), plural(chosen, "nick"), known)
	}
	// While the room is being moved it listens on the old port.
	if r.state == open && r.work.idle() && !r.bound() {
		found.add("%s: it is open, but its port %d is not bound", r.name(), r.port())
	}
}

// diskInconsistencies compares the rooms with those on disk.
func (s *Service) diskInconsistencies() (found findings) {
	kept, err := s.store.Rooms()
	if err != nil {
		return findings{err.Error()}
	}
	here := make(map[uint64]*Room)
	for _, r := range s.allRooms() {
		if r.id != 0 {
			here[r.id] = r
		}
	}
	for _, k := range kept {
		r := here[k.ID]
		delete(here, k.ID)
		switch {
		case r == nil:
			found.add("the room %s is on disk, but not in memory", k.Name)
		case !r.matchesStored(k):
			found.add("the room %s on port %d is %s on port %d on disk, or has other settings there", r.name(), r.port(), k.Name, k.Port)
		}
	}
	for _, r := range here {
		if !r.dropped.Load() { // true: its members drain
			found.add("the room %s is in memory, but not on disk", r.name())
		}
	}
	return found
}

// matchesStored reports whether name, port and settings are those on disk.
func (r *Room) matchesStored(k store.Room) bool {
	return *r.nameAndPort.Load() == *newNameAndPort(k.Name, k.Key, k.Port) && settingsText(*r.settings.Load()) == settingsText(k.Settings)
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
	free := s.ports.Free()
	i := PortsInfo{Free: len(free), Next: slices.Clone(free[:min(5, len(free))]), Resting: s.ports.Quarantined(), Unbound: []UnboundRoom{}}
	i.First, i.Last = s.ports.Range()
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

// Missing is an address of Options.Listen that not every port listens on.
type Missing struct {
	Addr  netip.Addr `json:"address"`
	Cause string     `json:"cause"`
}

func (m Missing) String() string { return fmt.Sprintf("%s (%s)", m.Addr, m.Cause) }

// Listening returns the addresses on which the master port listens.
func (s *Service) Listening() []netip.AddrPort {
	all := []netip.AddrPort{}
	if master := s.master.Load(); master != nil {
		for _, l := range master.Listeners {
			all = append(all, l.Addr)
		}
	}
	return all
}

// Wanted returns the addresses and the master port of the options in effect.
func (s *Service) Wanted() (listen []netip.Addr, port int) {
	o := s.opts()
	return slices.Clone(o.Listen), o.Port
}

// Missing returns the addresses that are missing now.
func (s *Service) Missing() []Missing {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Missing{}
	for _, a := range s.opts().Listen {
		if cause := s.missing[a]; cause != "" {
			all = append(all, Missing{a, cause})
		}
	}
	return all
}

// Connections returns how many connections there are now, to all ports.
func (s *Service) Connections() int { return s.conns.Total() }

// Status is the server in numbers.
type Status struct {
	Started     time.Time        `json:"started"`
	MasterPort  int              `json:"master_port"`
	Listening   []netip.AddrPort `json:"listening"`         // addresses on which the master port is open
	Missing     []Missing        `json:"missing,omitempty"` // addresses that the machine does not have yet
	Doors       []DoorInfo       `json:"doors,omitempty"`   // further ways into the rooms
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
	st := Status{Started: s.started, MasterPort: s.Port(), Listening: s.Listening(), Missing: s.Missing(), Doors: s.Doors(), Engine: s.engine.String(), Connections: s.conns.Total()}
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

// ConnInfo is a connection as the operator sees it.
type ConnInfo struct {
	Remote string    `json:"remote"`
	State  string    `json:"state"` // member; leaving or closing (see MemberInfo); master, password or handshake; or the name of a door
	Room   string    `json:"room"`  // by a door: all of them
	Nick   string    `json:"nick"`
	Since  time.Time `json:"since"`

	member bool
}

// Conns returns all connections, the oldest first, or those of an address, with or without a port.
func (s *Service) Conns(of string) []ConnInfo {
	members, _ := s.allMembers("") // for all rooms there is no error
	all := make([]ConnInfo, 0, len(members))
	for _, m := range members {
		if m.Door == "" { // else its session is in the list, once
			all = append(all, ConnInfo{m.Remote, cmp.Or(m.State, "member"), m.Room, m.Nick, m.Since, true})
		}
	}
	for _, v := range s.nonMembers() {
		all = append(all, v.info())
	}
	if of != "" {
		all = slices.DeleteFunc(all, func(c ConnInfo) bool { return !c.isFrom(of) })
	}
	slices.SortStableFunc(all, func(a, b ConnInfo) int { return a.Since.Compare(b.Since) })
	return all
}

// Member reports whether the connection is that of one member. Kick ends it, by the member's ID.
func (c ConnInfo) Member() bool { return c.member }

// isFrom reports whether a connection is from an address, with or without a port.
func (c ConnInfo) isFrom(what string) bool {
	if c.Remote == what {
		return true
	}
	host, err := netip.ParseAddrPort(c.Remote)
	addr, wrong := netip.ParseAddr(strings.Trim(what, "[]"))
	return err == nil && wrong == nil && host.Addr() == addr.Unmap()
}

// Disconnect breaks connections that are not one member's, by their remote addresses with ports, and
// returns how many there were.
func (s *Service) Disconnect(remotes []string) (n int, err error) {
	end, err := s.beginChange()
	if err != nil {
		return 0, err
	}
	defer end()
	for _, v := range s.nonMembers() {
		if slices.Contains(remotes, v.info().Remote) && v.abort() {
			n++
		}
	}
	return n, nil
}

func (c *masterSession) info() ConnInfo {
	return ConnInfo{Remote: c.remote.String(), State: "master", Since: c.since.UTC()}
}

func (c *passwordSession) info() ConnInfo {
	return ConnInfo{Remote: c.remote.String(), State: "password", Room: c.room.name(), Since: c.since.UTC()}
}

func (h *handshakeConn) info() ConnInfo {
	i := ConnInfo{Remote: h.Client().String(), State: "handshake", Since: h.Since().UTC()}
	if h.room != nil {
		i.Room = h.room.name()
	}
	return i
}

// Lag returns how many members have not got everything, and by how many events the slowest of
// them lags behind.
func (s *Service) Lag() (members int, worst uint64) {
	for _, r := range s.allRooms() {
		end := r.log.End().Pos
		r.mu.Lock()
		n, events := r.lag(end)
		r.mu.Unlock()
		members += n
		worst = max(worst, events)
	}
	return members, worst
}

// lag is Lag of a room, up to a position of its log. mu is held.
func (r *Room) lag(end uint64) (members int, worst uint64) {
	for _, m := range r.members {
		if pos := m.reached.Load(); pos < end {
			members++
			worst = max(worst, end-pos)
		}
	}
	return members, worst
}

// Health returns nil once it has had every lock, and every event loop has made a turn: a goroutine
// that hangs would hold up all others for good. The error says what has not happened until ctx is
// done. The goroutine that takes the locks goes on then, and later calls wait for it. While the
// server is suspended, event loops are not checked, because they are suspended too.
func (s *Service) Health(ctx context.Context) error {
	s.healthMu.Lock()
	if s.healthDone == nil {
		done := make(chan struct{})
		s.healthDone = done
		go func() {
			defer close(done)
			s.Lag() // takes the locks of the service, of every room and of its log
			s.healthMu.Lock()
			s.healthDone = nil
			s.healthMu.Unlock()
		}()
	}
	done := s.healthDone
	s.healthMu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("a lock of the rooms is not released: %w", ctx.Err())
	}
	turned := s.engine.ProbeLoops()
	if err := transport.PollUntil(ctx, func() bool { return s.engine.Suspended() || turned() }); err != nil {
		return fmt.Errorf("an event loop hangs: %w", err)
	}
	return nil
}
