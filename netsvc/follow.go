package netsvc

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"roomd/netsvc/ban"
	"roomd/netsvc/passwd"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// The store leads: a line or a change becomes visible here, when the store reports it, in its order,
// whoever has asked for it. The store's committer waits for nothing. What needs no I/O is done at
// once, so that a line is never shown before a change that precedes it. The rest (binding or
// closing a port, draining members, the log) is done by goroutines, one after the other for each
// room: a room that drains, or whose port cannot be bound, holds up no other.

// follower has the functions that the store calls.
func (s *Service) follower() store.Follower {
	return store.Follower{Lines: s.deliver, Changes: &store.Changes{
		Created: s.roomsCreated, Deleted: s.roomDeleted, Updated: s.roomUpdated, Restored: s.roomRestored, Purged: s.roomPurged,
		Banned: s.bansAdded, Unbanned: s.bansLifted,
	}}
}

// taskQueue runs functions one after the other, in goroutines. Its methods but wait may be called
// with any lock held.
type taskQueue struct {
	mu   sync.Mutex
	last chan struct{} // closed when the last function has returned; nil: there was none
}

// add runs fn when the functions before it have returned.
func (q *taskQueue) add(fn func()) {
	done := make(chan struct{})
	q.mu.Lock()
	before := q.last
	q.last = done
	q.mu.Unlock()
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		fn()
	}()
}

// wait waits until the functions that were added before have returned.
func (q *taskQueue) wait() { <-q.done() }

// done returns a channel that is closed when wait would return.
func (q *taskQueue) done() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return q.last
}

// idle reports whether all functions have returned.
func (q *taskQueue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.last:
		return true
	default:
		return q.last == nil
	}
}

// report publishes a change, and logs it with its room and by whom. It logs in a goroutine, in
// order: the reader of the log may be slow.
func (s *Service) report(e Event, msg string, args ...any) {
	s.Publish(e)
	args = append(args, "by", cmp.Or(e.By, e.Remote, "operator"))
	if e.Room != "" {
		args = append([]any{"room", e.Room}, args...)
	}
	s.logQueue.add(func() { s.log.Info(msg, args...) })
}

// register brings a room of the database into memory. last is the number of its newest line. mu is
// held.
func (s *Service) register(k store.Room, last uint64) *Room {
	r := newRoom(s, k, last)
	s.ids[r.id] = r
	s.registerName(r)
	return r
}

// registerName has a room found by its name. It replaces a placeholder, and a deleted room whose
// members drain. mu is held.
func (s *Service) registerName(r *Room) {
	if old := s.rooms[r.key()]; old != nil && old.dropped.Load() {
		s.draining[old] = true
	}
	s.rooms[r.key()] = r
}

// byID returns the room of that ID; nil: there is none, or it is deleted.
func (s *Service) byID(id uint64) *Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// openRoom registers a room of the store, and lets it accept connections. owner is the reservation
// of the request that created the room, or nil. openRoom reports false if the server is stopping:
// the next start opens the room.
func (s *Service) openRoom(k store.Room, last uint64, owner any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	r := s.register(k, last)
	s.ports.Claim(k.Port)
	p, _ := owner.(*reservation)
	if p == nil {
		r.acceptOn(nil)
		return true
	}
	if p.room, r.creator = r, p.creator; p.password != nil { // its tag is known
		r.password.Store(p.password)
	}
	r.acceptOn(p.ln)
	return true
}

// acceptOn has a room accept connections: on ln or, if that is nil, as soon as its port is bound.
// The endpoint before is closed. Service.mu is held.
func (r *Room) acceptOn(ln *transport.Endpoint) {
	if ln != nil {
		if old, ok := r.setListener(ln); ok {
			if r.svc.isOutdated(ln) {
				r.svc.scheduleReconcile()
			}
			if old != nil {
				r.work.add(func() {
					defer r.svc.engine.BeginChange()()
					old.DrainAndClose()
				})
			}
			return
		}
	}
	r.work.add(func() {
		defer r.svc.engine.BeginChange()()
		if ln != nil {
			ln.Close()
		}
		r.svc.bindAll([]*Room{r})
	})
}

