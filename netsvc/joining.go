package netsvc

import (
	"errors"
	"net/netip"
	"slices"
	"time"
	"weak"

	"roomd/netsvc/passwd"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// lockRooms locks the rooms of members, in the order that everybody has who locks several.
func (s *Service) lockRooms(members []*Member) (unlock func()) {
	s.mu.Lock() // one at a time: so no order of the rooms is needed
	for _, m := range members {
		m.room.mu.Lock()
	}
	s.mu.Unlock()
	return func() {
		for _, m := range members {
			m.room.mu.Unlock()
		}
	}
}

// announceOnce announces an event of a person in all of its rooms, which are locked. Sessions that
// are in several of them see it once, and except does not see it.
func announceOnce(rooms []*Room, except *output, announce func(*Room)) {
	seen := map[*output]bool{except: true}
	for _, r := range rooms {
		r.skipSeen(seen)
		announce(r)
	}
}

// skipSeen has the sessions that have seen an event in another room not see it in this one, where it is
// announced next, and notes the others. mu is held.
func (r *Room) skipSeen(seen map[*output]bool) {
	for _, m := range r.members {
		if m.reads < roomlog.IRC {
			continue
		}
		if seen[m.out] {
			end := r.log.End()
			m.mu.Lock()
			if !m.ended && !m.drained && m.acceptsInsertLocked() { // else a client that does not read may see it twice
				m.insertLocked(insert{kind: skip, at: end, seq: end.Seq})
			}
			m.mu.Unlock()
		}
		seen[m.out] = true
	}
}

// otherRoomsWith returns the other rooms in which a member has one of two nicks; nil if no session in
// several rooms may be in this one.
func (r *Room) otherRoomsWith(key, other string) (all []*Room) {
	if len(r.svc.doors) == 0 || !r.isReadByDoors() {
		return nil
	}
	for _, o := range r.svc.allRooms() {
		if o != r && o.hasNick(key, other) {
			all = append(all, o)
		}
	}
	return all
}

func (r *Room) isReadByDoors() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.reads.of[roomlog.IRC:], func(n int) bool { return n > 0 })
}

func (r *Room) hasNick(key, other string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nicks[key] != nil || r.nicks[other] != nil
}

// announceRename announces the new nick of a member of this room alone. Sessions that are in one of
// the rooms elsewhere, where somebody else has the old nick or the new one, see that a member leaves
// and another one joins, unless they do not read: for their clients a nick is one person in all rooms.
// mu is held.
func (r *Room) announceRename(ev wire.Event, elsewhere []*Room) {
	var viewers []*Member
	if len(elsewhere) > 0 {
		for _, m := range r.members {
			if m.reads >= roomlog.IRC && slices.ContainsFunc(m.out.session().(*RoomsSession).Members(), func(o *Member) bool { return slices.Contains(elsewhere, o.room) }) && m.acceptsInsert() {
				viewers = append(viewers, m)
			}
		}
	}
	end := r.log.End()
	for _, m := range viewers {
		m.queue(insert{kind: skip, seq: end.Seq})
	}
	r.announce(ev)
	at := time.Now()
	for _, m := range viewers {
		m.answer(
			wire.Event{Time: at, Type: wire.TypeLeave, From: ev.From, Parted: true, Members: len(r.members) - 1},
			wire.Event{Time: at, Type: wire.TypeJoin, From: ev.Nick, Members: len(r.members)})
	}
}

// Rename gives all members of the session another nick, or none of them. The others see one event.
// The client is not told. The error is a *wire.Error.
func (s *RoomsSession) Rename(n wire.Name) error {
	members := s.Members()
	defer s.svc.lockRooms(members)()
	var rooms []*Room
	old := n
	for _, m := range members {
		if m.cause != "" {
			continue
		}
		if err := m.mayTakeNick(n); err != nil {
			return wire.Errorf(err.(*wire.Error).Code, "%s: %s", m.room.name(), err.(*wire.Error).Text)
		}
		rooms, old = append(rooms, m.room), m.nick
	}
	for _, m := range members {
		if m.cause == "" {
			m.room.releaseNick(m)
			m.room.claimNick(m, n)
			m.room.roster = weak.Pointer[roster]{}
		}
	}
	announceOnce(rooms, &s.output, func(r *Room) {
		r.announce(wire.Event{Type: wire.TypeNick, From: old.Shown, Nick: n.Shown})
		r.svc.Publish(Event{Type: "nick", Room: r.name(), Member: old.Shown, Remote: s.remote.String(), Text: n.Shown})
	})
	return nil
}

