package irc

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

// What the server says of itself. A parameter that names another server is 402.
var infoCommands = map[string]command{
	"MOTD":    {do: info(0, (*client).motd), cost: cheap},
	"LUSERS":  {do: info(1, (*client).lusers), cost: cheap},
	"VERSION": {do: info(0, (*client).version), cost: cheap},
	"TIME":    {do: info(0, (*client).time), cost: cheap},
	"INFO":    {do: info(0, (*client).info), cost: cheap},
	"ADMIN":   {do: info(0, (*client).admin), cost: cheap},
	"LINKS":   {do: info(0, (*client).links), cost: cheap},
	"TRACE":   {do: info(0, (*client).trace), cost: cheap},
	"STATS":   {do: (*client).doStats, cost: cheap},
	"HELP":    {do: (*client).doHelp, cost: cheap},
	"HELPOP":  {do: (*client).doHelp, cost: cheap},
}

// info is a command whose parameter with that index, if there is one, names the server or a client.
func info(param int, answer func(*client)) func(*client, *Message) bool {
	return func(c *client, m *Message) bool {
		if server := m.Param(param); c.isThisServer(server) {
			answer(c)
		} else {
			c.reply(errNoSuchServer, server)
		}
		return true
	}
}

// isThisServer reports whether a parameter stands for this server: its name, a mask of it, the nick of
// a client, or nothing.
func (c *client) isThisServer(name string) bool {
	n, _ := wire.ParseNick(name)
	return name == "" || wire.NewPattern(name).Match(wire.Fold(c.server.host())) || c.server.named(n.Key) != nil
}

// motd appends the message of the day: how the rooms are reached without IRC.
func (c *client) motd() {
	lines := []string{
		"The rooms are open to every client of plain text, too:",
		c.way(c.Service().Port()) + ", and then LIST, shows them. Each has a port of its own.",
	}
	for _, k := range c.Members() {
		if i, err := c.Service().RoomInfo(k.Room().Name); err == nil {
			lines = append(lines, fmt.Sprintf("%s enters %c%s.", c.way(i.Port), chanType, i.Name))
			break
		}
	}
	c.replyText(rplMotdStart, fmt.Sprintf("- %s Message of the day -", c.server.host()))
	for _, l := range append(lines, "Their lines are kept: you see what you have missed when you come back.") {
		c.replyText(rplMotd, "- "+l)
	}
	c.reply(rplEndOfMotd)
}

// lusers appends how many clients and rooms there are.
func (c *client) lusers() {
	clients, n := c.server.count(), strconv.Itoa
	c.replyText(rplLUserClient, fmt.Sprintf("There are %d users and 0 invisible on 1 servers", clients))
	c.reply(rplLUserChannels, n(c.Service().RoomCount()))
	c.replyText(rplLUserMe, fmt.Sprintf("I have %d clients and 0 servers", clients))
	c.replyText(rplLocalUsers, fmt.Sprintf("Current local users: %d", clients))
	c.replyText(rplGlobalUsers, fmt.Sprintf("Current global users: %d", clients))
}

func (c *client) version() {
	o := c.server.opts()
	c.replyText(rplVersion, "persistent chat rooms, for IRC and for every client of plain text", "roomd-"+o.Version+".", o.Name)
	c.support(o)
}

// support appends the lines of 005.
func (c *client) support(o *Options) {
	s := Support{Network: o.Network, LineBytes: c.Service().LineBytes(), Rooms: maxRooms}
	c.out = s.append(c.out, o.Name, c.nick.Shown)
}

func (c *client) time() {
	c.replyText(rplTime, time.Now().UTC().Format(time.RFC1123), c.server.host())
}

func (c *client) info() {
	for _, l := range []string{
		"roomd " + c.server.opts().Version,
		"Each room is also a TCP port, and its lines are kept.",
		"Started " + c.server.started.UTC().Format(time.RFC1123),
	} {
		c.replyText(rplInfo, l)
	}
	c.reply(rplEndOfInfo)
}

func (c *client) admin() {
	c.reply(rplAdminMe, c.server.host())
	c.replyText(rplAdminLoc1, "The operator works on the server's console")
	c.replyText(rplAdminLoc2, "and reads what is said in the rooms")
	c.replyText(rplAdminEmail, "There is no address")
}

func (c *client) links() {
	o := c.server.opts()
	c.replyText(rplLinks, "0 "+o.Network, o.Name, o.Name)
	c.reply(rplEndOfLinks, "*")
}

func (c *client) trace() {
	o := c.server.opts()
	c.reply(rplTraceEnd, o.Name, "roomd-"+o.Version)
}

// doStats shows how long the server has been running. The rest is the operator's.
func (c *client) doStats(m *Message) bool {
	letter := m.Param(0)
	if letter == "u" {
		up := time.Since(c.server.started).Round(time.Second)
		const day = 24 * time.Hour
		c.replyText(rplStatsUptime, fmt.Sprintf("Server up %d days %v", up/day, up%day))
	}
	_, n := utf8.DecodeRuneInString(letter)
	c.reply(rplEndOfStats, cmp.Or(letter[:n], "*"))
	return true
}

// usages has what HELP says of commands: parameters, and what they do.
var usages = map[string]string{
	"AWAY":        "[WORDS]: say that you are away, or back",
	"CHATHISTORY": "LATEST|BEFORE|AFTER|BETWEEN|AROUND|TARGETS …: read old lines",
	"HELP":        "[COMMAND]: show what commands do",
	"INVITE":      "NICK #ROOM: tell somebody of a room",
	"JOIN":        "#ROOM[,#ROOM] [PASSWORD[,PASSWORD]]: enter rooms; 0 leaves all",
	"LIST":        "[MASK|!MASK|>N|<N][,…]: list the rooms, with the port of each",
	"MODE":        "#ROOM: show the settings of a room, which only the operator changes",
	"MONITOR":     "+NICKS|-NICKS|C|L|S: be told when IRC clients come and go",
	"NAMES":       "#ROOM: list the members of a room",
	"NICK":        "NICK: take another nick",
	"NOTICE":      "#ROOM|NICK TEXT: say something that no program answers",
	"PART":        "#ROOM[,#ROOM] [WORDS]: leave rooms",
	"PRIVMSG":     "#ROOM|NICK TEXT: say something",
	"QUIT":        "[WORDS]: leave the server",
	"SETNAME":     "NAME: take another real name",
	"TOPIC":       "#ROOM [TEXT]: see or set the topic; an empty one removes it",
	"WHO":         "#ROOM|NICK|MASK: list people",
	"WHOIS":       "NICK: show one person",
	"WHOWAS":      "NICK: show who had a nick",
}

func (c *client) doHelp(m *Message) bool {
	subject := strings.ToUpper(m.Param(0))
	var lines []string
	if subject == "" || subject == "*" {
		subject = "*"
		for _, name := range slices.Sorted(maps.Keys(usages)) {
			if _, ok := commands[name]; ok {
				lines = append(lines, name+" "+usages[name])
			}
		}
	} else if _, ok := commands[subject]; ok && usages[subject] != "" {
		lines = []string{subject + " " + usages[subject]}
	} else {
		c.reply(errHelpNotFound, m.Param(0))
		return true
	}
	c.replyText(rplHelpStart, "roomd: persistent chat rooms", subject)
	for _, l := range lines {
		c.replyText(rplHelpTxt, l, subject)
	}
	c.reply(rplEndOfHelp, subject)
	return true
}
