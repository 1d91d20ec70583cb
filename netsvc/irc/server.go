package irc

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// Options are the settings of the door. They are replaced as a whole, and never written to.
type Options struct {
	Name     string        // of the server, in prefixes and numerics: at most MaxHost bytes, no space
	Host     string        // of the rooms' ports, as clients reach it; empty: Name
	Network  string        // for 005
	Password string        // of the server; empty: none
	Resume   time.Duration // for how long a client finds its place again
	Replay   int           // lines that a client gets of what it has missed, at most, in each room
	Version  string        // of the program
}

// reach returns the host of the rooms' ports.
func (o *Options) reach() string { return cmp.Or(o.Host, o.Name) }

// Server is the door of IRC: it knows all sessions, and has what they share. Its methods may be
// called from any goroutine.
type Server struct {
	options atomic.Pointer[Options]
	started time.Time

	mu       sync.Mutex           // guards what follows; no other lock is taken under it
	nicks    map[string]*client   // by folded nick: each belongs to one session
	gone     []departed           // the newest at the end
	watchers map[string][]*client // by the folded nick that they watch
}

// New returns a door for the options of a netsvc.Service.
func New(o Options) *Server {
	s := &Server{started: time.Now(), nicks: make(map[string]*client), watchers: make(map[string][]*client)}
	s.options.Store(&o)
	return s
}

// SetOptions replaces the settings. They hold for what happens from then on.
func (s *Server) SetOptions(o Options) { s.options.Store(&o) }

func (s *Server) opts() *Options { return s.options.Load() }

func (s *Server) host() string { return s.opts().Name }

// Name, Refusal, LineBytes, Formats and Begin make the server a netsvc.Door.
func (s *Server) Name() string { return "irc" }

// Refusal is the last line of a connection that was not registered.
func (s *Server) Refusal(text string) string {
	return string(appendLine(nil, "", "ERROR", text))
}

// LineBytes is the length of the longest line with its tags.
func (s *Server) LineBytes() int { return maxInside + MaxTagBytes }

// formatOf returns the format that a client with these capabilities reads.
func formatOf(c Caps) roomlog.Format {
	f := roomlog.IRC + roomlog.Format(c.level())
	if c.Has(capExtendedJoin) {
		f += tagLevels
	}
	return f
}

// Formats has a format for each combination of tags and extended-join.
func (s *Server) Formats() map[roomlog.Format]netsvc.Format {
	all := make(map[roomlog.Format]netsvc.Format)
	for level := range tagLevel(tagLevels) {
		for i, extended := range []bool{false, true} {
			f := &Format{Host: s.host, Level: level, Extended: extended}
			all[roomlog.IRC+roomlog.Format(level)+roomlog.Format(i*tagLevels)] = logFormat{f, s}
		}
	}
	return all
}

// logFormat is a Format as a netsvc.Format.
type logFormat struct {
	*Format
	server *Server
}

func placeOf(at netsvc.Place) Place { return Place{Name: at.Name, ID: at.ID, To: at.To} }

func (f logFormat) Render(b []byte, at netsvc.Place, ev wire.Event) []byte {
	if ev.Type == wire.TypePrivate {
		f.server.noteWriter(wire.Fold(ev.To), writer{wire.Fold(ev.From), wire.Fold(at.Name)})
	}
	if ev.Type == wire.TypeJoin && f.Extended {
		if p, ok := f.server.person(wire.Fold(ev.From)); ok && p.In(wire.Fold(at.Name)) != nil {
			ev.Reason = p.realName
		}
	}
	return f.Format.Render(b, placeOf(at), ev)
}

func (f logFormat) Replay(b []byte, at netsvc.Place, ev wire.Event, label string) []byte {
	return f.Format.Replay(b, placeOf(at), ev, playbackOf(label))
}

func (f logFormat) ForPeople() bool { return false }

// claim keeps a nick for a session beside the one it has, until settle or unclaim. It returns false if another
// session has the nick.
func (s *Server) claim(c *client, n wire.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.nicks[n.Key]; other != nil && other != c {
		return false
	}
	s.nicks[n.Key] = c
	return true
}

// settle makes a nick that a session has claimed its nick, and the one that it had before free.
func (s *Server) settle(c *client, n wire.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c, n)
	s.nicks[n.Key], c.nick = c, n
}

// unclaim makes a nick free that a session has claimed and cannot have.
func (s *Server) unclaim(c *client, n wire.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Key != c.nick.Key {
		delete(s.nicks, n.Key)
	}
}

// release makes the nick of a session free.
func (s *Server) release(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c, wire.Name{})
}

// releaseLocked makes the nick of a session free, which has another one from then on, or none, and
// remembers it for WHOWAS. Server.mu is held.
func (s *Server) releaseLocked(c *client, next wire.Name) {
	if s.nicks[c.nick.Key] != c {
		return
	}
	delete(s.nicks, c.nick.Key)
	if !c.registered || c.nick.Key == next.Key {
		return
	}
	if len(s.gone) == maxGone {
		s.gone = slices.Delete(s.gone, 0, 1)
	}
	s.gone = append(s.gone, departed{c.nick, cmp.Or(c.realName, c.nick.Shown), time.Now()})
}

// named returns the session that has a nick, or nil.
func (s *Server) named(key string) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nicks[key]
}

// Begin makes the protocol of a connection, with the state that another process has given.
func (s *Server) Begin(session *netsvc.RoomsSession, state []byte) (netsvc.Protocol, error) {
	c := &client{RoomsSession: session, server: s, secure: session.IsTLS(), caps: Negotiation{Offered: offeredCaps}}
	if state != nil {
		return c, c.restore(state)
	}
	c.startDeadline()
	return c, nil
}
