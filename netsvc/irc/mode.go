package irc

import (
	"strconv"
	"strings"

	"roomd/netsvc/wire"
)

// What is the operator's: there are no modes to change, nobody is removed, and no command of a
// network's operators does anything.
var modeCommands = map[string]command{
	"MODE":   {do: (*client).doMode, params: 1, cost: cheap},
	"KICK":   {do: (*client).doKick, params: 2, cost: cheap},
	"INVITE": {do: (*client).doInvite, params: 2, cost: line},
	"OPER":   {do: func(c *client, _ *Message) bool { c.reply(errNoOperHost); return true }, cost: line},
	"SERVER": {do: func(c *client, _ *Message) bool { c.reply(errAlreadyReg); return true }, cost: cheap},

	"CONNECT": ofOperators,
	"DIE":     ofOperators,
	"KILL":    ofOperators,
	"KLINE":   ofOperators,
	"REHASH":  ofOperators,
	"RESTART": ofOperators,
	"SQUIT":   ofOperators,
	"WALLOPS": ofOperators,
}

var ofOperators = command{do: func(c *client, _ *Message) bool { c.reply(errNoPrivileges); return true }, cost: cheap}

// modesOfRooms are the modes of 005 that are not lists: nobody changes them over IRC.
const modesOfRooms = "klmnto"

// userModes are those that every client has.
const userModes = "+i"

func (c *client) doMode(m *Message) bool {
	if _, isRoom := roomName(m.Param(0)); isRoom {
		c.roomMode(m.Param(0), m.Params[1:])
		return true
	}
	if n, err := wire.ParseNick(m.Param(0)); err != nil || n.Key != c.nick.Key {
		c.reply(errUsersDontMatch)
		return true
	}
	set, unknown, plus := false, false, true
	for _, flag := range m.Param(1) {
		switch flag {
		case '+', '-':
			plus = flag == '+'
		case 'i':
			set = set || plus
		default:
			unknown = true
		}
	}
	switch {
	case set: // irssi and others ask for it, and wait for the answer
		c.send(c.prefix(), "MODE", c.nick.Shown, userModes)
	case !unknown:
		c.reply(rplUModeIs, userModes)
	}
	if unknown {
		c.reply(errUModeUnknown)
	}
	return true
}

// roomMode shows the modes of a room.
func (c *client) roomMode(target string, params []string) {
	name, _ := roomName(target)
	info, err := c.Service().RoomInfo(name)
	if err != nil {
		c.reply(errNoSuchChannel, target)
		return
	}
	room := string(chanType) + info.Name
	if len(params) == 0 || params[0] == "" {
		modes, args := "+nt", []string(nil)
		if info.ReadOnly {
			modes += "m"
		}
		if info.Locked { // nobody is shown the password
			modes, args = modes+"k", append(args, "*")
		}
		if info.Limit > 0 {
			modes, args = modes+"l", append(args, strconv.Itoa(info.Limit))
		}
		c.reply(rplChannelModeIs, append([]string{room, modes}, args...)...)
		if !info.Created.IsZero() {
			c.reply(rplCreationTime, room, strconv.FormatInt(info.Created.Unix(), 10))
		}
		return
	}
	refused, answered := false, "+-"
	for _, flag := range params[0] {
		if strings.ContainsRune(answered, flag) {
			continue
		}
		answered += string(flag)
		switch {
		case flag == 'b' && len(params) == 1: // the operator alone sees bans
			c.reply(rplEndOfBanList, room)
		case flag == 'b', strings.ContainsRune(modesOfRooms, flag):
			refused = true
		default:
			c.reply(errUnknownMode, string(flag))
		}
	}
	if refused {
		c.reply(errChanOpPrivs, room)
	}
}

func (c *client) doKick(m *Message) bool {
	if k := c.in(m.Param(0)); k != nil {
		c.reply(errChanOpPrivs, string(chanType)+k.Room().Name)
	}
	return true
}

// doInvite tells somebody of a room. It opens no door: a room with a password still asks for it.
func (c *client) doInvite(m *Message) bool {
	n, err := wire.ParseNick(m.Param(0))
	if err != nil {
		c.reply(errNoSuchNick, m.Param(0))
		return true
	}
	guest, registered := c.server.person(n.Key)
	k := c.in(m.Param(1))
	if k == nil {
		return true
	}
	room := string(chanType) + k.Room().Name
	if !registered { // a member by the port of a room is in no other
		if o, ok := k.Other(n.Key); ok {
			c.reply(errUserOnChannel, o.Nick.Shown, room)
		} else {
			c.reply(errNoSuchNick, m.Param(0))
		}
		return true
	}
	if guest.In(k.RoomKey()) != nil {
		c.reply(errUserOnChannel, guest.nick.Shown, room)
		return true
	}
	guest.Tell(appendLine(nil, c.prefix(), "INVITE", guest.nick.Shown, room))
	c.reply(rplInviting, guest.nick.Shown, room)
	return true
}
