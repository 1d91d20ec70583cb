package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/store"
)

var roomCommands = []command{
	{name: "create", args: "ROOM", short: "make a room", example: "create dev --topic 'work in progress'", changes: true,
		flags: []flag{{"port", "N", "on this port, else on the next one that is free"}, {"topic", "TEXT", "its topic"}}, run: create},
	{name: "delete", args: "ROOM", short: "end a room; restore brings it back", example: "delete dev --in 60s --say 'moving to ops'", changes: true,
		flags: []flag{yesFlag, tokenFlag, sayFlag, inFlag, cancelFlag, {"purge", "", "for good: it cannot be restored"}}, run: deleteRoom},
	{name: "trash", short: "the deleted rooms that can be restored", example: "trash", run: func(c *call) error {
		all, err := c.Service.Trash()
		if err != nil {
			return err
		}
		return c.out.list(all)
	}},
	{name: "restore", args: "ROOM", short: "bring a deleted room back, with its lines", example: "restore dev", changes: true, run: func(c *call) error {
		if err := c.would("the room %s would come back", c.args[0]); err != nil {
			return err
		}
		info, err := c.Service.Restore(c.args[0])
		if err != nil {
			return err
		}
		if r, err := c.Service.Room(info.Name); err == nil {
			c.callOff(r.ID) // somebody else had deleted it before it was due
		}
		return c.out.text("the room %s is back on port %d", info.Name, info.Port)
	}},
	{name: "purge", args: "ROOM", short: "remove a deleted room for good", example: "purge dev", changes: true,
		flags: []flag{yesFlag, tokenFlag}, run: func(c *call) error {
			all, err := c.Service.Trash()
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(t netsvc.Trashed) bool { return strings.EqualFold(t.Name, c.args[0]) })
			if i < 0 {
				return refuse("no-room", "there is no room %s in the trash", c.args[0])
			}
			text := fmt.Sprintf("removes %s for good: %s", all[i].Name, count(all[i].Lines, "line"))
			if err := c.confirm(text, all[i].ID); err != nil {
				return err
			}
			if err := c.Service.Purge(c.args[0]); err != nil {
				return err
			}
			return c.out.text("%s is removed", all[i].Name)
		}},
	{name: "rename", args: "ROOM NAME", short: "give a room another name", example: "rename dev ops", changes: true, run: func(c *call) error {
		r, err := c.Service.Room(c.args[0])
		if err != nil {
			return err
		}
		if err := c.would("%s would be %s; its %s stay", r.Name, c.args[1], count(r.Members, "member")); err != nil {
			return err
		}
		info, err := c.Service.Rename(r.Name, c.args[1])
		if err != nil {
			return err
		}
		return c.out.text("the room %s is %s now", r.Name, info.Name)
	}},
	{name: "topic", args: "ROOM [TEXT...]", short: "show or set a room's topic", example: "topic lobby be kind", changes: true, run: func(c *call) error {
		if c.looked = len(c.args) == 1; !c.looked {
			text := strings.Join(c.args[1:], " ")
			if err := c.would("the topic of %s would be %s", c.args[0], text); err != nil {
				return err
			}
			if err := c.Service.SetTopic(c.args[0], text); err != nil {
				return err
			}
		}
		r, err := c.Service.Room(c.args[0])
		if err != nil {
			return err
		}
		if r.Topic == "" {
			return c.out.text("%s has no topic", r.Name)
		}
		return c.out.text("the topic of %s: %s", r.Name, r.Topic)
	}},
	setCommand,
	{name: "port", args: "ROOM N", short: "move a room to another port; its members stay", example: "port dev 9010", changes: true, run: func(c *call) error {
		r, err := c.Service.Room(c.args[0])
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(c.args[1])
		if err != nil {
			return refuse("usage", "%q is not a port: a number from 1 to 65535", c.args[1])
		}
		if err := c.would("%s would go from port %d to %d; its %s stay", r.Name, r.Port, n, count(r.Members, "member")); err != nil {
			return err
		}
		info, err := c.Service.Move(r.Name, n)
		if err != nil {
			return err
		}
		return c.out.text("the room %s is on port %d now; %d rests", info.Name, info.Port, r.Port)
	}},
	{name: "rebind", args: "ROOM", short: "try at once to bind a room that waits for its port", example: "rebind dev", changes: true, run: func(c *call) error {
		if err := c.would("the port of %s would be tried", c.args[0]); err != nil {
			return err
		}
		info, err := c.Service.Rebind(c.args[0])
		if err != nil {
			return err
		}
		return c.out.text("the room %s is bound to port %d", info.Name, info.Port)
	}},
	{name: "say", args: "ROOM TEXT...", short: "say something in a room, not stored", example: "say lobby back in five minutes", changes: true, run: func(c *call) error {
		return c.say(c.args[0], c.args[1:])
	}},
	{name: "announce", args: "TEXT...", short: "say something in every room", example: "announce a restart at noon", changes: true, run: func(c *call) error {
		return c.say("", c.args)
	}},
}

