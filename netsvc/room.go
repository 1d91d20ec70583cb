package netsvc

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"roomd/netsvc/ban"
	"roomd/netsvc/limit"
	"roomd/netsvc/passwd"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// state is a phase in the life of a room.
type state int

const (
	opening state = iota // being created; the name is reserved, and not shown
	open
	unbound // its port is in use by another program; retried
	closing // being deleted, or the server stops
)

const (
	// logWindow bounds a room's log in memory, in bytes, and allLogs those of all
	// rooms together: beyond it each has a sixteenth of its window. A log that
	// everybody has read is dropped.
	logWindow = 2 << 20
	allLogs   = 256 << 20
	passBytes = 128 << 10 // what one member gets in a pass while others wait

	// drainTime is what a member has for its pending lines when a room ends.
	drainTime = 5 * time.Second
)

// joinNoticeRate bounds the notices of a room that somebody has joined or left.
var joinNoticeRate = limit.Rate{PerSecond: 10, Burst: 200}

// Room is a log, a port, and the members that read and write it.
type Room struct {
	// Set before it is published, then read-only.
	svc *Service
	origin
	log      *roomlog.Log
	quit     chan struct{}  // closed when the room begins to close
	unclosed sync.WaitGroup // members until they are closed; Add under mu, while open

	nameAndPort    atomic.Pointer[nameAndPort]     // replaced under Service.mu
	settings       atomic.Pointer[store.Settings]  // what the operator has set, read-only
	password       atomic.Pointer[passwd.Password] // nil: none
	unacknowledged atomic.Bool                     // data may wait for the acknowledgement of a peer
	// dropped says that the room is deleted in the store. Its members drain and end in
	// this process, also while it is suspended, or when another process has taken over.
	dropped atomic.Bool

	work     taskQueue  // the slow parts of changes of the room
	changing sync.Mutex // held while an operator changes the room; only tried

	fanout

	mu sync.Mutex // guards what follows, but for touched
	presence
	membership
	topic    string
	lastLine time.Time // when a line last came
	rate     rate

	// Owned by the store's committer.
	touched bool
}

// origin is how a room was created. It is read-only.
type origin struct {
	id          uint64
	identity    store.Identity // of the history
	creator     uint64         // master session that made it; 0: none of this run
	keyHash     []byte
	created     time.Time
	creatorAddr string // the address it was created from
}

// fanout belongs to the flusher: the goroutine that has the lock flushing.
type fanout struct {
	flushing    transport.Lock
	passMembers []*Member
	turn        int // where the next pass begins
	pacer       pacer
}

// presence says whether a room admits clients, and at which port. Room.mu guards it.
type presence struct {
	state         state
	cause         Cause  // why it is closing
	unboundReason string // why it is unbound; empty: it is not
	ln            *transport.Endpoint
	provisional   bool // see Creation.Provisional; a line ends it, and then the log does
	vacating      bool // it is being deleted because it is unused, or turns out to be used
}

// membership is the members of a room, and the state of joining and leaving. Room.mu guards it.
type membership struct {
	members        []*Member              // at m.index
	nicks          map[string]*Member     // by folded nick
	confusables    wire.ConfusableNicks   // of nicks
	guests         int                    // the last guest number
	reads          readership             // of the log
	unannounced    []*Member              // whose joins may not be announced yet, the oldest first; a timer runs while there are any
	leaving        map[*Member]*departure // have ended and are not closed yet
	roster         weak.Pointer[roster]   // of this moment, as long as somebody gets it; nil: not made yet
	joinNoticesDue time.Time              // when the burst of joinNoticeRate is whole again
}

// newRoom makes a room of the database. last is the number of its newest line.
func newRoom(s *Service, k store.Room, last uint64) *Room {
	r := &Room{
		svc: s, topic: k.Topic, log: roomlog.New(logWindow, last), quit: make(chan struct{}),
		origin:     origin{id: k.ID, identity: s.store.Identity(k), keyHash: k.KeyHash, created: k.Created, creatorAddr: k.Creator},
		membership: membership{nicks: make(map[string]*Member), leaving: make(map[*Member]*departure)},
	}
	r.provisional = k.Provisional
	r.nameAndPort.Store(newNameAndPort(k.Name, k.Key, k.Port))
	r.settings.Store(&k.Settings)
	r.password.Store(passwd.FromHash(k.Password))
	r.log.SetBudget(s.logs)
	return r
}

