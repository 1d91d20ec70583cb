package netsvc

import (
	"errors"
	"maps"
	"slices"
	"time"

	"roomd/netsvc/wire"
)

// What bounds the time of a member that has left and still takes what is pending:
// it takes something in each limits.dead_peer, leavePace bytes a second from the
// second one on, and all of it in leaveTime.
const (
	minDrainRate = 1 << 10
	maxDrainTime = time.Hour
)

// departure is what is known of a member that has ended and is not closed yet. It
// is guarded by Room.mu.
type departure struct {
	since   time.Duration // the uptime at the end of the member
	aborted bool          // its connection is to be broken, or is
}

// errAborted is why nothing is read for a member any more.
var errAborted = errors.New("the connection is broken")

// disconnect is Finish for a session whose member has ended, for that cause.
func (s *lineSession) disconnect(c Cause) {
	m := &s.member
	r, svc := m.room, m.room.svc
	defer m.close()
	defer svc.releaseConn(s.remote.Addr())
	if c != causeKicked {
		r.rememberAddr(s.remote.Addr())
	}
	switch c {
	case causeVanished, causeDeadPeer, causeForeign, causeInternal:
		s.abort()
	}
	if !s.drain(c) {
		// Somebody still has the write lock: closing would give the descriptor to a
		// stranger.
		svc.log.Error("a connection cannot be closed", "room", r.name(), "remote", s.remote)
		return
	}
	svc.engine.BeginClose()
	defer svc.engine.EndClose()
	s.conn.Close(s.peerClosed)
}

// drain waits until nothing more will be written, for as long as the cause
// deserves: one that has left takes what is pending at its own pace, within
// bounds; the others have drainTime, and one that the operator ends has no time at
// all. It reports false if even then somebody is writing.
func (s *lineSession) drain(c Cause) bool {
	m := &s.member
	r, svc := m.room, m.room.svc
	patience := drainTime
	var quit <-chan struct{}
	if c == causeLeft {
		patience = svc.opts().DeadPeer
		quit = r.quit // it is not to hold up a deletion
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
		suspended := m.suspended() // it may be another process's
		if suspended && cut {
			timer.Reset(bindInterval)
		}
		if !cut || aborted || suspended {
			select {
			case <-wait:
				continue
			case <-quit:
				quit, c = nil, causeDeleted
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
		if c == causeLeft && !cut && now != wrote && mayDrain(took, patience, at-begun, at-since) {
			wrote = now
			timer.Reset(patience)
			continue
		}
		if aborted {
			return false
		}
		aborted = true
		if c == causeLeft && !cut && now != wrote {
			svc.log.Info("a member that has left takes what is pending too slowly, and does not get the rest", "room", r.name(), "remote", s.remote)
		}
		s.abort()
		s.flushAll()
		timer.Reset(2 * drainTime)
	}
	return true
}

// mayDrain reports whether a member that has left may go on taking what is
// pending: it has taken so many bytes here, and has had patience for the first of
// them; inAll is its time in other processes, too.
func mayDrain(took uint64, patience, here, inAll time.Duration) bool {
	return inAll < maxDrainTime && float64(took) >= minDrainRate*(here-patience).Seconds()
}

// departureOf tells when the member ended, by the uptime, and whether its connection
// is to be broken.
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

// abortLocked has the connection of a member broken that has ended and is not closed
// yet. It reports false if that was asked for already. Room.mu is held.
func (m *Member) abortLocked() bool {
	d := m.room.leaving[m]
	if d == nil || d.aborted {
		return false
	}
	d.aborted = true
	m.out.Signal()
	return true
}

// membersAndLeaving is the members of a room, and those that have ended and are not
// closed yet.
func (r *Room) membersAndLeaving() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.members)
	for m := range r.leaving {
		all = append(all, m)
	}
	return all
}

// undrained are those that have ended and have not got everything yet. The others that
// are leaving have readOutTime to close their side. mu is held.
func (r *Room) undrained() (all []*Member) {
	for m := range r.leaving {
		if !m.isDrained() {
			all = append(all, m)
		}
	}
	return all
}

// isFull reports whether the room has no place for another one. Those that are owed
// something have theirs still. mu is held.
func (r *Room) isFull(most int) bool {
	n := len(r.members)
	return most > 0 && n+len(r.leaving) >= most && n+len(r.undrained()) >= most
}

// fromDisk is Service.fromDisk for the member. Nothing is read for one whose
// connection is broken by then, and nothing, errMustWait, if the server is to stand
// still: thousands may wait for their turn, each with its write lock. The caller
// has that of the member.
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
		m.over, m.replay = true, nil
		return errAborted
	}
	s.counters.pages.Add(1)
	read()
	return nil
}

