package netsvc

import (
	"hash/maphash"
	"slices"

	"roomd/netsvc/wire"
)

// looks finds the nicks of a room by what they look like, so that none is taken
// that imitates another one. Those of guests are not in it: wire.ParseNick refuses
// what looks like them. As no two Latin ones imitate each other, of these it only
// has how many look like something, in some 30 bytes each.
type looks struct {
	latin map[look]int32
	other map[look][]wire.Name
}

// look stands for a skeleton.
type look uint64

var lookSeed = maphash.MakeSeed()

func lookOf(n wire.Name) look { return look(maphash.String(lookSeed, n.Skeleton())) }

// imitated reports whether n would imitate a nick that is here, but for the one
// that the member has itself. mu is held.
func (r *Room) imitated(n, own wire.Name) bool {
	look := lookOf(n)
	if !n.Latin() {
		latin := r.looks.latin[look]
		if latin > 0 && own.Latin() && lookOf(own) == look {
			latin--
		}
		if latin > 0 {
			return true
		}
	}
	for _, other := range r.looks.other[look] {
		if other.Key != own.Key && n.Imitates(other) {
			return true
		}
	}
	return false
}

// take gives a member a nick that is free. mu is held.
func (r *Room) take(m *Member, n wire.Name) {
	m.nick = n
	r.nicks[n.Key] = m
	r.looks.add(n)
}

// giveUp makes a member's nick free. mu is held.
func (r *Room) giveUp(m *Member) {
	delete(r.nicks, m.nick.Key)
	r.looks.remove(m.nick)
}

func (l *looks) add(n wire.Name) {
	switch {
	case n.Guest():
	case n.Latin():
		if l.latin == nil {
			l.latin = make(map[look]int32)
		}
		l.latin[lookOf(n)]++
	default:
		if l.other == nil {
			l.other = make(map[look][]wire.Name)
		}
		look := lookOf(n)
		l.other[look] = append(l.other[look], n)
	}
}

func (l *looks) remove(n wire.Name) {
	if n.Guest() {
		return
	}
	look := lookOf(n)
	if n.Latin() {
		if l.latin[look]--; l.latin[look] <= 0 {
			delete(l.latin, look)
		}
		return
	}
	all := slices.DeleteFunc(l.other[look], func(o wire.Name) bool { return o.Key == n.Key })
	if l.other[look] = all; len(all) == 0 {
		delete(l.other, look)
	}
}

// size is how many nicks there are.
func (l *looks) size() (n int) {
	for _, k := range l.latin {
		n += int(k)
	}
	for _, all := range l.other {
		n += len(all)
	}
	return n
}

// imitated returns the room whose name n would imitate, but for own. mu is held.
func (s *Service) imitated(n wire.Name, own *Room) *Room {
	look := n.Skeleton()
	for _, r := range s.rooms {
		if i := r.ident.Load(); i.look == look && r != own && n.Imitates(wire.Name{Shown: i.name, Key: i.key}) {
			return r
		}
	}
	return nil
}

// imitates is the error for a name of a room that looks like another one's.
func (r *Room) imitates(n wire.Name) error {
	return wire.Errorf(wire.CodeExists, "%s looks like the name of a room that is already there, %s, in another script", n.Shown, r.name())
}
