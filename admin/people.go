package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/ban"
	"roomd/store"
)

var nickOnlyFlag = flag{name: "nick-only", short: "only the nick and not the address: another nick evades it"}

var peopleCommands = []command{
	{name: "kick", args: []param{memberArg}, short: "Disconnect a member", about: "The member can join again. ADDR or ADDR:PORT: every connection from there, also those to the master port.", example: "kick ann --say 'please read the rules'", changes: true,
		flags: []flag{yesFlag, tokenFlag, sayFlag}, run: kick},
	{name: "ban", args: []param{{name: "ADDR|CIDR|NICK|#ID", complete: nicksAndAddrs}}, short: "Ban an address, a network or a nick", about: "Members and connections that match are closed at once. The nick of a member bans its address, too. An IPv6 address stands for its /64.", example: "ban 192.0.2.7 --for 1h --why flooding", changes: true,
		flags: []flag{roomFlag, forFlag, whyFlag, nickOnlyFlag, yesFlag, tokenFlag}, run: addBans},
	{name: "bans", short: "List the bans and mutes", example: "bans", run: bans},
	{name: "unban", args: []param{banArg}, short: "Lift a ban or a mute", example: "unban '#3'", changes: true, run: unban},
	{name: "mute", args: []param{memberArg}, short: "Stop a member from speaking in its room", about: "It can still read. The mute holds in its room for the member, its nick and everybody who joins from its address later.", example: "mute ann --for 10m", changes: true,
		flags: []flag{forFlag, muteWhyFlag, nickOnlyFlag}, run: mute},
	{name: "unmute", args: []param{{name: memberArg.name, complete: mutedToo}}, short: "Lift the mutes of a member", about: "The member may have left.", example: "unmute ann", changes: true,
		flags: []flag{yesFlag, tokenFlag}, run: unmute},
}

// findMembers returns the members that a word means, or a refusal if there are none.
func (c *call) findMembers(what string) ([]netsvc.MemberInfo, error) {
	all := c.Service.FindMembers(what)
	if len(all) == 0 {
		return nil, refuse("no-member", "there is no member %s; members lists them", what)
	}
	return all, nil
}

// namesOf returns the members' names for a question.
func namesOf(members []netsvc.MemberInfo) []string {
	return mapSlice(members, func(m netsvc.MemberInfo) string { return fmt.Sprintf("%s in %s", m.Nick, m.Room) })
}

func kick(c *call) (err error) {
	what := c.args[0]
	members := c.Service.FindMembers(what)
	ids := mapSlice(members, func(m netsvc.MemberInfo) uint64 { return m.ID })
	var remotes []string
	for _, conn := range c.Service.Conns(what) {
		if !conn.Member() {
			remotes = append(remotes, conn.Remote)
		}
	}
	names := append(namesOf(members), remotes...)
	hit := netsvc.BanTargets{Members: len(ids), Connections: len(remotes)}
	if len(names) == 0 {
		return refuse("no-member", "there is no member and no connection %s; members and connections list them", what)
	}
	if len(names) > 1 || c.has("dry-run") {
		text := fmt.Sprintf("%s: %s", reachText(hit, "kicks", " and closes"), strings.Join(names[:min(len(names), 5)], ", ")+"; they can connect again")
		if err := c.confirm(text, ids, remotes); err != nil {
			return err
		}
	}
	if hit.Members, err = c.Service.Kick(ids, c.flags["say"]); err != nil {
		return err
	}
	if hit.Connections, err = c.Service.Disconnect(remotes); err != nil {
		return err
	}
	if hit == (netsvc.BanTargets{}) {
		return refuse("no-member", "%s has just left", what)
	}
	return c.out.text("%s", reachText(hit, "kicked", " and closed"))
}

// newBan returns a ban with the values of the flags, without an address or a nick.
func (c *call) newBan() (b store.Ban, err error) {
	b = store.Ban{Created: time.Now().UTC(), By: c.caller.User, Reason: c.flags["why"]}
	if d := c.times["for"]; d > 0 {
		b.Until = b.Created.Add(d)
	}
	if room := c.flags["room"]; room != "" {
		b.Room, err = c.Service.RoomID(room)
	}
	return b, err
}

// bansOf returns the bans that a word means: of an address, or of a nick and the addresses of
// the members that have it now.
func (c *call) bansOf(what string) ([]store.Ban, error) {
	b, err := c.newBan()
	if err != nil {
		return nil, err
	}
	nickOnly := c.has("nick-only")
	var members []netsvc.MemberInfo
	if strings.HasPrefix(what, "#") {
		if members, err = c.findMembers(what); err != nil {
			return nil, err
		}
		b.Nick = members[0].Key()
	} else {
		addr, nick, err := ban.ParseTarget(what)
		switch {
		case err != nil:
			return nil, refuse("usage", "%v", err)
		case addr != "" && nickOnly:
			return nil, refuse("usage", "--nick-only is for a nick, and %s is an address", what)
		case addr != "":
			b.Addr = addr
			return []store.Ban{b}, nil
		}
		b.Nick = nick
		members = c.Service.FindMembers(what)
	}
	if nickOnly {
		return []store.Ban{b}, nil
	}
	var all []store.Ban
	for _, m := range members {
		room, err := c.Service.RoomID(m.Room)
		if m.Key() != b.Nick || err != nil || b.Room != 0 && b.Room != room {
			continue
		}
		if b.Addr = m.BanTarget(); !slices.ContainsFunc(all, func(have store.Ban) bool { return have.Addr == b.Addr }) {
			all = append(all, b)
		}
	}
	if len(all) == 0 { // no member has the nick now
		all = append(all, b)
	}
	return all, nil
}