// switchListener begins to accept on ln, unless the room is closing or has another port by now. It
// closes the listener that is not used, and the one before.
func (r *Room) switchListener(ln *transport.Endpoint) bool {
	old, ok := r.setListener(ln)
	if !ok {
		ln.Close()
	}
	if old != nil {
		old.DrainAndClose()
	}
	if ok && r.svc.isOutdated(ln) {
		r.svc.mu.Lock()
		r.svc.scheduleReconcile()
		r.svc.mu.Unlock()
	}
	return ok
}

// setListener is switchListener for callers that close the listeners.
func (r *Room) setListener(ln *transport.Endpoint) (old *transport.Endpoint, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == closing || ln.Port != r.port() {
		return nil, false
	}
	if err := ln.Open(r.admit, r.noticeLine(busyText)); err != nil {
		if r.state != open {
			r.state, r.unboundReason = unbound, transport.BindReason(r.port(), err)
		}
		return nil, false
	}
	old = r.ln
	r.state, r.unboundReason, r.ln = open, "", ln
	return old, true
}

// isOutdated reports whether the addresses to listen on have changed since ln was bound.
func (s *Service) isOutdated(ln *transport.Endpoint) bool {
	return ln.Requested != nil && !slices.Equal(ln.Requested, s.opts().Listen)
}

// tryBind binds the room's own port. It returns false if that may succeed later, and leaves the
// room unbound with the reason.
func (r *Room) tryBind() bool {
	ln, err := r.listen()
	if err == nil {
		return r.switchListener(ln) || r.currentState() == closing
	}
	r.mu.Lock()
	var old *transport.Endpoint
	if r.state != closing && !r.bound() {
		old, r.ln = r.ln, nil
		r.state, r.unboundReason = unbound, transport.BindReason(r.port(), err)
	}
	r.mu.Unlock()
	if old != nil { // the room has moved
		old.DrainAndClose()
	}
	return false
}

// bound reports whether the room accepts connections at its port. mu is held.
func (r *Room) bound() bool { return r.state == open && r.ln.Port == r.port() }

// errMaster is why a room cannot have the master port.
var errMaster = fmt.Errorf("it is the master port: start the server with another one")

func (r *Room) listen() (*transport.Endpoint, error) {
	if r.port() == r.svc.opts().Port {
		return nil, errMaster
	}
	return r.svc.listen(r.port())
}

// rebind retries an unbound room until it is bound or closes.
func (r *Room) rebind() {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-r.quit:
			t.Stop()
			return
		}
		end := r.svc.engine.BeginChange()
		r.mu.Lock()
		bound := r.bound() // by the operator, meanwhile
		r.mu.Unlock()
		if !bound {
			bound = r.tryBind()
		}
		end()
		if bound {
			r.svc.log.Info("room bound", "room", r.name(), "port", r.port())
			return
		}
	}
}

func (r *Room) unboundCause() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unboundReason
}

func (r *Room) currentState() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// serves reports whether clients of the master port see the room.
func (r *Room) serves() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.servesLocked()
}

func (r *Room) servesLocked() bool { return (r.state == open || r.state == unbound) && !r.vacating }

func (r *Room) info() (RoomInfo, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.servesLocked() {
		return RoomInfo{}, false
	}
	return RoomInfo{
		Name: r.name(), Key: r.key(), Port: r.port(), Members: len(r.members), Topic: r.topic, Unbound: r.unboundReason,
		Locked: r.password.Load() != nil, ReadOnly: r.settings.Load().ReadOnly, Limit: r.maxMembers(), Created: r.created,
		ID: r.id, Newest: r.log.End().Seq,
	}, true
}

// noticeLine is a notice about the room that is not in its log.
func (r *Room) noticeLine(text string) string { return wire.Notice(r.name() + ": " + text) }

// admit begins a session on a new connection, or refuses it.
func (r *Room) admit(c transport.Socket, addr netip.AddrPort) {
	if why, err := r.svc.acquireConn(addr.Addr()); err != nil {
		r.svc.publishRefusal(r.name(), addr, why, err.Error())
		r.svc.refuseNew(c, addr, why, r.noticeLine(err.Error()))
		return
	}
	if r.svc.needsHandshake(addr.Addr()) {
		r.svc.startHandshake(c.TCP(addr), addr, handshakeFor{room: r}, r.afterHandshake)
		return
	}
	r.beginSession(r.svc.engine.NewConn(c, addr), addr, time.Now())
}

