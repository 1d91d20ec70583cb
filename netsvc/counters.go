package netsvc

import (
	"maps"
	"sync"
	"sync/atomic"

	"roomd/netsvc/wire"
)

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
