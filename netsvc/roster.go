package netsvc

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"roomd/netsvc/wire"
)

// roster is the members of a room at one moment, those that came first at the
// top. It does not change: all that ask before somebody comes, goes or takes
// another nick share it.
type roster struct {
	Members []rosterMember `json:"members"`
}

type rosterMember struct {
	Nick  string    `json:"nick"`
	Since time.Time `json:"since"`
}

// size is about what the roster takes in memory, in bytes. Nicks are the
// members' own.
func (o *roster) size() int { return 48 * len(o.Members) }

// rosterLocked is the roster of this moment. Room.mu is held.
func (r *Room) rosterLocked() *roster {
	if r.roster != nil {
		return r.roster
	}
	members := slices.Clone(r.members)
	slices.SortFunc(members, func(a, b *Member) int {
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return strings.Compare(a.nick.Key, b.nick.Key)
	})
	o := &roster{make([]rosterMember, len(members))}
	for i, m := range members {
		o.Members[i] = rosterMember{m.nick.Shown, m.since}
	}
	r.roster = o
	return o
}

// who lists the members: the list is rendered as the member reads it.
func (m *Member) who() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	m.queue(insert{kind: who, roster: r.rosterLocked()})
}

// beginWho answers /who and leaves the list of the members.
func (m *Member) beginWho(o *roster) {
	n := len(o.Members)
	head := okFor("who", fmt.Sprintf("%d here", n))
	head.Count = &n
	m.put(head)
	m.replay = &replay{upto: uint64(n), roster: o}
}

// whoPage renders the next members of the list.
func (m *Member) whoPage() {
	p := m.replay
	for ; p.after < p.upto && len(m.rest) < writeBytes; p.after++ {
		o := p.roster.Members[p.after]
		m.put(wire.Event{Type: wire.TypeMember, Nick: o.Nick, Since: o.Since})
	}
	if p.after >= p.upto {
		m.replay = nil
	}
}
