package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"roomd/admin/value"
	"roomd/netsvc"
	"roomd/netsvc/wire"
	"roomd/store"
)

var roomCommands = []command{
	{name: "create", args: []param{newRoomArg}, short: "Create a room", example: "create dev --topic 'work in progress'", changes: true,
		flags: []flag{{"port", param{name: "N", complete: freePorts, parse: parseNumber(value.Ports)}, "the port; without it the next free one"}, {"topic", textValue, "the topic"}}, run: create},
	{name: "delete", args: []param{roomArg}, short: "Delete a room and disconnect its members", about: "The room goes to the trash, for the time of rooms.trash: restore brings it back. --in plans the deletion and returns at once.", example: "delete dev --in 60s --say 'moving to ops'", changes: true,
		flags: []flag{yesFlag, tokenFlag, sayFlag, inFlag, cancelFlag, {name: "purge", short: "remove it for good: no restore"}}, run: deleteRoom},
	{name: "trash", short: "List the deleted rooms that can be restored", example: "trash", run: func(c *call) error {
		all, err := c.Service.Trash()
		if err != nil {
			return err
		}
		return c.out.list(all)
	}},
	{name: "restore", args: []param{trashedArg}, short: "Restore a deleted room with its lines", about: "If several rooms had the name, ROOM is the one that was deleted last; #ID names any.", example: "restore '#7'", changes: true, run: func(c *call) error {
		gone := c.trashed
		if err := c.checkNameFree(gone.Name, 0); err != nil {
			return err
		}
		took := fmt.Sprintf("%s%s", describeTrashed(gone), c.namesakes(gone))
		if err := c.dryRun("the room %s would be restored: %s", gone.Name, took); err != nil {
			return err
		}
		old := c.plans.get(gone.ID) // the room was deleted by another command than the planned one
		info, err := c.Service.Restore(fmt.Sprintf("#%d", gone.ID))
		if err == nil {
			c.plans.forget(old)
		}
		return c.report(err, "the room %s is restored on port %d: %s", info.Name, info.Port, took)
	}},
	{name: "purge", args: []param{trashedArg}, short: "Remove a deleted room for good", about: "If several rooms had the name, ROOM is the one that was deleted last; #ID names any.", example: "purge '#7'", changes: true,
		flags: []flag{yesFlag, tokenFlag}, run: func(c *call) error {
			r := c.trashed
			if err := c.confirm(fmt.Sprintf("removes %s for good: %s%s", r.Name, describeTrashed(r), c.namesakes(r)), r.ID); err != nil {
				return err
			}
			// By its ID, because another room of this name may have come into the trash.
			return c.report(c.Service.Purge(fmt.Sprintf("#%d", r.ID)), "the room %s is removed for good", r.Name)
		}},
	{name: "rename", args: []param{roomArg, {name: "NAME"}}, short: "Rename a room; its members stay", example: "rename dev ops", changes: true, run: func(c *call) error {
		r := c.target
		if err := c.checkNameFree(c.args[1], r.ID); err != nil {
			return err
		}
		if err := c.dryRun("%s would be renamed to %s; its %s stay", r.Name, c.args[1], count(r.Members, "member")); err != nil {
			return err
		}
		info, err := c.Service.Rename(r.Name, c.args[1])
		return c.report(err, "the room %s is now named %s", r.Name, info.Name)
	}},
	{name: "topic", args: []param{roomArg, textArg.asOptional()}, short: "Show or set the topic of a room", example: "topic lobby be kind", changes: true, getOrSet: true, run: func(c *call) error {
		r := c.target
		if !c.skipAudit {
			text := strings.Join(c.args[1:], " ")
			if err := c.dryRun("the topic of %s would be %s", r.Name, text); err != nil {
				return err
			}
			err := c.Service.SetTopic(c.args[0], text)
			if err == nil {
				r, err = c.Service.Room(c.args[0])
			}
			if err != nil {
				return err
			}
		}
		if r.Topic == "" {
			return c.out.text("%s has no topic", r.Name)
		}
		return c.out.text("the topic of %s: %s", r.Name, r.Topic)
	}},
	setCommand,
	{name: "port", args: []param{roomArg, portArg}, short: "Move a room to another port; its members stay", example: "port dev 9010", changes: true, run: func(c *call) error {
		r, n := c.target, c.port
		if n == c.Service.Port() || n == r.Port {
			_, err := c.Service.Move(r.Name, n) // Move returns the refusal
			return err
		}
		if err := c.dryRun("%s would move from port %d to %d; its %s stay", r.Name, r.Port, n, count(r.Members, "member")); err != nil {
			return err
		}
		info, err := c.Service.Move(r.Name, n)
		return c.report(err, "the room %s is now on port %d; port %d is in quarantine", info.Name, info.Port, r.Port)
	}},
	{name: "rebind", args: []param{unboundArg}, short: "Listen at once on the port of an unbound room", about: "The server tries by itself, too.", example: "rebind dev", changes: true, run: func(c *call) error {
		r := c.target
		if r.State == "open" {
			return refuse("exists", "%s is already bound to port %d", r.Name, r.Port)
		}
		if err := c.dryRun("the server would try to listen on port %d of %s", r.Port, r.Name); err != nil {
			return err
		}
		info, err := c.Service.Rebind(c.args[0])
		return c.report(err, "the room %s is bound to port %d", info.Name, info.Port)
	}},
	{name: "say", args: []param{roomNameArg, textArg}, short: "Send a notice to a room; it is not stored", example: "say lobby back in five minutes", changes: true, run: func(c *call) error {
		return c.say(c.args[0], c.args[1:])
	}},
	{name: "announce", args: []param{textArg}, short: "Send a notice to all rooms; it is not stored", example: "announce a restart at noon", changes: true, run: func(c *call) error {
		return c.say("", c.args)
	}},
}