// Quit ends all members of the session, with one event for those who are in several of their rooms.
func (s *RoomsSession) Quit(reason string) {
	s.quit(CauseLeft, reason)
}

func (s *RoomsSession) endAll(why EndReason) { s.quit(why.cause(), string(why)) }

func (s *RoomsSession) quit(c Cause, reason string) {
	members := s.Members()
	defer s.svc.lockRooms(members)()
	var rooms []*Room
	by := make(map[*Room]*Member)
	for _, m := range members {
		if m.endLocked(c) {
			rooms, by[m.room] = append(rooms, m.room), m
		}
	}
	announceOnce(rooms, &s.output, func(r *Room) { r.announceLeaveOf(by[r], reason, false) })
}

// Leave ends one member, with a reason for the others, and forgets what the client has of the room. Its
// farewell goes through label, unless that is nil.
func (m *Member) Leave(reason string, label Label) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if m.endLabeled(CauseLeft, label) {
		m.room.announceLeaveOf(m, reason, true)
	}
	if r := m.reader(); r != nil {
		r.Leave(m.room.id)
	}
}

// Join is a request of a session to enter a room.
type Join struct {
	Room, Password string
	Nick           wire.Name // the zero Name: a guest's, which the room gives
	Format         roomlog.Format
	HideOwn        bool
	Create         bool // the room if it is not there, and clients may create rooms
	// Resume is for how long a client finds its place in a room again, if the session has a reader
	// (RoomsSession.SetReader); 0: its place is neither looked for nor kept.
	Resume time.Duration
	// Greet returns what the member gets first. Room.mu is held: it must be quick, and must not call
	// the Service.
	Greet func(Welcome) []Part
}

// Welcome is a room as a new member finds it.
type Welcome struct {
	Place
	Topic   string
	Members int
	Newest  uint64 // the sequence number of the newest line
	Removed uint64 // the sequence number up to which lines are not kept any more
	Lines   uint64 // that are kept
	Replay  int    // how many lines a new member is to get
	// HistoryID and Epoch name the history that sequence numbers count in.
	HistoryID, Epoch string
	Port             int // as clients reach it
	ReadOnly, Locked bool

	// Known says that the reader was here within Join.Resume, and did not leave for good: it has the
	// lines up to After, as of Since.
	Known bool
	After uint64
	Since time.Time
}

// start returns the place at which a new member begins: it has the lines up to there, or does not get
// them.
func (w *Welcome) start(parts []Part) uint64 {
	if w.Known {
		return w.After
	}
	for _, p := range parts {
		if r := p.Replay; r != nil && r.Newest > 0 {
			return max(w.Removed, w.Newest-min(w.Newest, uint64(r.Newest)))
		} else if r != nil {
			return r.After
		}
	}
	return w.Newest
}

// JoinError is why a client cannot enter a room.
type JoinError struct {
	Reason RefusalReason
	Text   string // a sentence
}

func (e *JoinError) Error() string { return e.Text }

// ErrWait is returned where something has to wait and must not.
var ErrWait = errMustWait

// Join makes a member of the session in a room. The error is a *JoinError, a *wire.Error of
// CodeNoRoom or CodeBadName, or ErrWait: the room has a password, which takes time, and wait is
// false, or the server is to be suspended.
func (s *RoomsSession) Join(j Join, wait bool) (*Member, error) {
	for {
		if m, err := s.enter(j, wait); err != errVacating {
			return m, err
		}
	}
}

// errVacating is the error for a room that is being deleted because it is unused.
var errVacating = errors.New("the room is being deleted")

