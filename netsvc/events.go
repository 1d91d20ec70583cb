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

// Happening is something that an operator may want to watch.
type Happening struct {
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
func (s *Service) Publish(h Happening) { s.hub.publish(h) }

// watchBuffer bounds what a watcher may be behind; then it misses something,
// and is told how much.
const watchBuffer = 1024

// Watcher gets happenings until it is closed.
type Watcher struct {
	C <-chan Happening

	hub    *hub
	c      chan Happening
	want   func(*Happening) bool
	missed atomic.Uint64
}

// Missed is how many happenings the watcher was too slow for, since the last
// call.
func (w *Watcher) Missed() uint64 { return w.missed.Swap(0) }

// Close ends the watch. C is not closed.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.all, w)
	w.hub.count.Store(int32(len(w.hub.all)))
}

// refusal publishes that somebody was not let in; room is empty for the master
// port.
func (s *Service) refusal(room string, addr netip.AddrPort, text string) {
	if s.hub.watched() {
		s.hub.publish(Happening{Type: "refuse", Room: room, Remote: addr.String(), Text: strings.TrimSpace(text)})
	}
}

// hub hands happenings to watchers. Nobody waits for a watcher.
type hub struct {
	count atomic.Int32 // of watchers, to be looked at before anything is built
	mu    sync.Mutex
	all   map[*Watcher]bool
}

// Watch begins to watch what want lets through. want is called with locks held:
// it must be quick and call nothing.
func (s *Service) Watch(want func(*Happening) bool) *Watcher {
	h := &s.hub
	c := make(chan Happening, watchBuffer)
	w := &Watcher{C: c, c: c, hub: h, want: want}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = make(map[*Watcher]bool)
	}
	h.all[w] = true
	h.count.Store(int32(len(h.all)))
	return w
}

// watched reports whether it is worth building a happening.
func (h *hub) watched() bool { return h.count.Load() > 0 }

