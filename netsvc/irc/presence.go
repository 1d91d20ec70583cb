package irc

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// Commands about the presence of people: what a client says of itself, and whom it watches.
var presenceCommands = map[string]command{
	"AWAY":    {do: (*client).doAway, cost: line},
	"SETNAME": {do: (*client).doSetName, params: 1, cost: line},
	"MONITOR": {do: (*client).doMonitor, params: 1, cost: line},
}

// quickTells is how many clients an event loop may tell something.
const quickTells = 64

// neighboursInTurn returns the other clients that share a room with the client, unless they are many
// and the command has to wait for a goroutine.
func (c *client) neighboursInTurn() (all []netsvc.Protocol, ok bool) {
	all = c.Neighbours()
	return all, c.wait || len(all) <= quickTells
}

// tellThose tells clients that have asked for it of something that the client does.
func (c *client) tellThose(all []netsvc.Protocol, with Caps, command string, params ...string) {
	s := c.server
	to := make(map[*client]tagLevel)
	s.mu.Lock()
	for _, p := range all {
		if k, ok := p.(*client); ok && k.registered && k.caps.Enabled.Has(with) {
			to[k] = k.caps.Enabled.level()
		}
	}
	s.mu.Unlock()
	plain := appendLine(nil, c.prefix(), command, params...)
	timed := appendLine(appendServerTime([]byte("@time="), now()), c.prefix(), command, params...)
	for k, level := range to {
		if level == noTags {
			k.Tell(plain)
		} else {
			k.Tell(timed)
		}
	}
}

// doAway says that the client is away, or with nothing that it is back.
func (c *client) doAway(m *Message) bool {
	all, ok := c.neighboursInTurn()
	if !ok {
		return false
	}
	words := cleanWords(m.Param(0))
	c.server.mu.Lock()
	changed := c.awayLocked() != words
	if changed {
		c.server.doingsOf(c).away = strings.Clone(words)
	}
	c.server.mu.Unlock()
	if words == "" {
		c.reply(rplUnaway)
	} else {
		c.reply(rplNowAway)
	}
	switch {
	case !changed:
	case words == "":
		c.tellThose(all, capAwayNotify, "AWAY")
	default:
		c.tellThose(all, capAwayNotify, "AWAY", words)
	}
	return true
}

// doSetName takes another real name (https://ircv3.net/specs/extensions/setname).
func (c *client) doSetName(m *Message) bool {
	name := wire.CleanString(StripFormatting(m.Param(0)))
	if wire.IsBlank([]byte(name)) || len(name) > maxRealName {
		c.fail(&Failure{"SETNAME", codeInvalidRealName, nil, fmt.Sprintf("A real name has 1 to %d bytes", maxRealName)})
		return true
	}
	all, ok := c.neighboursInTurn()
	if !ok {
		return false
	}
	c.setRealName(name)
	c.send(c.prefix(), "SETNAME", name)
	c.tellThose(all, capSetName, "SETNAME", name)
	return true
}

// watch has a client told when sessions come and go that have one of the nicks. It returns the nicks
// beyond maxMonitor.
func (s *Server) watch(c *client, nicks []string) (beyond []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, nick := range nicks {
		key := wire.Fold(nick)
		if _, ok := c.watchedLocked()[key]; ok {
			continue
		}
		if len(c.watchedLocked()) == maxMonitor {
			return nicks[i:]
		}
		d := s.doingsOf(c)
		if d.watched == nil {
			d.watched = make(map[string]string)
		}
		d.watched[key] = nick
		s.watchers[key] = append(s.watchers[key], c)
	}
	return nil
}