// say tells the members of a room, or of all for "".
func (c *call) say(room string, text []string) error {
	if _, dry := c.flags["dry-run"]; dry {
		all, err := c.Service.Members(room)
		if err != nil {
			return err
		}
		return c.would("it would be said to %s", count(len(all), "member"))
	}
	n, err := c.Service.Say(room, strings.Join(text, " "))
	if err != nil {
		return err
	}
	return c.out.text("said to %s", count(n, "member"))
}

func create(c *call) error {
	by := netsvc.Creation{}
	if _, ok := c.flags["port"]; ok {
		n, err := c.number("port", 0)
		if err != nil {
			return err
		}
		by.Port = n
	}
	if err := c.would("the room %s would be made", c.args[0]); err != nil {
		return err
	}
	info, _, err := c.Service.Create(c.args[0], by)
	if err != nil {
		return err
	}
	if t := c.flags["topic"]; t != "" {
		if err := c.Service.SetTopic(info.Name, t); err != nil {
			return err
		}
	}
	return c.out.text("the room %s is on port %d", info.Name, info.Port)
}

// worth says a room in numbers, so that who destroys it knows what goes.
func worth(r netsvc.RoomDetail) string {
	text := fmt.Sprintf("%s, %s, %s", count(r.Members, "member"), count(r.Lines, "line"), cell("bytes", r.Bytes))
	if !r.Spoke.IsZero() {
		text += ", last spoke " + words(time.Since(r.Spoke)) + " ago"
	}
	return text
}

func deleteRoom(c *call) error {
	r, err := c.Service.Room(c.args[0])
	if err != nil {
		return err
	}
	p := &plan{room: r.ID, name: r.Name, what: "this room is to be deleted"}
	if _, cancel := c.flags["cancel"]; cancel {
		_, err := c.planned(p, nil)
		return err
	}
	_, purge := c.flags["purge"]
	text := fmt.Sprintf("deletes %s%s: %s", r.Name, c.lasting(), worth(r))
	if purge {
		text += "; it cannot be restored"
	}
	if err := c.confirm(text, r.ID, r.Name, r.Port, r.Members, r.Newest, purge); err != nil {
		return err
	}
	if planned, err := c.planned(p, func() error {
		name := c.Service.RoomName(r.ID)
		if name == "" {
			return refuse("no-room", "it is gone already")
		}
		return c.remove(r.ID, name, "", purge)
	}); planned {
		return err
	}
	if err := c.remove(r.ID, r.Name, c.flags["say"], purge); err != nil {
		return err
	}
	if purge {
		return c.out.text("the room %s is gone for good", r.Name)
	}
	return c.out.text("the room %s is deleted; restore %s brings it back", r.Name, r.Name)
}

// remove deletes a room, and what was planned for it.
func (c *call) remove(id uint64, name, say string, purge bool) error {
	if err := c.Service.Remove(name, say); err != nil {
		return err
	}
	c.callOff(id)
	if !purge {
		return nil
	}
	return c.Service.Purge(fmt.Sprintf("#%d", id))
}

var peopleCommands = []command{
	{name: "kick", args: "NICK|ADDR|ID", short: "end a member's connection", example: "kick ann --say 'please read the rules'", changes: true,
		flags: []flag{yesFlag, tokenFlag, sayFlag}, run: kick},
	{name: "ban", args: "ADDR|CIDR|NICK", short: "keep somebody out, now and later", example: "ban 192.0.2.7 --for 1h --why flooding", changes: true,
		flags: []flag{roomFlag, forFlag, whyFlag, yesFlag, tokenFlag}, run: ban},
	{name: "bans", short: "the bans and mutes that hold", example: "bans", run: bans},
	{name: "unban", args: "ID", short: "lift a ban or a mute", example: "unban 3", changes: true, run: unban},
	{name: "mute", args: "NICK|ID", short: "let a member read and not speak", example: "mute ann --for 10m", changes: true,
		flags: []flag{forFlag, whyFlag}, run: mute},
	{name: "unmute", args: "NICK|ID", short: "let a member speak again", example: "unmute ann", changes: true, run: unmute},
}

// found are the members that a word means; none is a refusal.
func (c *call) found(what string) ([]netsvc.MemberInfo, error) {
	all := c.Service.Who(what)
	if len(all) == 0 {
		return nil, refuse("no-member", "there is no member %s; members lists them", what)
	}
	return all, nil
}

