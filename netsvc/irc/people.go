package irc

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
)

// Commands that show who is there. A client is shown all sessions by their nicks, and the members of
// its own rooms.
var peopleCommands = map[string]command{
	"NAMES":    {do: (*client).doNames, cost: line},
	"WHO":      {do: (*client).doWho, cost: line},
	"WHOIS":    {do: (*client).doWhois, params: 1, cost: line},
	"WHOWAS":   {do: (*client).doWhowas, cost: line},
	"USERHOST": {do: (*client).doUserHost, params: 1, cost: line},
	"ISON":     {do: (*client).doIsOn, params: 1, cost: line},
}

// A style of a list of members (netsvc.Format.Members) is a number, because another process may have
// to go on with the list: from the lowest bit on, what is listed, the fields of WHOX, its token with
// the number of its digits, and from styleBits on the number of the batch that the lines are in, or 0.
const (
	styleNames        = 1 + iota // 353
	styleNamesAndHost            // with userhost-in-names
	styleWho                     // 352
	styleWhoX                    // 354

	styleKinds  = 1<<3 - 1
	fieldsShift = 3
	tokenShift  = fieldsShift + len(whoFields)
	digitsShift = tokenShift + 10 // of numbers up to 999
	styleBits   = digitsShift + 2
	maxStyleRef = math.MaxInt >> styleBits
)

// whoFields are the fields of WHOX in their order (https://ircv3.net/specs/extensions/whox).
const whoFields = "tcuihsnfdlaor"

const (
	listLines    = 64  // members of a list that cost as much as a line
	maxMatches   = 100 // people whom a WHO with a mask lists
	maxUserHosts = 5   // nicks of a USERHOST
	maxGone      = 256 // nicks that WHOWAS knows
)

// chargeList charges the client for a list of so many members. It returns false if it has to wait.
func (c *client) chargeList(n int) bool {
	return n < listLines || c.AwaitTurn(float64(n/listLines)*line, c.wait)
}

func (c Caps) namesStyle() int {
	if c.Has(capUserhostInNames) {
		return styleNamesAndHost
	}
	return styleNames
}

func (c *client) doNames(m *Message) bool {
	targets := strings.Split(cmp.Or(m.Param(0), "*"), ",")
	all, n := make([]*netsvc.Member, len(targets)), 0
	for i, target := range targets {
		if name, ok := roomName(target); ok {
			if all[i] = c.In(wire.Fold(name)); all[i] != nil {
				n += len(all[i].Roster())
			}
		}
	}
	if !c.chargeList(n) {
		return false
	}
	for i, k := range all {
		if k != nil {
			c.queue(k, netsvc.Part{Members: c.caps.Enabled.namesStyle()})
		} else {
			c.reply(rplEndOfNames, targets[i])
		}
		c.answerFirst()
	}
	return true
}

// Members appends lines with members: 353 and 366, or 352 or 354 and 315.
func (f logFormat) Members(b []byte, at netsvc.Place, all []netsvc.RosterMember, style, n int) ([]byte, int) {
	end := rplEndOfNames
	if kind := style & styleKinds; kind == styleWho || kind == styleWhoX {
		end = rplEndOfWho
		b, n = f.who(b, at, all, style, n)
	} else {
		b, n = f.names(b, at, all, style, n)
	}
	if n >= len(all) {
		b = appendNumeric(beginListed(b, style), f.Host(), at.To, end, string(chanType)+at.Name)
	}
	return b, n
}

// beginListed appends the tag of a line of a list.
func beginListed(b []byte, style int) []byte {
	if _, ref := batchOf(style); ref != "" {
		return appendTag(b, "batch", ref)
	}
	return b
}

// names appends some lines with nicks.
func (f logFormat) names(b []byte, at netsvc.Place, all []netsvc.RosterMember, style, n int) ([]byte, int) {
	room, host := string(chanType)+at.Name, f.Host()
	for lines := 0; n < len(all) && lines < 32; lines++ {
		b = closeTags(beginListed(b, style))
		start := len(b)
		b = append(append(append(append(b, ':'), host...), ' '), rplNamReply.String()...)
		b = append(append(append(append(b, ' '), at.To...), " = "...), room...)
		b = append(b, " :"...)
		for first := true; n < len(all); n++ {
			name := all[n].Nick
			if style&styleKinds == styleNamesAndHost {
				name = prefixOf(name, host)
			}
			if !first {
				name = " " + name
			}
			if !first && len(b)-start+len(name) > maxInside {
				break
			}
			b, first = append(b, name...), false
		}
		b = endLine(b, start)
	}
	return b, n
}