// unwatch undoes watch for some nicks; none: for all.
func (s *Server) unwatch(c *client, nicks ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	watched := c.watchedLocked()
	keys := slices.Collect(maps.Keys(watched))
	if len(nicks) > 0 {
		keys = nil
		for _, nick := range nicks {
			keys = append(keys, wire.Fold(nick))
		}
	}
	for _, key := range keys {
		if _, ok := watched[key]; !ok {
			continue
		}
		delete(watched, key)
		left := slices.DeleteFunc(s.watchers[key], func(o *client) bool { return o == c })
		if s.watchers[key] = left; len(left) == 0 {
			delete(s.watchers, key)
		}
	}
}

// watchedBy returns the nicks that a client watches, sorted.
func (s *Server) watchedBy(c *client) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Values(c.watchedLocked()))
}

// tellWatchers tells those who watch a nick that a session has come that has it, or has gone. It tells
// nothing that is not so any more: a nick is free before the session that had it is closed, and another
// session may have it by then.
func (s *Server) tellWatchers(nick wire.Name, online bool) {
	type watcher struct {
		*client
		nick string
	}
	var all []watcher
	s.mu.Lock()
	if _, is := s.personLocked(nick.Key); is == online {
		for _, c := range s.watchers[nick.Key] {
			all = append(all, watcher{c, c.nick.Shown})
		}
	}
	s.mu.Unlock()
	for _, w := range all {
		if online {
			w.Tell(appendReply(nil, s.host(), w.nick, rplMonOnline, prefixOf(nick.Shown, s.host())))
		} else {
			w.Tell(appendReply(nil, s.host(), w.nick, rplMonOffline, nick.Shown))
		}
	}
}

// doMonitor handles https://ircv3.net/specs/extensions/monitor. It is about sessions of IRC: who comes
// to a room at its port is seen by those who are in the room.
func (c *client) doMonitor(m *Message) bool {
	nicks := slices.DeleteFunc(strings.Split(m.Param(1), ","), func(nick string) bool { return nick == "" })
	switch upper(m.Param(0)) {
	case "+":
		// Others are never there.
		legal := slices.DeleteFunc(slices.Clone(nicks), func(nick string) bool { _, err := wire.ParseNick(nick); return err != nil })
		beyond := c.server.watch(c, legal)
		c.monitorStatus(slices.DeleteFunc(nicks, func(nick string) bool { return slices.Contains(beyond, nick) }))
		most := strconv.Itoa(maxMonitor)
		for _, list := range c.lists(",", beyond, most, errMonListFull.Text()) {
			c.reply(errMonListFull, most, list)
		}
	case "-":
		if len(nicks) > 0 {
			c.server.unwatch(c, nicks...)
		}
	case "C":
		c.server.unwatch(c)
	case "L":
		c.replyLists(rplMonList, ",", c.server.watchedBy(c))
		c.reply(rplEndOfMonList)
	case "S":
		c.monitorStatus(c.server.watchedBy(c))
	}
	return true
}

// monitorStatus shows which nicks are there.
func (c *client) monitorStatus(nicks []string) {
	var online, offline []string
	for _, nick := range nicks {
		if p, ok := c.server.person(wire.Fold(nick)); ok {
			online = append(online, prefixOf(p.nick.Shown, c.server.host()))
		} else {
			offline = append(offline, nick)
		}
	}
	c.replyLists(rplMonOnline, ",", online)
	c.replyLists(rplMonOffline, ",", offline)
}

// replyLists appends as many numerics as a list needs for its last parameter.
func (c *client) replyLists(n Numeric, separator string, all []string, params ...string) {
	for _, list := range c.lists(separator, all, params...) {
		c.replyText(n, list, params...)
	}
}

// lists returns a list in parts that fit in a numeric with these other parameters.
func (c *client) lists(separator string, all []string, params ...string) (parts []string) {
	fits := maxInside - len(": 000   :") - len(c.server.host()) - len(c.target()) - len(strings.Join(params, " "))
	for _, item := range all {
		if last := len(parts) - 1; last >= 0 && len(parts[last])+len(separator)+len(item) <= fits {
			parts[last] += separator + item
		} else {
			parts = append(parts, item)
		}
	}
	return parts
}
