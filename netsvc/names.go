package netsvc

import "roomd/netsvc/wire"

// take gives a member a nick that is free. mu is held.
func (r *Room) take(m *Member, n wire.Name) {
	m.nick = n
	r.nicks[n.Key] = m
	r.looks.Add(n)
}

// giveUp makes a member's nick free. mu is held.
func (r *Room) giveUp(m *Member) {
	delete(r.nicks, m.nick.Key)
	r.looks.Remove(m.nick)
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