// who appends some lines with members.
func (f logFormat) who(b []byte, at netsvc.Place, all []netsvc.RosterMember, style, n int) ([]byte, int) {
	room, host, key, began := string(chanType)+at.Name, f.Host(), wire.Fold(at.Name), len(b)
	for n < len(all) && len(b)-began < partBytes {
		page := all[n:min(n+listLines, len(all))]
		for i, p := range f.server.people(page) {
			if p.client == nil || p.In(key) == nil { // not the session that has the nick
				p = person{nick: wire.Name{Shown: page[i].Nick}, realName: page[i].Nick}
			}
			b = appendWho(b, host, at.To, room, style, &p)
		}
		n += len(page)
	}
	return b, n
}

// people returns the sessions that have the nicks of a page of a list, at one moment. Where there is
// none the client is nil.
func (s *Server) people(page []netsvc.RosterMember) []person {
	all := make([]person, len(page))
	for i := range page {
		all[i].nick.Key = wire.Fold(page[i].Nick)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range all {
		all[i], _ = s.personLocked(all[i].nick.Key)
	}
	return all
}

// appendWho appends a line with a person in a room, or in none: "*".
func appendWho(b []byte, host, to, room string, style int, p *person) []byte {
	flags, idle := "H", "0"
	if p.away != "" {
		flags = "G"
	}
	b = beginListed(b, style)
	if style&styleKinds == styleWho {
		return appendReply(b, host, to, rplWhoReply, "0 "+p.realName, room, userName, host, host, p.nick.Shown, flags)
	}
	if p.client != nil {
		idle = strconv.FormatInt(p.idle(), 10)
	}
	token := strconv.Itoa(style >> tokenShift & (1<<10 - 1))
	if digits := style >> digitsShift & 3; digits > len(token) {
		token = strings.Repeat("0", digits-len(token)) + token
	}
	values := [len(whoFields)]string{
		token, room, userName, "255.255.255.255", host, host, p.nick.Shown, flags, "0", idle, "0", "n/a", p.realName,
	}
	params := make([]string, 0, len(values))
	for i, v := range values {
		if style>>(fieldsShift+i)&1 == 1 {
			params = append(params, v)
		}
	}
	if hasName := 1 << (fieldsShift + len(whoFields) - 1); style&hasName != 0 {
		return appendReply(b, host, to, rplWhoSpcReply, p.realName, params[:len(params)-1]...)
	}
	return appendReply(b, host, to, rplWhoSpcReply, "", params...)
}

// idle returns for how many seconds the client has said nothing. Any goroutine may call it.
func (c *client) idle() int64 {
	return max(now().Unix()-max(int64(c.spoke.Load()), c.Since().Unix()), 0)
}

// whoStyle returns the style of a WHO, and whether it asks for operators only.
func whoStyle(options string) (style int, operators bool) {
	flags, spec, isX := strings.Cut(options, "%")
	operators = strings.Contains(flags, "o")
	fields, token, _ := strings.Cut(spec, ",")
	style = styleWhoX
	for i, f := range whoFields {
		if strings.ContainsRune(fields, f) {
			style |= 1 << (fieldsShift + i)
		}
	}
	if !isX || style == styleWhoX {
		return styleWho, operators
	}
	if n, err := strconv.ParseUint(token, 10, 10); err == nil && len(token) <= 3 {
		style |= int(n)<<tokenShift | len(token)<<digitsShift
	}
	return style, operators
}

func (c *client) doWho(m *Message) bool {
	mask := m.Param(0)
	style, operators := whoStyle(m.Param(1))
	name, isRoom := roomName(mask)
	switch {
	case operators: // there are none
	case isRoom:
		if k := c.In(wire.Fold(name)); k != nil {
			if !c.chargeList(len(k.Roster())) {
				return false
			}
			c.queue(k, netsvc.Part{Members: style})
			return true
		}
	case mask == "", mask == "0", wire.IsPattern(mask):
		if mask == "" || mask == "0" {
			mask = "*"
		}
		if !c.whoMask(mask, style) {
			return false
		}
	default:
		c.whoNick(mask, style)
	}
	c.reply(rplEndOfWho, cmp.Or(m.Param(0), "*"))
	return true
}

// whoNick lists those who have a nick.
func (c *client) whoNick(nick string, style int) {
	key := wire.Fold(nick)
	b := c.bearersOf(key)
	if b.session.client != nil {
		c.who(c.sharedRoom(b.session.client), style, b.session)
	}
	for _, m := range b.members {
		if o, ok := m.Other(key); ok {
			c.who(string(chanType)+m.Room().Name, style, person{nick: o.Nick, realName: o.Nick.Shown})
		}
	}
}

func (c *client) who(room string, style int, p person) {
	c.out = appendWho(c.out, c.server.host(), c.target(), room, style, &p)
}

// sharedRoom returns a room in which the other client is, too; "*": there is none.
func (c *client) sharedRoom(other *client) string {
	for _, m := range c.Members() {
		if other.In(m.RoomKey()) != nil {
			return string(chanType) + m.Room().Name
		}
	}
	return "*"
}

// whoMask lists the people whose nicks match, of those who are in the client's rooms, and at most
// maxMatches. It returns false if it has to wait.
func (c *client) whoMask(mask string, style int) bool {
	members, n := c.Members(), 0
	rosters := make([][]netsvc.RosterMember, len(members))
	for i, m := range members {
		rosters[i] = m.Roster()
		n += len(rosters[i])
	}
	const quick = 1000
	if n > quick && !c.wait || !c.chargeList(n) {
		return false
	}
	nick, _, _ := strings.Cut(mask, "!")
	pattern := wire.NewPattern(nick)
	seen := make(map[string]bool) // sessions, by their folded nicks
	matches := 0
	match := func(room, roomKey, nick string) (full bool) {
		key := wire.Fold(nick)
		if seen[key] || !pattern.Match(key) {
			return false
		}
		p, ok := c.server.person(key)
		if ok && (room == "*" || p.In(roomKey) != nil) {
			seen[key] = true
		} else {
			p = person{nick: wire.Name{Shown: nick}, realName: nick}
		}
		if matches == maxMatches {
			return true
		}
		matches++
		c.who(room, style, p)
		return false
	}
	for i, m := range members {
		room, key := string(chanType)+m.Room().Name, m.RoomKey()
		for _, o := range rosters[i] {
			if match(room, key, o.Nick) {
				c.reply(errTooManyMatches, mask)
				return true
			}
		}
	}
	if len(members) == 0 {
		match("*", "", c.nick.Shown)
	}
	return true
}

// doWhois shows one person: the session that has the nick, or the members of the client's rooms.
func (c *client) doWhois(m *Message) bool {
	asked := cmp.Or(m.Param(1), m.Param(0)) // the first of two is a server
	nick, _, _ := strings.Cut(asked, ",")
	b := c.bearersOf(wire.Fold(nick))
	switch {
	case b.session.client != nil:
		c.whoisSession(b.session)
	case len(b.members) > 0:
		c.whoisMembers(wire.Fold(nick), b.members)
	default:
		c.reply(errNoSuchNick, nick)
	}
	c.reply(rplEndOfWhois, nick)
	return true
}

func (c *client) whoisSession(p person) {
	var rooms []string
	for _, m := range p.Members() {
		if !m.IsProtected() || c.In(m.RoomKey()) != nil {
			rooms = append(rooms, m.Room().Name)
		}
	}
	c.whois(p, rooms, p.Since(), p.idle())
}

// whoisMembers shows the members that have a nick, who may be several people.
func (c *client) whoisMembers(key string, members []*netsvc.Member) {
	var rooms []string
	var p person
	var since, spoke time.Time
	for _, m := range members {
		o, ok := m.Other(key)
		if !ok {
			continue
		}
		rooms = append(rooms, m.Room().Name)
		p.nick, p.realName = o.Nick, o.Nick.Shown
		if since.IsZero() || o.Since.Before(since) {
			since = o.Since
		}
		spoke = slices.MaxFunc([]time.Time{spoke, o.Since, o.Spoke}, time.Time.Compare)
	}
	if rooms != nil {
		c.whois(p, rooms, since, max(int64(now().Sub(spoke)/time.Second), 0))
	}
}

func (c *client) whois(p person, rooms []string, since time.Time, idle int64) {
	o, nick := c.server.opts(), p.nick.Shown
	c.replyText(rplWhoisUser, p.realName, nick, userName, o.Name, "*")
	for i := range rooms {
		rooms[i] = string(chanType) + rooms[i]
	}
	c.replyLists(rplWhoisChannels, " ", rooms, nick)
	c.replyText(rplWhoisServer, cmp.Or(o.Network, o.Name), nick, o.Name)
	if p.client != nil && p.secure {
		c.reply(rplWhoisSecure, nick)
	}
	if p.away != "" {
		c.replyText(rplAway, p.away, nick)
	}
	c.reply(rplWhoisIdle, nick, strconv.FormatInt(idle, 10), strconv.FormatInt(since.Unix(), 10))
}

// departed is a nick that a session had.
type departed struct {
	nick     wire.Name
	realName string
	until    time.Time
}

// doWhowas shows who had a nick, the newest first: sessions since the server was started or upgraded.
func (c *client) doWhowas(m *Message) bool {
	nick, _, _ := strings.Cut(m.Param(0), ",")
	if nick == "" {
		c.reply(errNoNicknameGiven)
		return true
	}
	most, err := strconv.Atoi(m.Param(1))
	if err != nil || most <= 0 {
		most = maxGone
	}
	c.server.mu.Lock()
	gone := slices.Clone(c.server.gone)
	c.server.mu.Unlock()
	found, host := 0, c.server.host()
	for _, d := range slices.Backward(gone) {
		if d.nick.Key != wire.Fold(nick) || found == most {
			continue
		}
		found++
		c.replyText(rplWhowasUser, d.realName, d.nick.Shown, userName, host, "*")
		c.replyText(rplWhoisServer, d.until.UTC().Format(wire.ClockFormat), d.nick.Shown, host)
	}
	if found == 0 {
		c.reply(errWasNoSuchNick, nick)
	}
	c.reply(rplEndOfWhowas, nick)
	return true
}

// present returns somebody who has a nick as the client may see them.
func (c *client) present(nick string) (p person, ok bool) {
	key := wire.Fold(nick)
	b := c.bearersOf(key)
	if b.session.client != nil {
		return b.session, true
	}
	for _, m := range b.members {
		if o, ok := m.Other(key); ok {
			return person{nick: o.Nick}, true
		}
	}
	return person{}, false
}

func (c *client) doUserHost(m *Message) bool {
	var all []string
	for _, nick := range m.Params[:min(len(m.Params), maxUserHosts)] {
		if p, ok := c.present(nick); ok {
			mark := "+"
			if p.away != "" {
				mark = "-"
			}
			all = append(all, p.nick.Shown+"="+mark+userName+"@"+c.server.host())
		}
	}
	c.replyAll(rplUserHost, all)
	return true
}

func (c *client) doIsOn(m *Message) bool {
	var all []string
	for nick := range strings.FieldsSeq(strings.Join(m.Params, " ")) {
		if p, ok := c.present(nick); ok {
			all = append(all, p.nick.Shown)
		}
	}
	c.replyAll(rplIsOn, all)
	return true
}

// replyAll appends a numeric with a list as its text, which may be empty. What is behind the end of
// the line is left out: a part of a nick would be another nick.
func (c *client) replyAll(n Numeric, all []string) {
	fits := maxInside - len(": 000  :") - len(c.server.host()) - len(c.target())
	for len(strings.Join(all, " ")) > fits {
		all = all[:len(all)-1]
	}
	c.send(c.server.host(), n.String(), c.target(), strings.Join(all, " "))
}