// reachText says how many members and connections an action ends.
func reachText(r netsvc.BanTargets, verb, also string) string {
	text := verb + " " + count(r.Members, "member")
	if r.Connections > 0 {
		text += also + " " + count(r.Connections, "connection") + " that no member has"
	}
	return text
}

// banNumbers lists the IDs of bans: "ban #3", "bans #3, #4".
func banNumbers(bans []store.Ban, noun string) string {
	if len(bans) > 1 {
		noun += "s"
	}
	ids := mapSlice(bans, func(b store.Ban) string { return fmt.Sprintf("#%d", b.ID) })
	return noun + " " + strings.Join(ids, ", ")
}

func addBans(c *call) error {
	all, err := c.bansOf(c.args[0])
	if err != nil {
		return err
	}
	hit := c.Service.CountTargets(all...)
	if hit.Members > 1 || c.has("dry-run") {
		of := mapSlice(all, func(b store.Ban) string { return strings.TrimSpace(b.Nick + " " + b.Addr) })
		if err := c.confirm(fmt.Sprintf("bans %s and %s; unban lifts it", strings.Join(of, ", "), reachText(hit, "kicks", " and closes")), hit); err != nil {
			return err
		}
	}
	all, hit, err = c.Service.Ban(all...)
	state := "is set"
	if len(all) > 1 {
		state = "are set"
	}
	return c.report(err, "%s %s; %s", banNumbers(all, "ban"), state, reachText(hit, "kicked", " and closed"))
}

func bans(c *call) error {
	type row struct {
		ID      uint64    `json:"id"`
		Kind    string    `json:"kind"`
		Addr    string    `json:"addr"`
		Nick    string    `json:"nick"`
		Room    string    `json:"room"`
		Created time.Time `json:"created"`
		Until   time.Time `json:"until,omitzero"`
		By      string    `json:"by"`
		Why     string    `json:"why"`
	}
	rows := []row{}
	for _, b := range c.Service.Bans() {
		r := row{b.ID, "ban", b.Addr, b.Nick, c.Service.RoomName(b.Room), b.Created, b.Until, b.By, b.Reason}
		if b.Room != 0 && r.Room == "" {
			r.Room = fmt.Sprintf("#%d, deleted", b.Room) // an empty cell would mean every room
		}
		if b.Mute {
			r.Kind = "mute"
		}
		rows = append(rows, r)
	}
	return c.out.list(rows)
}

func unban(c *call) error {
	id := c.banID
	none := refuse("no-ban", "there is no ban #%d; bans lists them", id)
	there := slices.ContainsFunc(c.Service.Bans(), func(b store.Ban) bool { return b.ID == id })
	if damaged, _ := c.Store.SkippedRecords(); !there && damaged == 0 { // Unban also lifts a ban whose record is corrupt
		return none
	}
	if err := c.dryRun("ban #%d would be lifted", id); err != nil {
		return err
	}
	err := c.Service.Unban(id)
	if errors.Is(err, store.ErrNoBan) {
		return none
	}
	return c.report(err, "ban #%d is lifted", id)
}

func mute(c *call) error {
	all, err := c.findMembers(c.args[0])
	if err != nil {
		return err
	}
	if err := c.dryRun("%s would be muted", count(len(all), "member")); err != nil {
		return err
	}
	var mutes []store.Ban
	for _, m := range all {
		b, err := c.newBan()
		if err != nil {
			return err
		}
		b.Mute, b.Nick, b.Member = true, m.Key(), m.ID
		if !c.has("nick-only") {
			b.Addr = m.BanTarget()
		}
		if b.Room, err = c.Service.RoomID(m.Room); err != nil {
			return err
		}
		mutes = append(mutes, b)
	}
	mutes, _, err = c.Service.Ban(mutes...)
	return c.report(err, "muted %s: %s", count(len(all), "member"), describeMutes(mutes, mapSlice(all, func(m netsvc.MemberInfo) string { return m.Room })))
}

// describeMutes says for which rooms, members and time mutes hold.
func describeMutes(mutes []store.Ban, rooms []string) string {
	slices.Sort(rooms)
	until, also := "until unmute lifts it", ", and for everybody that joins the room from its address later, under any nick"
	if len(mutes) > 0 && !mutes[0].Until.IsZero() {
		until = "until " + mutes[0].Until.Local().Format(timeFormat)
	}
	if len(mutes) > 0 && mutes[0].Addr == "" {
		also = " and its nick alone: under another nick it can speak"
	}
	return fmt.Sprintf("%s, in the room %s, %s; for the member%s", banNumbers(mutes, "mute"), strings.Join(slices.Compact(rooms), ", "), until, also)
}

func unmute(c *call) error {
	what := c.args[0]
	mutes, others := c.Service.Mutes(what)
	if len(mutes) == 0 {
		if len(c.Service.FindMembers(what)) == 0 {
			return refuse("no-member", "there is no member %s, and no mute of one; bans lists the mutes", what)
		}
		return refuse("no-mute", "%s is not muted; bans lists the mutes", what)
	}
	ids := mapSlice(mutes, func(b store.Ban) uint64 { return b.ID })
	if names := namesOf(others); len(names) > 0 {
		if err := c.confirm(fmt.Sprintf("lifts %s, also for %s", banNumbers(mutes, "mute"), strings.Join(names[:min(len(names), 5)], ", ")), ids); err != nil {
			return err
		}
	}
	if err := c.dryRun("%s would be lifted: %s", count(len(mutes), "mute"), banNumbers(mutes, "mute")); err != nil {
		return err
	}
	err := c.Service.Unban(ids...)
	if errors.Is(err, store.ErrNoBan) {
		return refuse("changed", "nothing is lifted: %v", err)
	}
	return c.report(err, "lifted %s: %s", count(len(mutes), "mute"), banNumbers(mutes, "mute"))
}
