package irc

import (
	"strings"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

var talking = map[string]command{
	"PRIVMSG": {do: (*client).doPrivMsg, cost: line},
	"NOTICE":  {do: (*client).doNotice, cost: line},
	// A message that has only tags is for nobody: CLIENTTAGDENY=*,-roomd/id of 005. Clients may send it.
	"TAGMSG": {do: func(*client, *Message) bool { return true }, params: 1, cost: line},
}

func (c *client) doPrivMsg(m *Message) bool { return c.talk(m, netsvc.Message) }

// doNotice is doPrivMsg without an answer, so that no two programs answer each other for ever.
func (c *client) doNotice(m *Message) bool {
	c.silent = true
	defer func() { c.silent = false }()
	return c.talk(m, netsvc.Notice)
}

// talk says a text to each target. Those before c.done have got it.
func (c *client) talk(m *Message, kind netsvc.Kind) bool {
	switch {
	case m.Param(0) == "":
		c.reply(errNoRecipient)
		return true
	case m.Param(1) == "":
		c.reply(errNoTextToSend)
		return true
	}
	id, _ := m.Tag(idTag)
	if id != "" && !wire.IsID(id) {
		c.replyText(errCannotSend, "An ID has up to 64 letters, digits and . _ : -", m.Param(0))
		return true
	}
	targets := strings.Split(m.Param(0), ",")
	if len(targets) > maxMessageTargets {
		c.reply(errTooManyTargets, m.Param(0))
		return true
	}
	if len(targets) > 1 && !c.wait {
		return false
	}
	c.spoke.Store(uint32(now().Unix()))
	for i, target := range targets {
		if i < c.done {
			continue
		}
		if i > 0 && !c.AwaitTurn(line, true) {
			return false
		}
		if _, isRoom := roomName(target); !isRoom {
			c.whisper(target, m.Param(1), kind)
		} else if !c.say(target, m.Param(1), id, kind) {
			return false
		}
		if c.done++; len(targets) > 1 {
			c.answerFirst()
		}
	}
	return true
}

// idTag is the tag with the client's own ID of a line: see the command /id of a room's port.
const idTag = "+roomd/id"

// say says a text in a room. It returns false if that has to wait.
func (c *client) say(target, text, id string, kind netsvc.Kind) bool {
	name, _ := roomName(target)
	n, err := wire.ParseName(name)
	m := c.In(n.Key)
	switch {
	case err != nil, m == nil && !c.Service().HasRoom(n.Key):
		c.reply(errNoSuchChannel, target)
		return true
	case m == nil:
		c.replyText(errCannotSend, "You are not in that room", target)
		return true
	}
	if command, args, ok := ParseCTCP(text); ok {
		if command != action || kind != netsvc.Message {
			c.replyText(errCannotSend, "Rooms take no CTCP but ACTION", target)
			return true
		}
		kind, text = netsvc.Action, args
	}
	if text = wire.CleanString(StripFormatting(text)); wire.IsBlank([]byte(text)) {
		c.reply(errNoTextToSend)
		return true
	}
	if limit := c.Service().LineBytes(); len(text) > limit {
		c.replyText(errInputTooLong, "The text is longer than lines may be here", target)
		return true
	}
	return m.Say(kind, text, id, c.ownAnswer(), c.wait)
}