func (s *Service) roomsCreated(rooms []store.Room, by string) {
	for _, k := range rooms {
		if s.openRoom(k, 0, k.Owner) {
			s.report(Event{Type: "create", Room: k.Name, Remote: k.Creator, By: by}, "room created", "port", k.Port)
		}
	}
}

func (s *Service) roomRestored(k store.Room, last uint64, owner any) {
	if s.openRoom(k, last, owner) {
		s.report(Event{Type: "restore", Room: k.Name}, "room restored", "port", k.Port)
	}
}

func (s *Service) roomPurged(k store.Room) {
	s.report(Event{Type: "purge", Room: k.Name}, "room purged")
}

// roomDeleted closes a room. Its name and its port are free when its members are drained.
func (s *Service) roomDeleted(k store.Room, say, from string) {
	s.mu.Lock()
	r := s.ids[k.ID]
	delete(s.ids, k.ID)
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.dropped.Store(true)
	if !r.beginClosing(CauseDeleted) { // the server is stopping
		return
	}
	if say != "" {
		r.mu.Lock()
		r.operatorSays(say)
		r.mu.Unlock()
	}
	r.work.add(func() {
		members := r.shutDown(CauseDeleted)
		if err := s.store.ReleaseDeleted(r.id); err != nil && !errors.Is(err, store.ErrClosed) {
			s.log.Error("lines of a deleted room cannot be released; they are removed after the next start", "room", r.name(), "error", err)
		}
		s.unregister(r)
		if k.WasPortNew() {
			s.returnPorts(r.port())
		} else {
			s.quarantinePort(r.port())
		}
		s.log.Info("room deleted", "room", r.name(), "port", r.port(), "members", members, "by", cmp.Or(from, "operator"))
		s.Publish(Event{Type: "delete", Room: r.name(), Remote: from})
	})
}

func (s *Service) roomUpdated(k store.Room, e store.Edit) {
	r := s.byID(k.ID)
	if r == nil {
		return
	}
	r.mu.Lock()
	r.provisional = false
	r.mu.Unlock()
	if e.Name != nil {
		r.applyRename(k)
	}
	if e.Port != nil {
		r.applyMove(k, e.Owner)
	}
	if e.Topic != nil {
		r.applyTopic(k)
	}
	if e.Settings != nil {
		r.applySettings(k)
	}
	if e.Password != nil {
		r.applyPassword(k, e.Owner)
	}
}

func (r *Room) applyRename(k store.Room) {
	s := r.svc
	s.mu.Lock()
	was := r.nameAndPort.Load()
	if s.rooms[was.key] == r {
		delete(s.rooms, was.key)
	}
	r.mu.Lock() // no line is rendered between the new name and the word of it
	r.nameAndPort.Store(newNameAndPort(k.Name, k.Key, was.port))
	for _, m := range r.members {
		if m.door() != "" {
			m.tellRename(was.name)
		}
	}
	r.mu.Unlock()
	s.registerName(r)
	s.mu.Unlock()
	s.report(Event{Type: "rename", Room: k.Name, Text: was.name}, "room renamed", "was", was.name)
	r.announceNotice("the operator renamed this room: %s is %s now", was.name, k.Name)
}

// applyMove has the room accept at another port. owner is the endpoint of that port, if a request
// of ours has bound it.
func (r *Room) applyMove(k store.Room, owner any) {
	s := r.svc
	s.mu.Lock()
	was := r.nameAndPort.Load()
	r.nameAndPort.Store(newNameAndPort(was.name, was.key, k.Port))
	s.ports.Claim(k.Port)
	s.ports.Release(was.port)
	ln, _ := owner.(*transport.Endpoint)
	r.acceptOn(ln)
	s.mu.Unlock()
	s.report(Event{Type: "move", Room: r.name(), Text: fmt.Sprintf("%d to %d", was.port, k.Port)}, "room moved", "port", k.Port, "was", was.port)
	r.announceNotice("the operator moved this room: it is on port %d from now on; members who are here stay", k.Port)
}

