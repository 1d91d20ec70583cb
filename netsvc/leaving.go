package netsvc

import (
	"errors"
	"maps"
	"slices"
	"time"

	"roomd/netsvc/wire"
)

// Bounds for a client that has left and still reads: it reads something within each
// limits.dead_peer, minDrainRate bytes a second after the first of them, and everything within
// maxDrainTime.
const (
	minDrainRate = 1 << 10
	maxDrainTime = time.Hour
)

// departure is the state of a member that has ended and is not closed yet. Room.mu guards it.
type departure struct {
	since   time.Duration // the uptime at the end of the member
	aborted bool          // its connection is broken, or to be broken
}

// errAborted is the reason why nothing more is read from the disk for a member.
var errAborted = errors.New("the connection is broken")

// disconnect writes the rest of the stream of a member that has ended for that cause, and closes
// the conn.
func (s *lineSession) disconnect(c Cause) {
	m := &s.member
	r, svc := m.room, m.room.svc
	defer m.close()
	defer svc.releaseConn(s.remote.Addr())
	if c != CauseKicked {
		r.rememberAddr(s.remote.Addr())
	}
	switch c {
	case CauseVanished, CauseDeadPeer, CauseForeign, CauseInternal:
		s.abort()
	}
	if !s.drain(c) {
		// A goroutine still has the write lock: it would write to the connection that
		// gets the descriptor next.
		svc.log.Error("connection cannot be closed: a write does not return", "room", r.name(), "remote", s.remote)
		return
	}
	svc.engine.BeginClose()
	defer svc.engine.EndClose()
	s.conn.Close(s.peerClosed)
}

// drain waits until nothing more is to be written. After CauseLeft the client may read at its own
// pace, within the bounds above; else it has drainTime. When the time is over, or the operator
// aborts the session, the connection is broken. drain returns false if even then a goroutine has
// the write lock.
func (s *lineSession) drain(c Cause) bool {
	m := &s.member
	r, svc := m.room, m.room.svc
	patience := drainTime
	var quit <-chan struct{}
	if c == CauseLeft {
		patience = svc.opts().DeadPeer
		quit = r.quit // a deletion does not wait for it
	}
	if s.flushAll(); m.isDrained() {
		return true
	}
	begun, wrote, took := svc.uptime(), s.written.Load(), uint64(0)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	aborted := false
	for wait := s.signals(); !m.isDrained(); {
		since, cut := r.departureOf(m)
		suspended := m.suspended() // another process may own the conn
		if suspended && cut {
			timer.Reset(bindInterval)
		}
		if !cut || aborted || suspended {
			select {
			case <-wait:
				continue
			case <-quit:
				quit, c = nil, CauseDeleted
				timer.Reset(drainTime)
				continue
			case <-timer.C:
			}
		}
		if m.suspended() {
			timer.Reset(patience)
			continue
		}
		now, at := s.written.Load(), svc.uptime()
		took += uint64(now - wrote)
		if c == CauseLeft && !cut && now != wrote && mayDrain(took, patience, at-begun, at-since) {
			wrote = now
			timer.Reset(patience)
			continue
		}
		if aborted {
			return false
		}
		aborted = true
		if c == CauseLeft && !cut && now != wrote {
			svc.log.Info("a client that has left reads too slowly; the rest of its lines is dropped", "room", r.name(), "remote", s.remote)
		}
		s.abort()
		s.flushAll()
		timer.Reset(2 * drainTime)
	}
	return true
}

// mayDrain reports whether a client that has left may read on: took is the number of bytes that it
// has read in this process, here its time in this process, of which patience is not counted, and
// inAll its time in all processes.
func mayDrain(took uint64, patience, here, inAll time.Duration) bool {
	return inAll < maxDrainTime && float64(took) >= minDrainRate*(here-patience).Seconds()
}

// departureOf returns the uptime at which a member ended, and whether its connection is broken or
// to be broken.
func (r *Room) departureOf(m *Member) (since time.Duration, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.leaving[m]
	if d == nil {
		return 0, false
	}
	return d.since, d.aborted
}

// abort breaks the connection of a session whose member has ended.
func (s *lineSession) abort() {
	r := s.member.room
	r.mu.Lock()
	r.leaving[&s.member].aborted = true
	r.mu.Unlock()
	s.conn.Abort()
}