func kick(c *call) error {
	all, err := c.found(c.args[0])
	if err != nil {
		return err
	}
	var ids []uint64
	var names []string
	for _, m := range all {
		ids = append(ids, m.ID)
		names = append(names, fmt.Sprintf("%s in %s", m.Nick, m.Room))
	}
	_, dry := c.flags["dry-run"]
	if len(all) > 1 || dry {
		text := fmt.Sprintf("kicks %s: %s", count(len(all), "member"), strings.Join(names[:min(len(names), 5)], ", "))
		if err := c.confirm(text, ids); err != nil {
			return err
		}
	}
	n := c.Service.Kick(ids, c.flags["say"])
	return c.out.text("kicked %s", count(n, "member"))
}

// parseBan reads what a ban is of.
func (c *call) parseBan(what string) (b store.Ban, err error) {
	b = store.Ban{Created: time.Now().UTC(), By: c.caller.User, Why: c.flags["why"]}
	if d, err := c.duration("for"); err != nil {
		return b, err
	} else if d > 0 {
		b.Until = b.Created.Add(d)
	}
	if room := c.flags["room"]; room != "" {
		if b.Room, err = c.Service.RoomID(room); err != nil {
			return b, err
		}
	}
	if p, err := netip.ParsePrefix(what); err == nil {
		b.Addr = p.Masked().String()
	} else if a, err := netip.ParseAddr(what); err == nil {
		b.Addr = a.Unmap().String()
	} else if b.Nick, err = netsvc.FoldName(what); err != nil {
		return b, refuse("usage", "%q is no address, prefix or nick", what)
	}
	return b, nil
}

func ban(c *call) error {
	b, err := c.parseBan(c.args[0])
	if err != nil {
		return err
	}
	hit := c.Service.Hit(b)
	_, dry := c.flags["dry-run"]
	if hit > 1 || dry {
		if err := c.confirm(fmt.Sprintf("bans %s and kicks %s", c.args[0], count(hit, "member")), hit); err != nil {
			return err
		}
	}
	b, n, err := c.Service.Ban(b)
	if err != nil {
		return err
	}
	return c.out.text("ban %d holds; kicked %s", b.ID, count(n, "member"))
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
		r := row{b.ID, "ban", b.Addr, b.Nick, c.Service.RoomName(b.Room), b.Created, b.Until, b.By, b.Why}
		if b.Mute {
			r.Kind = "mute"
		}
		rows = append(rows, r)
	}
	return c.out.list(rows)
}

func unban(c *call) error {
	id, err := strconv.ParseUint(strings.TrimPrefix(c.args[0], "#"), 10, 64)
	if err != nil {
		return refuse("usage", "%q is not the number of a ban; bans lists them", c.args[0])
	}
	if err := c.would("ban %d would be lifted", id); err != nil {
		return err
	}
	if err := c.Service.Unban(id); err != nil {
		return refuse("no-ban", "there is no ban %d; bans lists them", id)
	}
	return c.out.text("ban %d is lifted", id)
}

func mute(c *call) error {
	all, err := c.found(c.args[0])
	if err != nil {
		return err
	}
	if err := c.would("%s would be muted", count(len(all), "member")); err != nil {
		return err
	}
	n := 0
	for _, m := range all {
		b, err := c.parseBan(m.Nick)
		if err != nil {
			return err
		}
		// The nick and the address: another one may take the nick later.
		b.Mute, b.Nick = true, mustFold(m.Nick)
		if at, err := netip.ParseAddrPort(m.Remote); err == nil {
			b.Addr = at.Addr().String()
		}
		if b.Room, err = c.Service.RoomID(m.Room); err != nil {
			return err
		}
		if _, _, err := c.Service.Ban(b); err != nil {
			return err
		}
		n++
	}
	return c.out.text("muted %s", count(n, "member"))
}

// mustFold folds the nick of a member, which is a good one.
func mustFold(nick string) string {
	key, err := netsvc.FoldName(nick)
	if err != nil {
		return nick
	}
	return key
}

func unmute(c *call) error {
	all, err := c.found(c.args[0])
	if err != nil {
		return err
	}
	if err := c.would("%s could speak again", count(len(all), "member")); err != nil {
		return err
	}
	n := 0
	for _, b := range c.Service.Bans() {
		if b.Mute && slices.ContainsFunc(all, func(m netsvc.MemberInfo) bool { return mustFold(m.Nick) == b.Nick }) {
			if err := c.Service.Unban(b.ID); err != nil {
				return err
			}
			n++
		}
	}
	return c.out.text("lifted %s", count(n, "mute"))
}