func (h *hub) publish(e Happening) {
	if !h.watched() {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		if !w.want(&e) {
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
	accepted    atomic.Uint64
	lines       atomic.Uint64
	deliveries  atomic.Uint64
	bytes       atomic.Uint64
	passes      atomic.Uint64
	pages       atomic.Uint64
	hurried     atomic.Uint64
	slowed      atomic.Uint64
	slowedLines atomic.Uint64

	mu       sync.Mutex
	ended    map[Cause]uint64
	speaking map[wire.Protocol]uint64
	sessions map[Cause]uint64
	refusals map[Barred]uint64
	tls      map[string]uint64

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

// Barred is why a connection was refused.
type Barred string

const (
	overAll     Barred = "connections" // limits.connections
	overAddress Barred = "address"     // limits.per_address
	tooOften    Barred = "hurry"       // limits.connects_per_second
	overMembers Barred = "members"     // limits.members
	isBanned    Barred = "banned"
	isClosing   Barred = "closing"     // the room is being deleted, or the server stops
	noRoomLeft  Barred = "descriptors" // or memory
	noPassword  Barred = "password"    // not in time, not the right one, or very many waited
	noHandshake Barred = "tls"
)

var refusalCauses = []Barred{overAll, overAddress, tooOften, overMembers, isBanned, isClosing, noRoomLeft, noPassword, noHandshake}

func (c *counters) refused(why Barred) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[why]++
}

func (c *counters) tlsFailed(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls[why]++
}

func (c *counters) session(cause Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[cause]++
}

// foreign counts a connection of another protocol.
func (c *counters) foreign(p wire.Protocol) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.speaking[p]++
}

func (c *counters) end(cause Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[cause]++
}

// Counters are what has happened since the start.
type Counters struct {
	Accepted    uint64            // connections to any port
	Refused     map[Barred]uint64 // of them, by cause
	TLSFailed   map[string]uint64 // handshakes, by cause
	Lines       uint64            // kept
	Deliveries  uint64            // lines times the members that each was for
	Bytes       uint64            // written to members
	Passes      uint64            // of flushers over the members of a room
	Pages       uint64            // of the history that were read from the store
	Ended       map[Cause]uint64
	Foreign     map[wire.Protocol]uint64 // connections of other protocols, to any port
	Sessions    map[Cause]uint64         // connections to the master port that have ended
	Blank       uint64                   // lines that are nothing, to any port
	TooLong     uint64                   // lines longer than limits.line_bytes
	Cleaned     uint64                   // lines with characters that had to be replaced
	Passwords   Passwords
	Hurried     uint64 // connections refused, or ended, as their address was too fast
	Slowed      uint64 // requests that were put off
	SlowedLines uint64 // times that a member's input had to wait for its allowance
}

// Passwords are what became of connections and lines before the gates of rooms
// that have one.
type Passwords struct {
	Right   uint64 // and the connection was let in
	Wrong   uint64
	Held    uint64 // not looked at, as there were too many wrong ones
	Late    uint64 // connections without the right one in time
	Crowded uint64 // connections that had to make room for others
}

// causes are all there are, so that each is counted from the start.
var causes = []Cause{left, vanished, silent, kicked, lagged, foreign, deleted, stopping, unserved, destroyed}

// sessionCauses are why connections to the master port end.
var sessionCauses = []Cause{left, answered, vanished, idling, unread, hurried, foreign, kicked, stopping, destroyed}

// Counters returns what has happened so far.
func (s *Service) Counters() Counters {
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &s.gate
	return Counters{
		Sessions: maps.Clone(c.sessions), Blank: c.blank.Load(), TooLong: c.tooLong.Load(), Cleaned: c.cleaned.Load(),
		Hurried: c.hurried.Load(), Slowed: c.slowed.Load(), SlowedLines: c.slowedLines.Load(),
		Passwords: Passwords{g.right.Load(), g.wrong.Load(), g.held.Load(), g.late.Load(), g.crowded.Load()},
		Accepted:  c.accepted.Load(), Refused: maps.Clone(c.refusals), TLSFailed: maps.Clone(c.tls), Lines: c.lines.Load(), Deliveries: c.deliveries.Load(),
		Bytes: c.bytes.Load(), Passes: c.passes.Load(), Pages: c.pages.Load(), Ended: maps.Clone(c.ended), Foreign: maps.Clone(c.speaking),
	}
}

// Lag tells how many members have not got everything, and the worst of them:
// how many events it is behind.
func (s *Service) Lag() (members int, worst uint64) {
	for _, r := range s.all() {
		end := r.log.End().Pos
		r.mu.Lock()
		for _, m := range r.members {
			if pos := m.pos.Load(); pos < end {
				members++
				worst = max(worst, end-pos)
			}
		}
		r.mu.Unlock()
	}
	return members, worst
}

// restore goes on counting where another process has stopped.
func (c *counters) restore(was Counters, g *gate) {
	c.accepted.Store(was.Accepted)
	c.lines.Store(was.Lines)
	c.deliveries.Store(was.Deliveries)
	c.bytes.Store(was.Bytes)
	c.passes.Store(was.Passes)
	c.pages.Store(was.Pages)
	c.hurried.Store(was.Hurried)
	c.slowed.Store(was.Slowed)
	c.slowedLines.Store(was.SlowedLines)
	c.blank.Store(was.Blank)
	c.tooLong.Store(was.TooLong)
	c.cleaned.Store(was.Cleaned)
	p := was.Passwords
	g.right.Store(p.Right)
	g.wrong.Store(p.Wrong)
	g.held.Store(p.Held)
	g.late.Store(p.Late)
	g.crowded.Store(p.Crowded)
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.ended, was.Ended)
	maps.Copy(c.sessions, was.Sessions)
	maps.Copy(c.speaking, was.Foreign)
	maps.Copy(c.refusals, was.Refused)
	maps.Copy(c.tls, was.TLSFailed)
}
