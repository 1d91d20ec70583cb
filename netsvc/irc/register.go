package irc

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

var registering = map[string]command{
	"CAP":  {do: (*client).doCap, early: true, cost: cheap},
	"PASS": {do: (*client).doPass, params: 1, early: true, cost: cheap},
	"NICK": {do: (*client).doNick, early: true, cost: line},
	"USER": {do: (*client).doUser, params: 4, early: true, cost: cheap},
	"PING": {do: (*client).doPing, early: true, cost: cheap},
	"PONG": {do: func(*client, *Message) bool { return true }, early: true, cost: cheap},
	"QUIT": {do: (*client).doQuit, early: true, cost: cheap},
}

func (c *client) doCap(m *Message) bool {
	before, next := c.caps, c.caps
	if c.out = next.answer(c.out, c.server.host(), c.target(), c.registered, m.Params); next != before {
		c.server.mu.Lock()
		c.caps = next
		c.server.mu.Unlock()
	}
	if next.Enabled != before.Enabled {
		c.capsChanged()
	}
	return c.tryRegister()
}

func (c *client) doPass(m *Message) bool {
	if c.registered {
		c.reply(errAlreadyReg)
		return true
	}
	c.claimed().password = strings.Clone(m.Param(0))
	return true
}

func (c *client) doUser(m *Message) bool {
	if c.registered {
		c.reply(errAlreadyReg)
		return true
	}
	c.user = sharing(m.Param(0), c.nick.Shown)
	c.setRealName(m.Param(3))
	return c.tryRegister()
}

// setRealName keeps a real name as everybody may see it.
func (c *client) setRealName(name string) {
	name = wire.CleanString(StripFormatting(name))
	name = sharing(name[:cutAt([]byte(name), min(len(name), maxRealName))], c.user, c.nick.Shown)
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.realName = name
}

// doNick takes a nick, or another one in all rooms.
func (c *client) doNick(m *Message) bool {
	if m.Param(0) == "" {
		c.reply(errNoNicknameGiven)
		return true
	}
	n, err := wire.ParseNick(m.Param(0))
	if err != nil {
		text := err.Error()
		if near, ok := NearestNick(m.Param(0)); ok {
			text += "; try " + near
		}
		c.replyText(errErroneousNick, text, m.Param(0))
		return true
	}
	old := c.nick
	if n == old {
		return true
	}
	if c.registered && !c.AwaitLines(c.wait) {
		return false
	}
	n.Shown = sharing(n.Shown, c.user, c.realName)
	n.Key = sharing(n.Key, n.Shown)
	claimed := c.server.claim(c, n)
	if first := cmp.Or(old.Key, n.Key); c.wanted() == old.Key && (!claimed || n.Key != first) {
		c.claimed().wanted = first // from here on it is not the nick that it has
	}
	if !claimed {
		c.reply(errNicknameInUse, n.Shown)
		return true
	}
	if !c.registered {
		c.server.settle(c, n)
		return c.tryRegister()
	}
	if err := c.Rename(n); err != nil {
		c.server.unclaim(c, n)
		c.replyText(errUnavailable, err.Error(), n.Shown)
		return true
	}
	c.server.settle(c, n)
	c.send(prefixOf(old.Shown, c.server.host()), "NICK", n.Shown)
	c.nickChanged(old)
	return true
}

// tryRegister registers the client once it has a nick, a user name and its capabilities.
func (c *client) tryRegister() bool {
	if c.registered || c.nick.Shown == "" || c.user == "" || c.caps.Open {
		return true
	}
	o := c.server.opts()
	device, ok := splitPass(c.device(), o.Password)
	if !ok {
		c.reply(errPasswdMismatch)
		c.setQuitting()
		c.server.release(c) // a client that has read the answer may come back with its nick
		c.answerNow()
		c.End(netsvc.EndRefused)
		return true
	}
	c.setRegistered()
	c.server.tellWatchers(c.nick, true)
	c.claims.deadline.Stop()
	if k := (claims{wanted: c.claims.wanted, password: strings.Clone(device)}); k != (claims{}) {
		c.claims = &k
	} else {
		c.claims = nil
	}
	c.Admit()
	c.SetReader(c.readerKey(c.wanted()))
	c.welcome(o)
	return true
}

// answerNow sends the answers so far without waiting for anything.
func (c *client) answerNow() {
	c.Tell(append([]byte(nil), c.out...))
	c.out = c.out[:0]
}

// welcome appends what a client gets when it is registered.
func (c *client) welcome(o *Options) {
	c.replyText(rplWelcome, "Welcome to "+o.Network+", "+c.nick.Shown)
	c.replyText(rplYourHost, fmt.Sprintf("Your host is %s, running roomd %s", o.Name, o.Version))
	c.replyText(rplCreated, "This server was started "+c.server.started.UTC().Format(wire.ClockFormat))
	c.replyText(rplMyInfo, "", o.Name, "roomd-"+o.Version, "i", "b"+modesOfRooms, "bkl")
	c.support(o)
	c.lusers()
	c.motd()
}

// count returns how many sessions have a nick.
func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nicks)
}

// doPing answers behind everything that is in the client's rooms, also what it has said there.
func (c *client) doPing(m *Message) bool {
	if !c.AwaitLines(c.wait) {
		return false
	}
	if m.Param(0) == "" {
		c.reply(errNoOrigin)
		return true
	}
	c.send(c.server.host(), "PONG", c.server.host(), m.Param(0))
	return true
}

func (c *client) doQuit(m *Message) bool {
	if !c.AwaitLines(c.wait) {
		return false
	}
	c.setQuitting()
	words := "Quit"
	if text := cleanWords(m.Param(0)); text != "" {
		words = "Quit: " + text
	}
	c.Quit(words)
	c.End(netsvc.EndLeft)
	return true
}

// ending reports whether the whole session ends, so that no member's end is told.
func (c *client) ending() bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.quitting
}

func (c *client) setQuitting() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.quitting = true
}

// cleanWords is a text of a client that is no line of a room: the words of PART, QUIT and AWAY.
func cleanWords(s string) string {
	s = wire.CleanTopic(StripFormatting(s))
	return s[:cutAt([]byte(s), min(len(s), maxTopic))]
}

// setRegistered makes the client one that others can see.
func (c *client) setRegistered() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.registered = true
}

// capsChanged has the rooms' logs rendered as the capabilities say.
func (c *client) capsChanged() {
	for _, m := range c.Members() {
		m.SetFormat(formatOf(c.caps.Enabled))
		m.HideOwn(!c.has(capEchoMessage))
	}
}

// nickChanged is called when the client has another nick.
func (c *client) nickChanged(old wire.Name) {
	if old.Key != c.nick.Key {
		c.server.tellWatchers(old, false)
		c.server.tellWatchers(c.nick, true)
		alias := ""
		if c.nick.Key != c.wanted() {
			alias = c.readerKey(c.nick.Key) // some clients ask for the nick that they had last
		}
		c.AliasReader(alias)
	}
}

// now is the time for tags of lines that are in no log.
func now() time.Time { return time.Now() }
