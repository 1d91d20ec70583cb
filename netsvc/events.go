package netsvc

import (
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	Door   string    `json:"door,omitempty"` // the way that a command came in
	Cause  string    `json:"cause,omitempty"`
	Seq    uint64    `json:"seq,omitempty"`
	Text   string    `json:"text,omitempty"`
}

// Publish shows something that was done from outside this package to watchers.
func (s *Service) Publish(h Event) { s.watchers.publish(h) }

// watchBuffer bounds what a watcher may be behind; then it misses something,
// and is told how much.
const watchBuffer = 1024

// Watcher gets happenings until it is closed.
type Watcher struct {
	C <-chan Event

	list   *watcherList
	c      chan Event
	filter func(*Event) bool
	missed atomic.Uint64
}

// Missed is how many happenings the watcher was too slow for, since the last
// call.
func (w *Watcher) Missed() uint64 { return w.missed.Swap(0) }

// Close ends the watch. C is not closed.
func (w *Watcher) Close() {
	w.list.mu.Lock()
	defer w.list.mu.Unlock()
	delete(w.list.all, w)
	w.list.count.Store(int32(len(w.list.all)))
}

// publishRefusal publishes that somebody was not let in; room is empty for the master
// port.
func (s *Service) publishRefusal(room string, addr netip.AddrPort, text string) {
	if s.watchers.active() {
		s.watchers.publish(Event{Type: "refuse", Room: room, Remote: addr.String(), Text: strings.TrimSpace(text)})
	}
}

// watcherList hands happenings to watchers. Nobody waits for a watcher.
type watcherList struct {
	count atomic.Int32 // of watchers, to be looked at before anything is built
	mu    sync.Mutex
	all   map[*Watcher]bool
}

// Watch begins to watch what want lets through. want is called with locks held:
// it must be quick and call nothing.
func (s *Service) Watch(want func(*Event) bool) *Watcher {
	h := &s.watchers
	c := make(chan Event, watchBuffer)
	w := &Watcher{C: c, c: c, list: h, filter: want}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = make(map[*Watcher]bool)
	}
	h.all[w] = true
	h.count.Store(int32(len(h.all)))
	return w
}

// active reports whether it is worth building a happening.
func (h *watcherList) active() bool { return h.count.Load() > 0 }

