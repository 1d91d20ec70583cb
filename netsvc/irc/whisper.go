package irc

import (
	"cmp"
	"slices"
	"strings"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// person is a registered client as others see it at one moment.
type person struct {
	*client
	nick     wire.Name
	realName string
	away     string
	caps     Caps
}

// person returns the session that has a nick.
func (s *Server) person(key string) (person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.personLocked(key)
}

// personLocked is person. Server.mu is held.
func (s *Server) personLocked(key string) (person, bool) {
	c := s.nicks[key]
	if c == nil || !c.registered {
		return person{}, false
	}
	return person{c, c.nick, cmp.Or(c.realName, c.nick.Shown), c.awayLocked(), c.caps.Enabled}, true
}

// maxWriters is how many people a client can answer whose nicks others have, too.
const maxWriters = 16

// writer is somebody who wrote to a client in private: a session, or a member of a room.
type writer struct {
	Nick string `json:"nick"`           // folded
	Room string `json:"room,omitempty"` // folded; empty: a session
}

// noteWriter notes who wrote to the session that has a nick.
func (s *Server) noteWriter(to string, w writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.nicks[to]
	if c == nil {
		return
	}
	d := s.doingsOf(c)
	d.writers = slices.DeleteFunc(d.writers, func(o writer) bool { return o.Nick == w.Nick })
	if len(d.writers) == maxWriters {
		d.writers = slices.Delete(d.writers, 0, 1)
	}
	d.writers = append(d.writers, w)
}

// writersOf returns who wrote to a client.
func (s *Server) writersOf(c *client) []writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.doings == nil {
		return nil
	}
	return slices.Clone(c.doings.writers)
}

// bearers are those who have a nick and can be written to.
type bearers struct {
	session person           // its client is nil: there is none
	members []*netsvc.Member // the client's own, in the rooms in which a member of no IRC session has the nick
}

// bearersOf returns who has a nick: a session, and members of the client's rooms.
func (c *client) bearersOf(key string) (b bearers) {
	b.session, _ = c.server.person(key)
	for _, m := range c.Members() {
		if _, ok := m.Other(key); ok && (b.session.client == nil || b.session.In(m.RoomKey()) == nil) {
			b.members = append(b.members, m)
		}
	}
	return b
}

// in reduces the bearers to those in one room, or to the session for the name of the server.
func (b *bearers) in(where, host string) {
	room := wire.Fold(strings.TrimPrefix(where, string(chanType)))
	b.members = slices.DeleteFunc(b.members, func(m *netsvc.Member) bool { return m.RoomKey() != room })
	if b.session.client != nil && where != host && b.session.In(room) == nil {
		b.session = person{}
	}
}

// choose reduces several bearers to the one who wrote to the client last, if there is one.
func (b *bearers) choose(key string, writers []writer) {
	i := slices.IndexFunc(writers, func(w writer) bool { return w.Nick == key })
	switch {
	case i < 0:
	case writers[i].Room == "" && b.session.client != nil:
		b.members = nil
	default:
		for _, m := range b.members {
			if m.RoomKey() == writers[i].Room {
				*b = bearers{members: []*netsvc.Member{m}}
				return
			}
		}
	}
}

// forms returns how to write to each of the bearers of a nick.
func (b *bearers) forms(nick, host string) string {
	var all []string
	if b.session.client != nil {
		all = append(all, nick+"@"+host)
	}
	for _, m := range b.members[:min(len(b.members), 3)] {
		all = append(all, nick+"@"+m.Room().Name)
	}
	return strings.Join(all, ", ")
}

func (b *bearers) count() int {
	n := len(b.members)
	if b.session.client != nil {
		n++
	}
	return n
}

