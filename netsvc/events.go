package netsvc

import (
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// Event is something that an operator may want to watch.
type Event struct {
	Time   time.Time `json:"time"`
	Type   string    `json:"type"` // message, action, topic, notice, nick, join, leave, create, delete, restore, purge, rename, move, set, refuse, ban, mute, unban, reload, command
	Room   string    `json:"room,omitempty"`
	Member string    `json:"member,omitempty"` // the nick
	Remote string    `json:"remote,omitempty"`
	By     string    `json:"by,omitempty"`   // the operator
	Door   string    `json:"door,omitempty"` // how a command of the operator came in, or a client, if not by a room's port or the master port
	Cause  string    `json:"cause,omitempty"`
	Seq    uint64    `json:"seq,omitempty"`
	Text   string    `json:"text,omitempty"`
}

// watchBuffer is how many events a watcher may lag behind. Beyond that it misses events, and
// Missed tells how many.
const watchBuffer = 1024

// Watcher receives events until it is closed.
type Watcher struct {
	C <-chan Event

	list   *watcherList
	c      chan Event
	filter func(*Event) bool
	missed atomic.Uint64
}

// Missed returns how many events the watcher has missed since the last call.
func (w *Watcher) Missed() uint64 { return w.missed.Swap(0) }

// Close removes the watcher. It does not close C.
func (w *Watcher) Close() {
	w.list.mu.Lock()
	defer w.list.mu.Unlock()
	delete(w.list.all, w)
	w.list.count.Store(int32(len(w.list.all)))
}

// watcherList has all watchers. Nothing waits for a watcher.
type watcherList struct {
	count atomic.Int32 // of watchers; without one no event is built
	mu    sync.Mutex
	all   map[*Watcher]bool
}

// active reports whether there is a watcher.
func (l *watcherList) active() bool { return l.count.Load() > 0 }

// Watch adds a watcher of the events that pass the filter. The filter is called with locks held:
// it must be quick, and must not call the Service.
func (s *Service) Watch(filter func(*Event) bool) *Watcher {
	l := &s.watchers
	c := make(chan Event, watchBuffer)
	w := &Watcher{C: c, c: c, list: l, filter: filter}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[*Watcher]bool)
	}
	l.all[w] = true
	l.count.Store(int32(len(l.all)))
	return w
}

// Publish sends an event to the watchers.
func (s *Service) Publish(e Event) {
	l := &s.watchers
	if !l.active() {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.all {
		if !w.filter(&e) {
			continue
		}
		select {
		case w.c <- e:
		default:
			w.missed.Add(1)
		}
	}
}

// publishRefusal publishes and logs that a client was refused; room is "" for the master port.
func (s *Service) publishRefusal(room string, addr netip.AddrPort, why RefusalReason, text string) {
	s.publishRefusalAt("", room, addr, why, text)
}

// publishRefusalAt is publishRefusal for a client that came by a door, which may be "". Then room is
// "" for the door itself.
func (s *Service) publishRefusalAt(door, room string, addr netip.AddrPort, why RefusalReason, text string) {
	if why == notRefused {
		return
	}
	if s.watchers.active() {
		s.Publish(Event{Type: "refuse", Room: room, Door: door, Remote: addr.String(), Text: strings.TrimSpace(text)})
	}
	unlogged, ok := s.refusalLog.take(why, time.Now())
	if !ok {
		return
	}
	attrs := []any{"remote", addr, "cause", string(why)}
	if room != "" {
		attrs = append(attrs, "room", room)
	}
	if door != "" {
		attrs = append(attrs, "door", door)
	}
	if unlogged > 0 {
		attrs = append(attrs, "unlogged", unlogged)
	}
	s.logQueue.add(func() { s.log.Info("client refused", attrs...) })
}

// refuse writes one line to a client and closes the connection. The line may be lost if very many
// connections are refused at once.
func (s *Service) refuse(c transport.HalfCloser, why RefusalReason, line string) {
	if why != notRefused {
		s.counters.refusals.add(why)
	}
	s.engine.Refuse(c, line)
}

// refuseNew is refuse for a connection that was just accepted. If the address connects too often,
// the connection is closed at once, which costs less: the line may be lost if the client has sent
// something.
func (s *Service) refuseNew(c transport.Socket, addr netip.AddrPort, why RefusalReason, line string) {
	if why != refusedRate {
		s.refuse(c.TCP(addr), why, line)
		return
	}
	s.counters.refusals.add(why)
	c.WriteAndClose(line)
}

// refuseHandshake returns the text for a client that is refused, in the form of its port.
func (s *Service) refuseHandshake(h *handshakeConn, why RefusalReason, err error) error {
	h.reason = why
	switch {
	case h.door != nil:
		s.publishRefusalAt(h.door.Name(), "", h.Client(), why, err.Error())
		return closingText(h.door.Refusal(err.Error()))
	case h.room == nil:
		s.publishRefusal("", h.Client(), why, errLine(err))
		return closingText(errLine(err))
	}
	return closingText(h.room.noticeLine(err.Error()))
}

// refusalLog limits the refusals in the log: of each reason the first is logged, and then one
// a minute, with the number of those that were not.
type refusalLog struct {
	mu       sync.Mutex
	last     map[RefusalReason]time.Time
	unlogged map[RefusalReason]int
}

// take reports whether a refusal is to be logged, and how many before it were not.
func (l *refusalLog) take(why RefusalReason, now time.Time) (unlogged int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last, l.unlogged = make(map[RefusalReason]time.Time), make(map[RefusalReason]int)
	}
	if last := l.last[why]; !last.IsZero() && now.Sub(last) < time.Minute {
		l.unlogged[why]++
		return 0, false
	}
	unlogged = l.unlogged[why]
	l.last[why], l.unlogged[why] = now, 0
	return unlogged, true
}

