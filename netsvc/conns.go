package netsvc

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ConnInfo is a connection of a client as the operator sees it.
type ConnInfo struct {
	Remote string    `json:"remote"`
	State  string    `json:"state"` // member; leaving or closing (see MemberInfo); master, password or handshake
	Room   string    `json:"room"`
	Nick   string    `json:"nick"`
	Since  time.Time `json:"since"`
}

// visitor is a connection that is no member's: to the master port, before a room's
// password, or one whose TLS handshake is under way.
type visitor interface {
	// at is where it is: a room, or nil for the master port, and its address.
	at() (*Room, netip.AddrPort)
	// came is when the connection came.
	came() time.Time
	info() ConnInfo
	// HungUp reports whether the peer has closed its side, or is gone.
	HungUp() bool
	// Signal has a goroutine of it look around that waits for something.
	Signal()
	// hurry has it look why it is to end, and what it is writing end soon.
	hurry()
	// crowd has it end, to make room for another one.
	crowd()
	// cut closes it, and reports false if it was closed already.
	cut() bool
}

// visitors are all connections that are no members'.
func (s *Service) visitors() (all []visitor) {
	s.mu.Lock()
	for c := range s.masters {
		all = append(all, c)
	}
	s.mu.Unlock()
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	return append(all, s.gate.waiting...)
}

// Conns returns all connections that are counted, the oldest first, or those of
// that address, which may have a port.
func (s *Service) Conns(of string) []ConnInfo {
	members, _ := s.unclosed("") // of all rooms there is no error
	all := make([]ConnInfo, 0, len(members))
	for _, m := range members {
		all = append(all, ConnInfo{m.Remote, cmp.Or(m.State, "member"), m.Room, m.Nick, m.Since})
	}
	for _, v := range s.visitors() {
		all = append(all, v.info())
	}
	if of != "" {
		all = slices.DeleteFunc(all, func(c ConnInfo) bool { return !c.isFrom(of) })
	}
	slices.SortStableFunc(all, func(a, b ConnInfo) int { return a.Since.Compare(b.Since) })
	return all
}

// Member reports whether the connection is that of a member, which Kick ends by
// its ID.
func (c ConnInfo) Member() bool { return c.Nick != "" }

// isFrom reports whether a connection is from an address, which may have a port.
func (c ConnInfo) isFrom(what string) bool {
	if c.Remote == what {
		return true
	}
	host, err := netip.ParseAddrPort(c.Remote)
	addr, wrong := netip.ParseAddr(strings.Trim(what, "[]"))
	return err == nil && wrong == nil && host.Addr() == addr.Unmap()
}

// Cut closes connections that are no members', by their remote ends, and returns
// how many there were.
func (s *Service) Cut(remotes []string) (n int, err error) {
	end, err := s.alterOrRefuse()
	if err != nil {
		return 0, err
	}
	defer end()
	for _, v := range s.visitors() {
		if slices.Contains(remotes, v.info().Remote) && v.cut() {
			n++
		}
	}
	return n, nil
}

func (c *masterSession) info() ConnInfo {
	return ConnInfo{Remote: c.remote.String(), State: "master", Since: c.since.UTC()}
}

func (c *caller) info() ConnInfo {
	return ConnInfo{Remote: c.remote.String(), State: "password", Room: c.room.name(), Since: c.since.UTC()}
}

func (w *handshake) info() ConnInfo {
	i := ConnInfo{Remote: w.addr.String(), State: "handshake", Since: w.since.UTC()}
	if w.room != nil {
		i.Room = w.room.name()
	}
	return i
}