// applyTopic shows a topic that the operator has set.
func (r *Room) applyTopic(k store.Room) {
	r.svc.report(Event{Type: "topic", Room: r.name(), Member: "operator", Text: k.Topic}, "topic set", "topic", k.Topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topic = k.Topic
	said := "the operator set the topic: " + k.Topic
	if k.Topic == "" {
		said = "the operator removed the topic"
	}
	r.announce(wire.Event{Type: wire.TypeNotice, Text: said, TopicSet: true, Reason: k.Topic})
}

// applySettings has new settings take effect.
func (r *Room) applySettings(k store.Room) {
	was := r.settings.Swap(&k.Settings)
	now := settingsText(k.Settings)
	r.svc.report(Event{Type: "set", Room: r.name(), Text: now}, "room settings changed", "settings", now, "was", settingsText(*was))
	switch {
	case k.Settings.ReadOnly && !was.ReadOnly:
		r.announceNotice("the operator made this room read-only")
	case !k.Settings.ReadOnly && was.ReadOnly:
		r.announceNotice("this room is open for writing again")
	}
}

// applyPassword has a new password asked for, or none. owner is the password, if a request of ours
// has set it: its tag is known.
func (r *Room) applyPassword(k store.Room, owner any) {
	p, ours := owner.(*passwd.Password)
	if !ours {
		p = passwd.FromHash(k.Password)
	}
	r.password.Store(p)
	r.svc.logQueue.add(func() { r.svc.log.Info("room password changed", "room", r.name(), "set", p != nil, "by", "operator") })
}

// bansAdded has bans and mutes take effect, and ends the members and connections that a ban applies
// to. hit gets their numbers, if a request of ours has set the bans.
func (s *Service) bansAdded(bans []store.Ban, hit any) {
	s.bans.Store(ban.NewList(append(s.Bans(), bans...)))
	for _, b := range bans {
		kind := "ban"
		if b.Mute {
			kind = "mute"
		}
		args := []any{"id", b.ID}
		for _, a := range [][2]string{{"remote", b.Addr}, {"nick", b.Nick}, {"reason", wire.CleanString(b.Reason)}} {
			if a[1] != "" {
				args = append(args, a[0], a[1])
			}
		}
		if !b.Until.IsZero() {
			args = append(args, "until", b.Until)
		}
		s.report(Event{Type: kind, Room: s.RoomName(b.Room), Remote: b.Addr, Member: b.Nick, Text: b.Reason, By: b.By}, kind+" added", args...)
	}
	reach := s.enforce(ban.NewList(bans).All())
	if hit, ours := hit.(*BanTargets); ours {
		*hit = reach
	}
}

func (s *Service) bansLifted(ids []uint64) {
	s.bans.Store(ban.NewList(slices.DeleteFunc(s.Bans(), func(b store.Ban) bool { return slices.Contains(ids, b.ID) })))
	for _, id := range ids {
		s.report(Event{Type: "unban", Text: fmt.Sprint(id)}, "ban lifted", "id", id)
	}
}

// deliver appends lines to the logs of their rooms.
func (s *Service) deliver(posts []*store.Post) {
	for len(posts) > 0 {
		r := s.roomOf(posts[0])
		n := 1
		for n < len(posts) && s.roomOf(posts[n]) == r {
			n++
		}
		if r != nil {
			r.append(posts[:n])
			if !r.touched {
				r.touched = true
				s.touched = append(s.touched, r)
			}
		}
		posts = posts[n:]
	}
	for _, r := range s.touched {
		r.touched = false
		r.wake()
	}
	clear(s.touched)
	s.touched = s.touched[:0]
}

// roomOf returns the room of a line; nil: it is deleted, and the line is not shown.
func (s *Service) roomOf(p *store.Post) *Room {
	switch o := p.Owner.(type) {
	case *Member:
		return o.room
	case *labeledLine:
		return o.member.room
	}
	return s.byID(p.Room)
}