// RefusalReason is why a connection was refused.
type RefusalReason string

const (
	refusedTotal       RefusalReason = "connections"  // limits.connections
	refusedAddress     RefusalReason = "address"      // limits.per_address
	refusedRate        RefusalReason = "rate limited" // limits.connects_per_second
	RefusedRoomFull    RefusalReason = "members"      // limits.members
	RefusedBan         RefusalReason = "banned"
	RefusedClosing     RefusalReason = "closing"     // the room is being deleted, or the server is stopping
	refusedDescriptors RefusalReason = "descriptors" // or memory
	RefusedPassword    RefusalReason = "password"    // none in time, a wrong one, or too many connections waited
	refusedHandshake   RefusalReason = "tls"
	refusedProxy       RefusalReason = "proxy"  // no header from one of server.proxies
	refusedOrigin      RefusalReason = "origin" // a request of HTTP that another site has caused, or by a name that is not ours
	notRefused         RefusalReason = ""       // it is closed, and not counted
)

// Causes of failed handshakes, which are counted.
const (
	tlsPlain   = "plain"     // the client spoke plain text
	tlsTimeout = "timed out" // after handshake.Timeout
	tlsFailed  = "failed"    // the client did not agree, or disconnected
)

// The labels of tallies.
var (
	refusalReasons = []RefusalReason{refusedTotal, refusedAddress, refusedRate, RefusedRoomFull, RefusedBan, RefusedClosing, refusedDescriptors, RefusedPassword, refusedHandshake, refusedProxy, refusedOrigin}
	tlsFailures    = []string{tlsPlain, tlsTimeout, tlsFailed}
	memberCauses   = []Cause{CauseLeft, CauseVanished, CauseDeadPeer, CauseKicked, CauseLagged, CauseForeign, CauseDeleted, CauseStopping, CauseHistory, CauseInternal}
	sessionCauses  = []Cause{CauseLeft, answered, CauseVanished, idleTooLong, unread, rateLimited, CauseForeign, CauseKicked, CauseStopping, CauseInternal}
)

// tally counts by label, for each label from 0 on.
type tally[L ~string] struct {
	mu sync.Mutex
	of map[L]uint64
}

func (t *tally[L]) init(labels []L) {
	t.of = make(map[L]uint64)
	for _, l := range labels {
		t.of[l] = 0
	}
}

func (t *tally[L]) add(label L) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[label]++
}

func (t *tally[L]) counts() map[L]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.of)
}

func (t *tally[L]) restore(counts map[L]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.of, counts)
}

// counters count since the start. Counters says what each of them counts.
type counters struct {
	accepted, lines, deliveries, bytes, passes, pages atomic.Uint64
	rateLimited, throttledRequests, throttledInputs   atomic.Uint64
	blank, tooLong, cleaned                           atomic.Uint64

	refusals     tally[RefusalReason]
	tlsFailures  tally[string]
	memberEnds   tally[Cause]
	sessionEnds  tally[Cause]
	foreignConns tally[wire.Protocol]
}