// whisper says a text to one person: to the session that has the nick, or to the member of one of
// the client's rooms. If several people have it the one who wrote to the client last gets the text,
// and if none of them has, nobody. The target may say which one: bob@lobby for a member of the
// room, bob@irc.example.org for the session.
func (c *client) whisper(target, text string, kind netsvc.Kind) {
	host := c.server.host()
	nick, where, isForm := strings.Cut(target, "@")
	nick, _, _ = strings.Cut(nick, "!")
	n, err := wire.ParseName(nick)
	if err != nil {
		c.reply(errNoSuchNick, target)
		return
	}
	b := c.bearersOf(n.Key)
	if isForm {
		b.in(where, host)
	}
	if b.count() > 1 {
		b.choose(n.Key, c.server.writersOf(c))
	}
	switch {
	case b.count() == 0:
		c.reply(errNoSuchNick, target)
	case b.count() > 1:
		c.replyText(errTooManyTargets, "Several people have that nick: write to "+b.forms(n.Shown, host), target)
	case b.session.client != nil:
		c.whisperToSession(b.session, text, kind)
	default:
		c.whisperToMember(b.members[0], n.Key, text, kind)
	}
}

// whisperToSession says a text to another client of IRC, at once. A CTCP message is passed on as it
// is.
func (c *client) whisperToSession(p person, text string, kind netsvc.Kind) {
	if command, args, ok := ParseCTCP(text); !ok {
		text = wire.CleanString(StripFormatting(text))
	} else if command == action {
		args = wire.CleanString(StripFormatting(args))
		text = "\x01" + action + " " + args + "\x01"
	} else if len(c.prefix())+len(p.nick.Shown)+len(text)+len(": PRIVMSG  :") > maxInside {
		c.reply(errInputTooLong)
		return
	}
	if wire.IsBlank([]byte(text)) {
		c.reply(errNoTextToSend)
		return
	}
	for _, m := range c.Members() {
		if why := m.MuteText(); why != "" && p.In(m.RoomKey()) != nil {
			c.replyText(errCannotSend, wire.NotSent+why, p.nick.Shown)
			return
		}
	}
	ev := wire.Event{Time: now(), Type: wire.TypePrivate, Notice: kind == netsvc.Notice, From: c.nick.Shown, To: p.nick.Shown, Text: text}
	if !p.Tell(c.server.renderPrivate(nil, p.caps, ev)) {
		c.replyText(errCannotSend, p.nick.Shown+" does not read at the moment; try again later", p.nick.Shown)
		return
	}
	c.server.noteWriter(p.nick.Key, writer{Nick: c.nick.Key})
	if p.away != "" && kind != netsvc.Notice {
		c.replyText(rplAway, p.away, p.nick.Shown)
	}
	c.echo(ev)
}

// whisperToMember says a text to a member of a room whose client is none of IRC.
func (c *client) whisperToMember(m *netsvc.Member, key, text string, kind netsvc.Kind) {
	other, ok := m.Other(key)
	to := other.Nick.Shown
	if !ok {
		c.reply(errNoSuchNick, key)
		return
	}
	mark := ""
	if command, args, ok := ParseCTCP(text); ok {
		if command != action {
			c.replyText(errCannotSend, to+" is not on IRC and takes no CTCP but ACTION", to)
			return
		}
		mark, text = "* ", args // as people see actions in a room
	}
	text = wire.CleanString(StripFormatting(text))
	if wire.IsBlank([]byte(text)) {
		c.reply(errNoTextToSend)
		return
	}
	if len(mark)+len(text) > c.Service().LineBytes() {
		c.replyText(errInputTooLong, "The text is longer than lines may be here", to)
		return
	}
	if err := m.Whisper(to, mark+text, kind); err != nil {
		c.replyText(errCannotSend, err.Error(), to)
		return
	}
	if mark != "" {
		text = "\x01" + action + " " + text + "\x01"
	}
	c.echo(wire.Event{Time: now(), Type: wire.TypePrivate, Notice: kind == netsvc.Notice, From: c.nick.Shown, To: to, Text: text})
}

// echo shows the client what it has said to one person, if it has asked for that.
func (c *client) echo(ev wire.Event) {
	if c.has(capEchoMessage) {
		c.out = c.server.renderPrivate(c.out, c.caps.Enabled, ev)
	}
}

// renderPrivate appends a private message for a client with these capabilities.
func (s *Server) renderPrivate(b []byte, caps Caps, ev wire.Event) []byte {
	f := Format{Host: s.host, Level: caps.level()}
	return f.Render(b, Place{To: ev.To}, ev)
}
