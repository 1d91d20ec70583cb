package irc

import (
	"errors"
	"strings"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

var roomCommands = map[string]command{
	"JOIN":  {do: (*client).doJoin, params: 1, cost: line},
	"PART":  {do: (*client).doPart, params: 1, cost: line},
	"TOPIC": {do: (*client).doTopic, params: 1, cost: line},
}

// maxRooms is how many rooms a client may be in.
const maxRooms = 250

// roomName returns the name of a room in a target, and whether it is one.
func roomName(target string) (name string, ok bool) {
	return strings.CutPrefix(target, string(chanType))
}

// in returns the member of the client in the room of a target, and tells the client if there is none.
func (c *client) in(target string) *netsvc.Member {
	name, ok := roomName(target)
	n, err := wire.ParseName(name)
	if !ok || err != nil {
		c.reply(errNoSuchChannel, target)
		return nil
	}
	m := c.In(n.Key)
	if m == nil {
		if !c.Service().HasRoom(n.Key) {
			c.reply(errNoSuchChannel, target)
		} else {
			c.reply(errNotOnChannel, target)
		}
	}
	return m
}

// doJoin enters rooms, one after the other. Rooms may have passwords and may have to be made, so it
// always waits.
func (c *client) doJoin(m *Message) bool {
	if m.Param(0) == "0" {
		return c.partAll()
	}
	if !c.wait {
		return false
	}
	keys := strings.Split(m.Param(1), ",")
	for i, target := range strings.Split(m.Param(0), ",") {
		if target == "" {
			continue
		}
		key := ""
		if i < len(keys) {
			key = keys[i]
		}
		if i < c.done {
			continue
		}
		if i > 0 && !c.AwaitTurn(line, true) || !c.join(target, key) {
			return false
		}
		c.done = i + 1
		c.answerFirst()
	}
	return true
}

// join enters one room. It returns false if the server is to be suspended.
func (c *client) join(target, key string) bool {
	name, ok := roomName(target)
	n, err := wire.ParseName(name)
	switch {
	case !ok && err == nil:
		c.replyText(errNoSuchChannel, "The name of a room begins with "+string(chanType)+"; try "+string(chanType)+target, target)
		return true
	case !ok:
		c.reply(errNoSuchChannel, target)
		return true
	case err != nil:
		text := err.Error()
		if near, ok := NearestRoom(name); ok {
			text += "; try " + string(chanType) + near
		}
		c.replyText(errNoSuchChannel, text, target)
		return true
	case c.In(n.Key) != nil:
		return true
	case len(c.Members()) >= maxRooms:
		c.reply(errTooManyChannels, target)
		return true
	}
	_, err = c.Join(netsvc.Join{
		Room: name, Password: key, Nick: c.nick, Format: formatOf(c.caps.Enabled), HideOwn: !c.has(capEchoMessage),
		Create: true, Greet: c.greet, Resume: c.resumes(),
	}, true)
	var refused *netsvc.JoinError
	var wrong *wire.Error
	switch {
	case err == nil:
	case errors.Is(err, netsvc.ErrWait):
		return false
	case errors.As(err, &refused) && refused.Reason == netsvc.RefusedPassword && key == "":
		c.replyText(errBadChannelKey, refused.Text+": JOIN "+target+" PASSWORD", target)
	case errors.As(err, &refused):
		c.replyText(joinNumeric(refused.Reason), refused.Text, target)
	case errors.As(err, &wrong) && wrong.Code == wire.CodeDenied, errors.As(err, &wrong) && wrong.Code == wire.CodeNoRoom, errors.As(err, &wrong) && wrong.Code == wire.CodeBadName:
		c.replyText(errNoSuchChannel, wrong.Text, target)
	default:
		c.replyText(errUnavailable, err.Error(), target)
	}
	return true
}

func joinNumeric(why netsvc.RefusalReason) Numeric {
	switch why {
	case netsvc.RefusedRoomFull:
		return errChannelIsFull
	case netsvc.RefusedBan:
		return errBannedFromChan
	case netsvc.RefusedPassword:
		return errBadChannelKey
	}
	return errUnavailable
}

// greet is what the client gets when it enters a room.
func (c *client) greet(w netsvc.Welcome) []netsvc.Part {
	return c.labeledParts(append(c.entered(w.Place, w.Topic, c.caps.Enabled, c.realName), c.missed(w)...))
}

// entered is what a client with these capabilities gets first of a room.
func (c *client) entered(at netsvc.Place, topic string, caps Caps, realName string) []netsvc.Part {
	room, host := string(chanType)+at.Name, c.server.host()
	var b []byte
	if caps.Has(capExtendedJoin) {
		b = appendLine(b, prefixOf(at.To, host), "JOIN", room, "*", realName)
	} else {
		b = appendLine(b, prefixOf(at.To, host), "JOIN", room)
	}
	if topic != "" {
		b = appendReply(b, host, at.To, rplTopic, topic, room)
	}
	parts := []netsvc.Part{{Bytes: b}}
	if !caps.Has(capNoImplicitNames) {
		parts = append(parts, netsvc.Part{Members: caps.namesStyle()})
	}
	return parts
}

// Renamed tells the client that the operator has renamed a room: RENAME of
// https://ircv3.net/specs/extensions/channel-rename, or PART and JOIN.
func (c *client) Renamed(at netsvc.Place, was, topic string) []netsvc.Part {
	c.server.mu.Lock()
	caps, realName := c.caps.Enabled, c.realName
	c.server.mu.Unlock()
	const why = "the operator has renamed the room"
	old := string(chanType) + was
	if caps.Has(capChannelRename) {
		return []netsvc.Part{{Bytes: appendLine(nil, c.server.host(), "RENAME", old, string(chanType)+at.Name, why)}}
	}
	left := netsvc.Part{Bytes: appendLine(nil, prefixOf(at.To, c.server.host()), "PART", old, why)}
	return append([]netsvc.Part{left}, c.entered(at, topic, caps, realName)...)
}

// replay puts old lines into a batch, if the client knows that. Else they have their time in the text,
// even if the client gets it as a tag: irssi 1.4 asks for that, and does not show it. Old topics are
// left out, because only event-playback keeps a client from taking them for new ones.
func (c *client) replay(room string, r netsvc.Replay) *netsvc.Replay {
	p := Playback{Clock: true}
	if c.has(capBatch) {
		p = Playback{Batch: c.batchRef(), Clock: c.caps.Enabled.level() == noTags, Topics: c.has(capEventPlayback)}
		host := c.server.host()
		r.Header = string(appendLine(nil, host, "BATCH", "+"+p.Batch, "chathistory", string(chanType)+room))
		r.Footer = string(appendLine(nil, host, "BATCH", "-"+p.Batch))
	}
	r.Label = p.label()
	return &r
}

func (c *client) doPart(m *Message) bool {
	if !c.AwaitLines(c.wait) {
		return false
	}
	for target := range strings.SplitSeq(m.Param(0), ",") {
		if k := c.in(target); k != nil {
			k.Leave(cleanWords(m.Param(1)), c.ownAnswer())
		}
		c.answerFirst()
	}
	return true
}

func (c *client) partAll() bool {
	if !c.AwaitLines(c.wait) {
		return false
	}
	for _, k := range c.Members() {
		k.Leave("", c.ownAnswer())
	}
	return true
}

func (c *client) doTopic(m *Message) bool {
	k := c.in(m.Param(0))
	switch {
	case k == nil:
	case len(m.Params) > 1:
		return k.Say(netsvc.Topic, wire.CleanTopic(StripFormatting(m.Param(1))), "", c.ownAnswer(), c.wait)
	default:
		if topic := k.Topic(); topic != "" {
			c.replyText(rplTopic, topic, string(chanType)+k.Room().Name)
		} else {
			c.reply(rplNoTopic, string(chanType)+k.Room().Name)
		}
	}
	return true
}