// beginSession begins a password session, if the room has a password, or else a line session.
func (r *Room) beginSession(c *transport.Conn, addr netip.AddrPort, since time.Time) {
	if p := r.password.Load(); p != nil {
		r.newPasswordSession(c, addr, since, p).begin(false, false)
		return
	}
	r.beginLineSession(c, addr, nil)
}

// beginLineSession begins a line session on a connection that is counted, or refuses it. before is
// the password session of the connection; nil: there was none.
func (r *Room) beginLineSession(c *transport.Conn, addr netip.AddrPort, before *passwordSession) {
	s, why, text := r.join(c, addr, before)
	if s == nil {
		r.svc.releaseConn(addr.Addr())
		r.svc.publishRefusal(r.name(), addr, why, text)
		r.svc.refuse(c.Detach(addr), why, text)
		return
	}
	s.flushAll()
}

// join makes a line session and begins to read, under the lock that closing takes: no member joins
// after the farewell. If the session is nil the text is the refusal, and the conn is not started.
func (r *Room) join(c *transport.Conn, addr netip.AddrPort, before *passwordSession) (s *lineSession, why RefusalReason, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why, text := r.refuses(addr); text != "" {
		return nil, why, text
	}
	s = newLineSession(r, c, addr, r.guest())
	if before != nil {
		s.takeInputOf(before)
	}
	r.welcome(&s.member) // before Start: the first line announces the join
	// From here on what it sends is answered.
	if err := c.Start(s, s.pending != nil); err != nil {
		s.member.unannounced.Store(false)
		r.svc.engine.AddPending(-s.pending.size())
		r.removeMember(&s.member)
		r.releaseNick(&s.member)
		s.member.dropInserts()
		r.unclosed.Done()
		r.svc.uncounted.Add(1)
		return nil, refusedDescriptors, r.noticeLine("the server has no room for another connection; try again in a moment")
	}
	return s, "", ""
}

// refuses returns the reason why a member from that address cannot join; an empty text: it can. mu
// is held.
func (r *Room) refuses(addr netip.AddrPort) (why RefusalReason, text string) {
	if r.state == closing || r.vacating {
		ev := r.farewell(cmp.Or(r.cause, CauseDeleted))
		return RefusedClosing, string(ev.AppendText(nil))
	}
	if most := r.maxMembers(); r.isFull(most) {
		return RefusedRoomFull, r.noticeLine(fmt.Sprintf("the room is full: it has %s, which is the limit", plural(most, "member")))
	}
	if b := r.svc.banned(r.id, addr.Addr(), ""); b != nil {
		return RefusedBan, r.noticeLine(ban.Text(b))
	}
	return "", ""
}

// welcome adds a new member and greets it. Its session must close it. mu is held.
func (r *Room) welcome(m *Member) {
	r.unclosed.Add(1)
	r.addMember(m)
	m.cursor = r.log.End()
	m.greet(len(r.members), r.topic)
	r.announceLater(m)
}

// addMember adds a member to the lists. mu is held.
func (r *Room) addMember(m *Member) {
	m.index = int32(len(r.members))
	r.members = append(r.members, m)
	r.reads.of[m.reads]++
	r.roster = weak.Pointer[roster]{}
	r.claimNick(m, m.nick)
}

// guest returns a free nick for a new member. mu is held.
func (r *Room) guest() wire.Name {
	for {
		r.guests++
		nick := "guest-" + strconv.Itoa(r.guests)
		if r.nicks[nick] == nil && !r.svc.bans.Load().HasNick(nick) {
			return wire.Name{Shown: nick, Key: nick}
		}
	}
}

