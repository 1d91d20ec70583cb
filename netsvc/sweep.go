package netsvc

import "context"

// whenStopping has fn called when the server begins to stop, unless the
// returned function has been called before.
func (s *Service) whenStopping(fn func()) (cancel func()) {
	stop := context.AfterFunc(s.stop, fn)
	return func() { stop() }
}

// sweep looks for members whose peer has vanished without a word while data was
// on the way to it. Two looks in a row must agree: a probe that is just being
// answered looks the same for a moment.
func (s *Service) sweep() {
	limit := s.opts().DeadPeer
	for s.pause(limit / 6) {
		for _, r := range s.all() {
			for _, m := range r.present() {
				silentNow := m.sock.unanswered(limit / 2)
				if silentNow && m.suspect {
					m.end(silent)
				}
				m.suspect = silentNow
			}
		}
	}
}

// all is every room, those opening and closing included.
func (s *Service) all() []*Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	rooms := make([]*Room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	return rooms
}

// present is every member there is now.
func (r *Room) present() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Member(nil), r.members...)
}