// abortLocked has the connection of a member that has ended broken. It returns false if that was
// requested before, or the member is closed. Room.mu is held.
func (m *Member) abortLocked() bool {
	d := m.room.leaving[m]
	if d == nil || d.aborted {
		return false
	}
	d.aborted = true
	if s, ok := m.out.session().(*RoomsSession); ok { // its connection is other members', too
		s.cutOff(m)
		go s.flushAll()
	}
	m.out.Signal()
	return true
}

// membersAndLeaving returns the members of a room, and those that have ended and are not closed
// yet.
func (r *Room) membersAndLeaving() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.members)
	for m := range r.leaving {
		all = append(all, m)
	}
	return all
}

// undrained returns the members that have ended and have not got everything yet. The other leaving
// members only wait for the client to close its side. mu is held.
func (r *Room) undrained() (all []*Member) {
	for m := range r.leaving {
		if !m.isDrained() {
			all = append(all, m)
		}
	}
	return all
}

// isFull reports whether the room has no place for a new member. An undrained member still has its
// place. mu is held.
func (r *Room) isFull(most int) bool {
	n := len(r.members)
	return most > 0 && n+len(r.leaving) >= most && n+len(r.undrained()) >= most
}

// fromDisk calls read when it is the member's turn to read from the disk (Service.fromDisk). It
// returns errAborted if the connection is broken by then, and errMustWait if the server is to be
// suspended: thousands of members may wait for their turn, each with the write lock of its conn.
// The caller has the write lock.
func (m *Member) fromDisk(read func()) (err error) {
	s := m.room.svc
	var still <-chan struct{}
	if m.transferable() {
		still = s.engine.Suspending()
	}
	select {
	case <-still:
		return errMustWait
	default:
	}
	select {
	case s.diskReaders <- struct{}{}:
	case <-still:
		return errMustWait
	}
	defer func() { <-s.diskReaders }()
	if _, cut := m.room.departureOf(m); cut {
		m.out.unsent = append(m.out.unsent, m.farewell()...)
		m.over, m.replay = true, nil
		return errAborted
	}
	s.counters.pages.Add(1)
	read()
	return nil
}

// wakeDeadPeerDetection starts the probes after a write. It never blocks.
func (s *Service) wakeDeadPeerDetection() {
	select {
	case s.wakeDetection <- struct{}{}:
	default:
	}
}

// detectDeadPeers finds conns whose peer does not acknowledge data. A conn must be silent in two
// probes in a row, because a probe that is just being answered looks like silence. It sleeps while
// all data is acknowledged.
func (s *Service) detectDeadPeers() {
	for {
		select {
		case <-s.wakeDetection:
		case <-s.stop.Done():
			return
		}
		var before map[*output]bool // silent in the last probe
		for again := true; again && s.sleep(s.opts().DeadPeer/6); {
			silent := make(map[*output]bool)
			again = s.detectDeadSessions(s.opts().DeadPeer/2, before, silent)
			for _, r := range s.allRooms() {
				if r.unacknowledged.Swap(false) && r.detectDeadPeers(s.opts().DeadPeer/2, before, silent) {
					r.unacknowledged.Store(true)
					again = true
				}
			}
			before = silent
		}
	}
}

// detectDeadPeers probes the conns of a room's members. It adds the silent ones to silent, breaks
// those that are in before, too, and reports whether data is unacknowledged.
func (r *Room) detectDeadPeers(limit time.Duration, before, silent map[*output]bool) (waiting bool) {
	defer r.svc.engine.BeginChange()()
	for _, m := range r.currentMembers() {
		waiting = m.out.detectDeadPeer(limit, before, silent) || waiting
	}
	return waiting
}

// detectDeadSessions is detectDeadPeers for the sessions that are in no room.
func (s *Service) detectDeadSessions(limit time.Duration, before, silent map[*output]bool) (waiting bool) {
	defer s.engine.BeginChange()()
	for _, k := range s.allRoomsSessions() {
		if len(k.Members()) == 0 {
			waiting = k.detectDeadPeer(limit, before, silent) || waiting
		}
	}
	return waiting
}

// detectDeadPeer is detectDeadPeers for one conn.
func (o *output) detectDeadPeer(limit time.Duration, before, silent map[*output]bool) (waiting bool) {
	waiting, isSilent := o.conn.ProbePeer(limit)
	if isSilent {
		if silent[o] = true; before[o] {
			o.declareDead()
		}
	}
	return waiting
}