func (c *counters) init() {
	c.refusals.init(refusalReasons)
	c.tlsFailures.init(tlsFailures)
	c.memberEnds.init(memberCauses)
	c.sessionEnds.init(sessionCauses)
	c.foreignConns.init(wire.Protocols)
}

// clean returns the text of a line, and counts the line if it had to be changed.
func (c *counters) clean(line []byte) string {
	text := wire.Clean(line)
	if text != string(line) {
		c.cleaned.Add(1)
	}
	return text
}

// Counters are what has happened since the start.
type Counters struct {
	Accepted          uint64                   // connections to any port
	Refused           map[RefusalReason]uint64 // of them, by reason
	TLSFailed         map[string]uint64        // handshakes, by cause
	Lines             uint64                   // stored
	Deliveries        uint64                   // lines times the members that each was for
	Bytes             uint64                   // written to members
	Passes            uint64                   // of fan-outs over the members of a room
	Pages             uint64                   // of the history that were read from the store
	Ended             map[Cause]uint64         // members
	Foreign           map[wire.Protocol]uint64 // connections of other protocols, to any port
	Sessions          map[Cause]uint64         // connections to the master port that have ended
	Blank             uint64                   // lines without a visible character, to any port
	TooLong           uint64                   // lines longer than limits.line_bytes
	Cleaned           uint64                   // lines with characters that had to be replaced
	Passwords         Passwords
	RateLimited       uint64 `json:"Hurried"`     // connections and requests that a rate limit has refused
	ThrottledRequests uint64 `json:"Slowed"`      // requests that a rate limit has delayed
	ThrottledInputs   uint64 `json:"SlowedLines"` // times that the rate limit on lines has delayed the input of a member
}

// Passwords are the results of password checks.
type Passwords struct {
	Right     uint64 // and the client was let in
	Wrong     uint64
	Throttled uint64 `json:"Held"`    // not compared, because there were too many wrong ones
	TimedOut  uint64 `json:"Late"`    // connections without the right one in time
	Evicted   uint64 `json:"Crowded"` // connections that had to make room for newer ones
}

// counterPair is a counter and its field in Counters.
type counterPair struct {
	counter *atomic.Uint64
	field   *uint64
}

func (s *Service) counterPairs(n *Counters) []counterPair {
	c, q, p := &s.counters, &s.queue, &n.Passwords
	return []counterPair{
		{&c.accepted, &n.Accepted}, {&c.lines, &n.Lines}, {&c.deliveries, &n.Deliveries}, {&c.bytes, &n.Bytes},
		{&c.passes, &n.Passes}, {&c.pages, &n.Pages}, {&c.blank, &n.Blank}, {&c.tooLong, &n.TooLong}, {&c.cleaned, &n.Cleaned},
		{&c.rateLimited, &n.RateLimited}, {&c.throttledRequests, &n.ThrottledRequests}, {&c.throttledInputs, &n.ThrottledInputs},
		{&q.right, &p.Right}, {&q.wrong, &p.Wrong}, {&q.throttled, &p.Throttled}, {&q.timedOut, &p.TimedOut}, {&q.evicted, &p.Evicted},
	}
}

// Counters returns what has happened so far.
func (s *Service) Counters() Counters {
	c := &s.counters
	n := Counters{
		Refused: c.refusals.counts(), TLSFailed: c.tlsFailures.counts(), Ended: c.memberEnds.counts(), Foreign: c.foreignConns.counts(),
		Sessions: c.sessionEnds.counts(),
	}
	for _, p := range s.counterPairs(&n) {
		*p.field = p.counter.Load()
	}
	return n
}

// restoreCounters has the counters go on from those of another process.
func (s *Service) restoreCounters(n Counters) {
	for _, p := range s.counterPairs(&n) {
		p.counter.Store(*p.field)
	}
	c := &s.counters
	c.refusals.restore(n.Refused)
	c.tlsFailures.restore(n.TLSFailed)
	c.memberEnds.restore(n.Ended)
	c.foreignConns.restore(n.Foreign)
	c.sessionEnds.restore(n.Sessions)
}