// say sends a notice to a room, or to all rooms for "".
func (c *call) say(room string, text []string) error {
	if c.has("dry-run") {
		all, err := c.Service.Members(room)
		if err != nil {
			return err
		}
		return c.dryRun("the notice would be sent to %s", count(len(all), "member"))
	}
	n, err := c.Service.Say(room, strings.Join(text, " "))
	return c.report(err, "notice sent to %s", count(n, "member"))
}

// checkNameFree returns the refusal if another room than of has the name, so that a dry run
// refuses the same as the run; of is an ID, and 0 for a new room.
func (c *call) checkNameFree(name string, of uint64) error {
	r, err := c.Service.Room(name)
	code, _, _ := netsvc.ClientError(err)
	switch {
	case err == nil && r.ID != of:
		return refuse("exists", "a room named %s already exists", r.Name)
	case err != nil && code != "no-room":
		return err
	}
	return nil
}

func create(c *call) error {
	if err := c.checkNameFree(c.args[0], 0); err != nil {
		return err
	}
	if err := c.dryRun("the room %s would be created", c.args[0]); err != nil {
		return err
	}
	info, _, err := c.Service.Create(c.args[0], netsvc.Creation{By: c.caller.User, Port: c.numbers["port"], Topic: c.flags["topic"]})
	return c.report(err, "the room %s is created on port %d", info.Name, info.Port)
}

// describeTrashed tells deleted rooms of one name apart.
func describeTrashed(t netsvc.Trashed) string {
	return fmt.Sprintf("#%d, deleted %s, %s", t.ID, t.Deleted.Local().Format(timeFormat), count(t.Lines, "line"))
}

// namesakes mentions other deleted rooms with the name of t.
func (c *call) namesakes(t netsvc.Trashed) string {
	trash, _ := c.Service.Trash() // the caller has read it without an error
	others := slices.DeleteFunc(trash, func(o netsvc.Trashed) bool { return o.ID == t.ID || wire.Fold(o.Name) != wire.Fold(t.Name) })
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("; the trash has %s with that name: trash lists them, %s #ID takes one of them", count(len(others), "other room"), c.cmd.name)
}

// describeRoom says how much a deletion removes.
func describeRoom(r netsvc.RoomDetail) string {
	text := fmt.Sprintf("%s, %s, %s", count(r.Members, "member"), count(r.Lines, "line"), cellText("bytes", r.Bytes))
	if !r.Spoke.IsZero() {
		text += ", last line " + durationInWords(time.Since(r.Spoke)) + " ago"
	}
	return text
}

func deleteRoom(c *call) error {
	r, purge := c.target, c.has("purge")
	p := &plan{Plan: store.Plan{Room: r.ID, Purge: purge}, name: r.Name}
	if c.has("cancel") {
		return c.cancelPlan(p)
	}
	text := fmt.Sprintf("deletes %s%s: %s", r.Name, c.inText(), describeRoom(r))
	lost := purge || c.configured("rooms.trash") == "0s"
	if lost {
		text += "; it cannot be restored"
	} else {
		text += "; restore can bring it back"
	}
	if err := c.confirm(text, r.ID, r.Name, r.Port, r.Members, r.Newest, purge); err != nil {
		return err
	}
	if planned, err := c.schedulePlan(p); planned {
		return err
	}
	if err := c.removeRoom(r.ID, r.Name, c.flags["say"], purge); err != nil {
		return err
	}
	if lost {
		return c.out.text("the room %s is deleted for good", r.Name)
	}
	return c.out.text("the room %s is deleted; restore %s brings it back", r.Name, r.Name)
}

// removeRoom deletes a room and its plan.
func (s *Server) removeRoom(id uint64, name, say string, purge bool, audit ...store.Audit) error {
	old := s.plans.get(id)
	if err := s.Service.Delete(name, say, audit...); err != nil {
		return err
	}
	s.plans.forget(old)
	if !purge {
		return nil
	}
	err := s.Service.Purge(fmt.Sprintf("#%d", id))
	if code, _, _ := netsvc.ClientError(err); code == "no-room" {
		return nil // the trash was full, and has removed it already
	}
	if err != nil {
		return refuse("refused", "%s is deleted, and it is still in the trash; purge tries again: %v", name, err)
	}
	return nil
}