func (h *watcherList) publish(e Event) {
	if !h.active() {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
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

// counters are counted since the start.
type counters struct {
	accepted          atomic.Uint64
	lines             atomic.Uint64
	deliveries        atomic.Uint64
	bytes             atomic.Uint64
	passes            atomic.Uint64
	pages             atomic.Uint64
	rateLimited       atomic.Uint64
	throttledRequests atomic.Uint64
	throttledInputs   atomic.Uint64

	mu           sync.Mutex
	ended        map[Cause]uint64
	foreignConns map[wire.Protocol]uint64
	sessions     map[Cause]uint64
	refusals     map[RefusalReason]uint64
	tls          map[string]uint64

	blank, tooLong, cleaned atomic.Uint64 // lines
}

// clean makes text of a line, and counts it if it had to be changed.
func (c *counters) clean(line []byte) string {
	text := wire.Clean(line)
	if text != string(line) {
		c.cleaned.Add(1)
	}
	return text
}

// RefusalReason is why a connection was refused.
type RefusalReason string

const (
	refusedTotal       RefusalReason = "connections"  // limits.connections
	refusedAddress     RefusalReason = "address"      // limits.per_address
	refusedRate        RefusalReason = "rate limited" // limits.connects_per_second
	refusedRoomFull    RefusalReason = "members"      // limits.members
	refusedBan         RefusalReason = "banned"
	refusedClosing     RefusalReason = "closing"     // the room is being deleted, or the server stops
	refusedDescriptors RefusalReason = "descriptors" // or memory
	refusedPassword    RefusalReason = "password"    // not in time, not the right one, or very many waited
	refusedHandshake   RefusalReason = "tls"
	refusedProxy       RefusalReason = "proxy" // no header from one of server.proxies
	notRefused         RefusalReason = ""      // it is closed, and not counted
)

var refusalReasons = []RefusalReason{refusedTotal, refusedAddress, refusedRate, refusedRoomFull, refusedBan, refusedClosing, refusedDescriptors, refusedPassword, refusedHandshake, refusedProxy}

func (c *counters) countRefusal(why RefusalReason) {
	if why == notRefused {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[why]++
}

func (c *counters) countTLSFailure(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls[why]++
}

func (c *counters) countSessionEnd(cause Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[cause]++
}

// countForeign counts a connection of another protocol.
func (c *counters) countForeign(p wire.Protocol) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreignConns[p]++
}

func (c *counters) countMemberEnd(cause Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[cause]++
}

// Counters are what has happened since the start.
type Counters struct {
	Accepted          uint64                   // connections to any port
	Refused           map[RefusalReason]uint64 // of them, by cause
	TLSFailed         map[string]uint64        // handshakes, by cause
	Lines             uint64                   // kept
	Deliveries        uint64                   // lines times the members that each was for
	Bytes             uint64                   // written to members
	Passes            uint64                   // of flushers over the members of a room
	Pages             uint64                   // of the history that were read from the store
	Ended             map[Cause]uint64
	Foreign           map[wire.Protocol]uint64 // connections of other protocols, to any port
	Sessions          map[Cause]uint64         // connections to the master port that have ended
	Blank             uint64                   // lines that are nothing, to any port
	TooLong           uint64                   // lines longer than limits.line_bytes
	Cleaned           uint64                   // lines with characters that had to be replaced
	Passwords         Passwords
	RateLimited       uint64 `json:"Hurried"`     // connections refused, or ended, as their address was too fast
	ThrottledRequests uint64 `json:"Slowed"`      // requests that were put off
	ThrottledInputs   uint64 `json:"SlowedLines"` // times that a member's input had to wait for its allowance
}

// Passwords are what became of connections and lines before the gates of rooms
// that have one.
type Passwords struct {
	Right     uint64 // and the connection was let in
	Wrong     uint64
	Throttled uint64 `json:"Held"`    // not looked at, as there were too many wrong ones
	TimedOut  uint64 `json:"Late"`    // connections without the right one in time
	Evicted   uint64 `json:"Crowded"` // connections that had to make room for others
}

// causes are all there are, so that each is counted from the start.
var causes = []Cause{causeLeft, causeVanished, causeDeadPeer, causeKicked, causeLagged, causeForeign, causeDeleted, causeStopping, causeHistory, causeInternal}

// sessionCauses are why connections to the master port end.
var sessionCauses = []Cause{causeLeft, answered, causeVanished, idleTooLong, unread, rateLimited, causeForeign, causeKicked, causeStopping, causeInternal}

// Counters returns what has happened so far.
func (s *Service) Counters() Counters {
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &s.queue
	return Counters{
		Sessions: maps.Clone(c.sessions), Blank: c.blank.Load(), TooLong: c.tooLong.Load(), Cleaned: c.cleaned.Load(),
		RateLimited: c.rateLimited.Load(), ThrottledRequests: c.throttledRequests.Load(), ThrottledInputs: c.throttledInputs.Load(),
		Passwords: Passwords{g.right.Load(), g.wrong.Load(), g.throttled.Load(), g.timedOut.Load(), g.evicted.Load()},
		Accepted:  c.accepted.Load(), Refused: maps.Clone(c.refusals), TLSFailed: maps.Clone(c.tls), Lines: c.lines.Load(), Deliveries: c.deliveries.Load(),
		Bytes: c.bytes.Load(), Passes: c.passes.Load(), Pages: c.pages.Load(), Ended: maps.Clone(c.ended), Foreign: maps.Clone(c.foreignConns),
	}
}

// Lag tells how many members have not got everything, and the worst of them:
// how many events it is behind.
func (s *Service) Lag() (members int, worst uint64) {
	for _, r := range s.allRooms() {
		end := r.log.End().Pos
		r.mu.Lock()
		for _, m := range r.members {
			if pos := m.reached.Load(); pos < end {
				members++
				worst = max(worst, end-pos)
			}
		}
		r.mu.Unlock()
	}
	return members, worst
}

// restore goes on counting where another process has stopped.
func (c *counters) restore(was Counters, g *admissionQueue) {
	c.accepted.Store(was.Accepted)
	c.lines.Store(was.Lines)
	c.deliveries.Store(was.Deliveries)
	c.bytes.Store(was.Bytes)
	c.passes.Store(was.Passes)
	c.pages.Store(was.Pages)
	c.rateLimited.Store(was.RateLimited)
	c.throttledRequests.Store(was.ThrottledRequests)
	c.throttledInputs.Store(was.ThrottledInputs)
	c.blank.Store(was.Blank)
	c.tooLong.Store(was.TooLong)
	c.cleaned.Store(was.Cleaned)
	p := was.Passwords
	g.right.Store(p.Right)
	g.wrong.Store(p.Wrong)
	g.throttled.Store(p.Throttled)
	g.timedOut.Store(p.TimedOut)
	g.evicted.Store(p.Evicted)
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.ended, was.Ended)
	maps.Copy(c.sessions, was.Sessions)
	maps.Copy(c.foreignConns, was.Foreign)
	maps.Copy(c.refusals, was.Refused)
	maps.Copy(c.tls, was.TLSFailed)
}