// allRooms returns every room, also those that are opening or closing.
func (s *Service) allRooms() []*Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allRoomsLocked()
}

func (s *Service) allRoomsLocked() []*Room {
	return slices.AppendSeq(slices.Collect(maps.Values(s.rooms)), maps.Keys(s.draining))
}

// ending returns the cause for which the room is closing, and whether it is.
func (r *Room) ending() (c Cause, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause, r.state == closing
}

// farewell is the last event of a room that closes.
func (r *Room) farewell(c Cause) wire.Event {
	if c == CauseDeleted {
		return wire.Event{Time: time.Now(), Type: wire.TypeDeleted, Text: r.name() + ": chat room being deleted"}
	}
	return wire.Event{Time: time.Now(), Type: wire.TypeNotice, Text: r.name() + ": the server is stopping"}
}

// beginClosing marks the room as closing: no member can join any more. It returns false if the
// room was closing already.
func (r *Room) beginClosing(c Cause) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == closing {
		return false
	}
	r.state, r.cause = closing, c
	return true
}

// shutDown closes a room after beginClosing: it tells the clients in the backlog, closes the
// listeners, appends the farewell, and waits until every member is drained and closed. It returns
// how many members there were.
func (r *Room) shutDown(c Cause) int {
	close(r.quit)
	r.svc.queue.terminateAll(r)
	r.mu.Lock()
	ln := r.ln
	r.mu.Unlock()
	if ln != nil {
		ln.DrainAndClose()
	}
	n := r.endAll(c)
	r.unclosed.Wait()
	return n
}

// endAll appends the farewell and ends every member.
func (r *Room) endAll(c Cause) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Append(r.render(r.farewell(c), false))
	n := len(r.members)
	for n := len(r.members); n > 0; n-- {
		r.members[n-1].endLocked(c)
	}
	return n
}

const (
	// inputTime bounds how long Stop waits for the input of clients that have closed their side,
	// and liveInputTime for the input of others, which may never end.
	inputTime     = 5 * time.Second
	liveInputTime = 500 * time.Millisecond
	inputPoll     = 5 * time.Millisecond
)

// awaitInput waits until the pending input of members is handled, and everything that clients sent
// before they closed their side: no error tells them to send it again. Their input does not wait
// for the allowance. Everything else goes on meanwhile.
func (s *Service) awaitInput() {
	select {
	case <-s.stopRequested: // Stop is called again
	default:
		close(s.stopRequested)
	}
	for _, r := range s.allRooms() {
		r.mu.Lock()
		for _, m := range r.members {
			m.out.Signal() // a reader that waits for the allowance checks again
		}
		r.mu.Unlock()
	}
	for _, v := range s.nonMembers() {
		v.Signal()
	}
	t := time.NewTicker(inputPoll)
	defer t.Stop()
	began, quiet := time.Now(), 0
	for quiet < 2 { // input that moves between two places may be seen in neither
		took := time.Since(began)
		if took > inputTime {
			s.log.Warn("pending input of clients that have closed their connection is dropped: the server is stopping", "waited", inputTime)
			return
		}
		if quiet++; s.hasInput(took < liveInputTime) {
			quiet = 0
		}
		<-t.C
	}
}

// hasInput reports whether there is input of a client that has closed its side or, with live, of a
// member.
func (s *Service) hasInput(live bool) bool {
	if l := s.master.Load(); l != nil && l.HasBacklog() {
		return true
	}
	if slices.ContainsFunc(s.allRooms(), func(r *Room) bool { return r.hasInput(live) }) {
		return true
	}
	return s.inTransition.Load() > 0 || slices.ContainsFunc(s.nonMembers(), nonMember.HungUp)
}

func (r *Room) hasInput(live bool) bool {
	r.mu.Lock()
	ln := r.ln
	owed := slices.ContainsFunc(r.members, func(m *Member) bool {
		return m.out.conn.HungUp() || live && !m.out.is(isThrottled) && m.out.conn.HasInput()
	})
	r.mu.Unlock()
	return owed || ln != nil && ln.HasBacklog() // after mu: the lock of a listener comes first
}

// isStopping reports whether Stop was called.
func (s *Service) isStopping() bool {
	select {
	case <-s.stopRequested:
		return true
	default:
		return false
	}
}