// enter is Join, and fails with errVacating instead of ErrWait where it can be made again.
func (s *RoomsSession) enter(j Join, wait bool) (*Member, error) {
	r, err := s.svc.room(j.Room)
	if err != nil && j.Create {
		if r, err = s.create(j.Room, j.Password, wait); err == nil {
			defer func() { // if it cannot be entered
				r.mu.Lock()
				defer r.mu.Unlock()
				r.deleteIfUnused()
			}()
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.checkPassword(r, j.Password, wait); err != nil {
		return nil, err
	}
	if !s.awaitLeft(r, wait) {
		return nil, ErrWait
	}
	var w Welcome
	reader := s.reader.Load()
	if reader != nil && j.Resume > 0 {
		if !reader.AwaitEnding(s.svc.engine.Suspending()) {
			return nil, ErrWait
		}
		w.After, w.Since, w.Known = s.svc.readers.Last(reader, r.id, j.Resume) // before Room.mu: it reads the store
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if why, text := r.refuses(s.remote); text != "" {
		if r.vacating && j.Create {
			return nil, errVacating
		}
		s.svc.publishRefusalAt(s.door.Name(), r.name(), s.remote, why, text)
		return nil, &JoinError{why, sentence(text)}
	}
	if j.Nick == (wire.Name{}) {
		j.Nick = r.guest()
	}
	m := &Member{}
	m.init(r, &s.output, j.Nick)
	m.reads, m.format, m.hideOwn = j.Format, j.Format, j.HideOwn
	if err := m.mayTakeNick(j.Nick); err != nil {
		s.svc.uncounted.Add(1)
		return nil, &JoinError{RefusalReason(err.(*wire.Error).Code), err.(*wire.Error).Text}
	}
	r.unclosed.Add(1)
	roster := r.roster.Value()
	r.addMember(m)
	r.extendRoster(roster, m)
	m.unannounced.Store(true)
	s.mu.Lock()
	s.members = append(s.members, m)
	s.mu.Unlock()
	r.announceJoin(m) // before its cursor is set: it does not see the event
	m.moveTo(r.log.End())
	st, _ := s.svc.store.Stat(r.id)
	w.Place, w.Topic, w.Members, w.Replay = m.place(), r.topic, len(r.members), r.replayLines()
	w.Newest, w.Removed, w.Lines = m.cursor.Seq, st.Removed, st.Lines
	w.After = min(w.After, w.Newest)
	w.HistoryID, w.Epoch = r.identity.Room, r.identity.Epoch
	w.Port, w.ReadOnly, w.Locked = s.svc.Advertised(r.port()), r.settings.Load().ReadOnly, r.password.Load() != nil
	parts := j.Greet(w)
	m.queueParts(parts)
	if reader != nil && j.Resume > 0 {
		reader.Enter(r.id, w.start(parts))
		m.queue(insert{kind: begun})
	}
	s.mu.Lock()
	p := s.pass()
	p.arrivals = append(p.arrivals, m) // from here on the holder of the write lock owns its cursor
	s.mu.Unlock()
	if s.set(hasNews); s.is(isFinished) {
		s.discard()
	}
	return m, nil
}

// awaitLeft waits until the client has got all of a member that it had in the room before: the end of
// that one must not come behind the new one's beginning. False is as of AwaitTurn.
func (s *RoomsSession) awaitLeft(r *Room, wait bool) bool {
	drains := func() bool {
		s.mu.Lock()
		leaving := slices.Clone(s.leaving)
		s.mu.Unlock() // Member.mu comes before it
		return slices.ContainsFunc(leaving, func(m *Member) bool { return (m.room == r || m.room.key() == r.key()) && !m.isDrained() })
	}
	for drains() {
		signal := s.signals()
		if s.flushAll(); !drains() {
			break
		}
		if !wait || s.hasEnded() || s.svc.engine.Suspended() {
			return false
		}
		<-signal
	}
	return true
}

// create makes a provisional room that is not there, as CREATE at the master port does: a password
// that the client gives is the room's, as nobody who gives one means an open room.
func (s *RoomsSession) create(name, password string, wait bool) (*Room, error) {
	n, err := wire.ParseName(name)
	if err != nil {
		return nil, err
	}
	if !s.svc.opts().CreateAnyone {
		return nil, wire.Errorf(wire.CodeDenied, "there is no room of that name, and only the operator creates rooms")
	}
	if !wait || !s.AwaitTurn(4, true) {
		return nil, ErrWait
	}
	for {
		if err := s.awaitDeletion(n.Key); err != nil {
			return nil, err
		}
		end, ok := s.svc.engine.TryBeginChange()
		if !ok {
			return nil, ErrWait
		}
		_, _, err = s.svc.Create(name, Creation{Addr: s.remote.String(), Door: s.door.Name(), Password: password, Provisional: true})
		end()
		if r, again := s.svc.room(name); again == nil { // somebody else may have been quicker
			return r, nil
		}
		if code, _, _ := ClientError(err); err != nil && (code != wire.CodeExists || s.svc.keyed(n.Key) == nil) {
			return nil, err
		}
		if !s.svc.sleep(createInterval) {
			return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
		}
	}
}

// createInterval is how often a session looks at a room that another one is creating.
const createInterval = time.Millisecond

// awaitDeletion waits until no room of a folded name is being deleted.
func (s *RoomsSession) awaitDeletion(key string) error {
	for r := s.svc.keyed(key); r != nil && !r.work.idle(); r = s.svc.keyed(key) {
		select {
		case <-r.work.done():
		case <-s.svc.engine.Suspending():
			return ErrWait
		}
	}
	return nil
}

// keyed returns the room of a folded name, in any state; nil: there is none.
func (s *Service) keyed(key string) *Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[key]
}

// checkPassword checks a room's password as its port does.
func (s *RoomsSession) checkPassword(r *Room, text string, wait bool) error {
	p := r.password.Load()
	if p == nil {
		return nil
	}
	if text == "" { // a client that does not know of the password has not guessed
		return &JoinError{RefusedPassword, "this room has a password"}
	}
	if !wait {
		return ErrWait
	}
	text, _ = wire.ParsePassword(text)
	err := s.svc.guesses.Check(s.svc.stop, s.svc.engine.Suspending(), p, s.remote.Addr(), text)
	var throttled passwd.Throttled
	var wrong passwd.Wrong
	q := &s.svc.queue
	switch {
	case err == nil:
		q.right.Add(1)
		r.rememberAddr(s.remote.Addr())
		return nil
	case errors.Is(err, passwd.ErrSuspended):
		return ErrWait
	case errors.As(err, &throttled):
		q.throttled.Add(1)
		return &JoinError{RefusedPassword, string(throttled)}
	case errors.As(err, &wrong):
		q.wrong.Add(1)
		s.svc.log.Info("wrong password", "room", r.name(), "remote", s.remote, "next_after", wrong.Next)
		return &JoinError{RefusedPassword, wrong.Error()}
	case s.svc.stop.Err() == nil:
		s.svc.log.Error("password cannot be compared", "room", r.name(), "error", err)
	}
	return &JoinError{RefusedPassword, "the server could not compare the password"}
}

// mayTakeNick returns why the member cannot have a nick in its room; nil: it can. Room.mu is held.
func (m *Member) mayTakeNick(n wire.Name) error {
	r := m.room
	if other := r.nicks[n.Key]; other != nil && other != m {
		return wire.Errorf(wire.CodeExists, "somebody here is called %s already", other.nick.Shown)
	}
	own := wire.Name{}
	if r.nicks[m.nick.Key] == m {
		own = m.nick
		if m.activeMute() != nil && n.Key != m.nick.Key && !m.unannounced.Load() { // before its join is announced no member sees it
			return wire.Errorf(wire.CodeDenied, "you are muted: you keep your name")
		}
	}
	if r.svc.banned(r.id, netip.Addr{}, n.Key) != nil {
		return wire.Errorf(wire.CodeDenied, "that name is banned here")
	}
	if r.confusables.HasConfusable(n, own) {
		return wire.Errorf(wire.CodeExists, "%s looks like the name of somebody here, in another script", n.Shown)
	}
	return nil
}