// wakeDeadPeerDetection has the sweep look at what was written. It never waits.
func (s *Service) wakeDeadPeerDetection() {
	select {
	case s.wakeDetection <- struct{}{}:
	default:
	}
}

// detectDeadPeers looks for conns whose peer has vanished without a word while data was on
// the way to it. Two looks in a row must agree: a probe that is just being answered looks the
// same for a moment. It sleeps while all that was written has been acknowledged.
func (s *Service) detectDeadPeers() {
	for {
		select {
		case <-s.wakeDetection:
		case <-s.stop.Done():
			return
		}
		var before map[*output]bool // silent at the last look
		for again := true; again && s.sleep(s.opts().DeadPeer/6); {
			again = false
			silent := make(map[*output]bool)
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

// detectDeadPeers looks at the conns of a room's members and reports whether something is on
// the way to one of them. It notes those that are silent, and breaks those that were before.
func (r *Room) detectDeadPeers(limit time.Duration, before, silent map[*output]bool) (waiting bool) {
	defer r.svc.engine.BeginChange()()
	for _, m := range r.currentMembers() {
		unacknowledged, isSilent := m.out.conn.ProbePeer(limit)
		waiting = waiting || unacknowledged
		if isSilent {
			if silent[m.out] = true; before[m.out] {
				m.out.declareDead()
			}
		}
	}
	return waiting
}

// allRooms is every room, those opening and closing included.
func (s *Service) allRooms() []*Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allRoomsLocked()
}

func (s *Service) allRoomsLocked() []*Room {
	return slices.AppendSeq(slices.Collect(maps.Values(s.rooms)), maps.Keys(s.draining))
}

// currentMembers is every member there is now.
func (r *Room) currentMembers() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Member(nil), r.members...)
}

// ending tells why the room is closing, if it is.
func (r *Room) ending() (c Cause, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause, r.state == closing
}

// farewell is what the members are told when a room closes.
func (r *Room) farewell(c Cause) wire.Event {
	if c == causeDeleted {
		return wire.Event{Time: time.Now(), Type: wire.TypeDeleted, Text: r.name() + ": chat room being deleted"}
	}
	return wire.Event{Time: time.Now(), Type: wire.TypeNotice, Text: r.name() + ": the server is stopping"}
}

// beginClosing marks the room as closing, once: nobody is admitted any more. It
// reports false if it was closing already.
func (r *Room) beginClosing(c Cause) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == closing {
		return false
	}
	r.state, r.cause = closing, c
	return true
}

// shutDown ends a room after begin: clients in the backlog are told, the listeners
// are closed, the farewell is appended, and every member gets what is pending
// before its socket closes. It returns how many members there were.
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

// endAll says farewell and ends every member.
func (r *Room) endAll(c Cause) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Append(r.reads.render(r.farewell(c), false))
	n := len(r.members)
	for n := len(r.members); n > 0; n-- {
		r.members[n-1].endLocked(c)
	}
	return n
}

const (
	// inputTime bounds how long Stop waits for what clients sent that have closed
	// since, and liveWordsTime for what others sent, who may send on and on.
	inputTime     = 5 * time.Second
	liveInputTime = 500 * time.Millisecond
	inputPoll     = 5 * time.Millisecond
)

// awaitInput waits until what has come from members is handled, and all that clients
// sent who have closed their side since, or are gone: nobody tells them to send it
// again. Theirs is held back by no allowance. Everything goes on meanwhile.
func (s *Service) awaitInput() {
	select {
	case <-s.stopRequested: // Stop is called again
	default:
		close(s.stopRequested)
	}
	for _, r := range s.allRooms() {
		r.mu.Lock()
		for _, m := range r.members {
			m.out.Signal() // one that waits for its allowance looks again
		}
		r.mu.Unlock()
	}
	for _, v := range s.nonMembers() {
		v.Signal()
	}
	t := time.NewTicker(inputPoll)
	defer t.Stop()
	began, quiet := time.Now(), 0
	for quiet < 2 { // what is just between two places may be seen in neither
		took := time.Since(began)
		if took > inputTime {
			s.log.Warn("something is left of what clients sent before they closed", "waited", inputTime)
			return
		}
		if quiet++; s.hasInput(took < liveInputTime) {
			quiet = 0
		}
		<-t.C
	}
}

// hasInput reports whether there is input of a client that has closed or, with
// live, of a member.
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
	return owed || ln != nil && ln.HasBacklog() // whose lock comes before that of a room
}

// isStopping reports whether the last words are being waited for.
func (s *Service) isStopping() bool {
	select {
	case <-s.stopRequested:
		return true
	default:
		return false
	}
}