// announce appends an event that is not in the history, and wakes the flusher. In a large room
// readers of text do not see joins and leaves, in any other room not too many of them. mu is held.
func (r *Room) announce(ev wire.Event) {
	ev.Time = time.Now()
	quiet := false
	if ev.Type == wire.TypeJoin || ev.Type == wire.TypeLeave {
		if quiet = len(r.members) > r.quietAbove(); !quiet && len(r.members) > 1 {
			debt, wait := joinNoticeRate.Spend(r.joinNoticesDue.Sub(ev.Time), 1)
			if quiet = wait > 0; !quiet {
				r.joinNoticesDue = ev.Time.Add(debt)
			}
		}
	}
	e := r.render(ev, quiet)
	r.log.Append(e)
	if r.hasNoReaders() {
		r.log.Clear()
		return
	}
	if !e.Empty() {
		r.wake()
	}
}

// append appends lines that the store has committed to the log, in their order. The committer
// calls it.
func (r *Room) append(posts []*store.Post) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := uint64(0)
	for _, p := range posts {
		m, ours := p.Owner.(*Member)
		if p.Err != nil {
			label, id := Label(nil), ""
			if k, labeled := p.Owner.(*labeledLine); labeled {
				m, label, id, ours = k.member, k.label, k.id, true
			}
			if ours {
				m.lineRejected(p, label, id)
				r.releaseNickOfEnded(m)
			}
			continue
		}
		kept++
		ev := lineEvent(&p.Line)
		if r.svc.watchers.active() {
			r.svc.Publish(Event{Time: p.Line.Time, Type: string(ev.Type), Room: r.name(), Member: ev.From, Seq: ev.Seq, Text: ev.Text})
		}
		if p.Line.Kind == store.Topic {
			r.topic = p.Line.Text
		}
		e := r.render(ev, false)
		if !ours {
			if k, labeled := p.Owner.(*labeledLine); labeled {
				if k.label == nil {
					k.member.lineAppended(r.log, &p.Line, e, k.id)
				} else {
					k.member.labeledAppended(r.log, &p.Line, e, k.label)
				}
				r.releaseNickOfEnded(k.member)
			} else {
				r.log.Append(e)
			}
			continue
		}
		m.lineAppended(r.log, &p.Line, e, "")
		r.releaseNickOfEnded(m)
	}
	r.svc.counters.lines.Add(kept)
	r.svc.counters.deliveries.Add(kept * uint64(len(r.members)))
	now := time.Now()
	r.lastLine = now.UTC()
	r.rate.add(now, len(posts))
	if r.hasNoReaders() {
		r.log.Clear()
	}
}

// rate is a number of lines a minute that decays: lines of a minute ago count a third (1/e).
type rate struct {
	value float64
	at    time.Time
}

func (q *rate) now(t time.Time) float64 {
	if q.value == 0 {
		return 0
	}
	return q.value * math.Exp(-t.Sub(q.at).Minutes())
}

func (q *rate) add(t time.Time, n int) { q.value, q.at = q.now(t)+float64(n), t }

// lineEvent is the event of a line of the history.
func lineEvent(l *store.Line) wire.Event {
	return wire.Event{
		Seq: l.Seq, Time: l.Time, Type: cmp.Or(wire.Type(l.Kind.String()), wire.TypeMessage), Notice: l.Kind == store.Notice, From: l.From, Text: l.Text,
	}
}

// removeMember removes a member from the lists. mu is held.
func (r *Room) removeMember(m *Member) {
	last := len(r.members) - 1
	r.members[m.index] = r.members[last]
	r.members[m.index].index = m.index
	r.members[last] = nil
	r.members = r.members[:last]
	r.roster = weak.Pointer[roster]{}
	r.reads.of[m.reads]--
}

// releaseNickOfEnded makes the nick of an ended member free, once all its lines are in the log:
// lines of the next member with the nick come after them. mu is held.
func (r *Room) releaseNickOfEnded(m *Member) {
	if m.cause == "" || r.nicks[m.nick.Key] != m {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inFlight == 0 {
		r.releaseNick(m)
	}
}

// removeLeaving removes a member that is closed. A log that has no reader is dropped.
func (r *Room) removeLeaving(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.leaving, m)
	if r.hasNoReaders() {
		r.log.Clear()
	}
}

// hasNoReaders reports whether the log has no reader: no member, and none that has left and still
// drains. mu is held.
func (r *Room) hasNoReaders() bool { return len(r.members)+len(r.leaving) == 0 }

// noteWritten starts the detection of dead peers after a write.
func (r *Room) noteWritten() {
	if !r.unacknowledged.Load() {
		r.unacknowledged.Store(true)
		r.svc.wakeDeadPeerDetection()
	}
}
