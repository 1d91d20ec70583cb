package chat

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/admin/english"
	"roomd/admin/term"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// command is a line that begins with /.
type command struct {
	name, args, help string
	do               func(c *chat, rest string, interactive bool)
}

// commands are what may be typed, in the order of /help.
func commands() []command {
	return []command{
		{"join", "ROOM [PASSWORD]", "go to a room, and join it if need be", (*chat).doJoin},
		{"leave", "[ROOM]", "leave a room", (*chat).doLeave},
		{"rooms", "", "list the rooms", func(c *chat, _ string, _ bool) { c.showRooms() }},
		{"create", "ROOM [PASSWORD]", "make a room and join it", (*chat).doCreate},
		{"who", "", "list who is here", (*chat).doWho},
		{"nick", "NAME", "take another name, in all rooms", (*chat).doNick},
		{"me", "TEXT", "say what you do", (*chat).doMe},
		{"msg", "NICK TEXT", "tell one member alone; not stored", (*chat).doMsg},
		{"topic", "[TEXT]", "show or set the topic", (*chat).doTopic},
		{"history", "[N]", "show N more of the lines before", (*chat).doHistory},
		{"search", "TEXT", "look for a text in the room's history", (*chat).doSearch},
		{"help", "", "show this", func(c *chat, _ string, _ bool) { c.help() }},
		{"quit", "", "leave all (also Ctrl-D)", nil},
	}
}

func (c *chat) runCommand(name, rest string, interactive bool) {
	for _, k := range commands() {
		if k.name == strings.ToLower(name) && k.do != nil {
			k.do(c, rest, interactive)
			return
		}
	}
	c.say("there is no /%s; /help lists the commands; //%s sends it as text", wire.CleanString(name), wire.CleanString(name))
}

func (c *chat) help() {
	var b strings.Builder
	for _, k := range commands() {
		fmt.Fprintf(&b, "  %-24s  %s\n", strings.TrimSpace("/"+k.name+" "+k.args), k.help)
	}
	c.say("%s  %-24s  %s", b.String(), "//TEXT", "say /TEXT")
}

// cutWord splits "NAME REST".
func cutWord(s string) (first, rest string) {
	first, rest, _ = strings.Cut(s, " ")
	return first, strings.TrimSpace(rest)
}

func (c *chat) doJoin(rest string, interactive bool) {
	name, password := cutWord(rest)
	if name == "" {
		c.say("which room? /join ROOM; /rooms lists them")
		return
	}
	if err := c.join(name, password, interactive); err != nil {
		c.say("%s: %v", wire.CleanString(name), err)
	}
}

func (c *chat) doCreate(rest string, interactive bool) {
	name, password := cutWord(rest)
	if name == "" {
		c.say("which name? /create ROOM")
		return
	}
	err := c.create(name, password)
	if err == nil {
		err = c.join(name, password, interactive)
	}
	if err != nil {
		c.say("%s: %v", wire.CleanString(name), err)
	}
}

func (c *chat) doLeave(rest string, _ bool) {
	p := c.find(rest)
	if rest == "" {
		p = c.currentRoom()
	} else if p == nil {
		c.say("you are not in %s", wire.CleanString(rest))
	}
	if p != nil {
		p.room.Close()
		c.removeRoom(p)
		c.say("you have left %s", p.name)
	}
}

func (c *chat) showRooms() {
	rooms, err := c.listRooms(0)
	if err != nil {
		c.say("%v", remote.CleanError(err))
		return
	}
	if len(rooms) == 0 {
		c.say("no rooms; /create ROOM makes one")
		return
	}
	var b strings.Builder
	for _, i := range rooms {
		mark := " "
		if c.find(i.Name) != nil {
			mark = "*"
		}
		fmt.Fprintf(&b, "\n%s %s %3d here  %s", mark, term.Pad(wire.CleanString(i.Name), 20), i.Members, wire.CleanString(i.Topic))
	}
	c.say("rooms; /join ROOM joins one:%s", b.String())
}

// goInRoom does something with the current room that may take a while.
func (c *chat) goInRoom(do func(context.Context, *membership) error) {
	p := c.currentRoom()
	if p == nil {
		return
	}
	c.goRequest(func(ctx context.Context) {
		if err := do(ctx, p); err != nil && c.ctx.Err() == nil {
			c.say("%s: %v", p.name, remote.CleanError(err))
		}
	})
}

func (c *chat) doWho(string, bool) {
	c.goInRoom(func(ctx context.Context, p *membership) error {
		members, err := p.room.Members(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, m := range members {
			fmt.Fprintf(&b, "\n  %s, since %s", wire.CleanString(m.Nick), m.Since.Local().Format("15:04, 2 January"))
		}
		c.say("%d in %s:%s", len(members), p.name, b.String())
		return nil
	})
}

func (c *chat) doNick(nick string, _ bool) {
	if nick == "" {
		c.say("which name? /nick NAME")
		return
	}
	c.mu.Lock()
	rooms := slices.Clone(c.rooms)
	if len(rooms) == 0 {
		c.nick = nick
	}
	c.mu.Unlock()
	if len(rooms) == 0 {
		c.say("you will be %s", wire.CleanString(nick))
	}
	for _, p := range rooms {
		c.goRequest(func(ctx context.Context) {
			if err := p.room.Rename(ctx, nick); err != nil {
				c.say("%s: %v", p.name, remote.CleanError(err))
				return
			}
			c.mu.Lock()
			c.nick = nick
			c.mu.Unlock()
			c.say("you are %s in %s", wire.CleanString(nick), p.name)
			c.updatePrompt()
		})
	}
}

func (c *chat) doMe(text string, _ bool) {
	if text == "" {
		c.say("what do you do? /me TEXT")
	} else if p := c.currentRoom(); p != nil {
		p.enqueue(client.Action, text)
	}
}

func (c *chat) doTopic(text string, _ bool) {
	if text != "" {
		if p := c.currentRoom(); p != nil {
			p.enqueue(client.Topic, text)
		}
		return
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		rooms, err := c.server.List(ctx, p.room.Name())
		if err != nil {
			return err
		}
		for _, i := range rooms {
			if i.Topic != "" {
				c.say("the topic of %s: %s", p.name, wire.CleanString(i.Topic))
				return nil
			}
		}
		c.say("%s has no topic; /topic TEXT sets it", p.name)
		return nil
	})
}

func (c *chat) doMsg(rest string, _ bool) {
	nick, text := cutWord(rest)
	if text == "" {
		c.say("to whom, and what? /msg NICK TEXT")
		return
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		return p.room.SendPrivate(ctx, strings.TrimSuffix(nick, ":"), text)
	})
}

const (
	pageLines   = 20
	maxSearched = 100000 // looked through
	maxFound    = 50     // shown
)

// doHistory shows lines before those that are shown.
func (c *chat) doHistory(rest string, _ bool) {
	n := pageLines
	if rest != "" {
		var err error
		if n, err = strconv.Atoi(rest); err != nil || n < 1 || n > 10000 {
			c.say("how many lines? /history N, 1 to 10000")
			return
		}
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		p.mu.Lock()
		oldest := p.oldestShown
		p.mu.Unlock()
		// Those shown come again; how many there are nobody has counted.
		var lines []client.Event
		for ask := n + pageLines; ; ask *= 4 {
			all, err := p.room.History(ctx, ask)
			if err != nil {
				return err
			}
			lines = all
			if i := slices.IndexFunc(all, func(ev client.Event) bool { return ev.Seq >= oldest }); oldest > 0 && i >= 0 {
				lines = all[:i]
			}
			if len(lines) >= n || len(all) < ask {
				break
			}
		}
		lines = lines[max(0, len(lines)-n):]
		if len(lines) == 0 {
			c.say("%s: there is nothing before", p.name)
			return nil
		}
		c.say("%s: %d earlier lines", p.name, len(lines))
		for _, ev := range lines {
			p.printOld(ev)
		}
		c.say("%s: end of earlier lines", p.name)
		p.mu.Lock()
		p.oldestShown = lines[0].Seq
		p.mu.Unlock()
		return nil
	})
}

// printOld prints an old line, without ringing the bell.
func (p *membership) printOld(ev client.Event) {
	l := p.chat.style
	line, _ := l.event(ev, "")
	p.chat.editor.Print(l.colour(dim, ev.Time.Local().Format("2006-01-02 15:04")) + " " + line)
}

func (c *chat) doSearch(text string, _ bool) {
	if text == "" {
		c.say("what for? /search TEXT")
		return
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		lines, err := p.room.History(ctx, maxSearched)
		if err != nil {
			return err
		}
		var found []client.Event
		for _, ev := range lines {
			if strings.Contains(wire.Fold(ev.From+" "+ev.Text), wire.Fold(text)) {
				found = append(found, ev)
			}
		}
		which := ""
		if len(found) > maxFound {
			which = fmt.Sprintf(", the newest %d of them", maxFound)
		}
		have := "have"
		if len(found) == 1 || len(lines) == 1 {
			have = "has"
		}
		c.say("%s: %d of %s %s %s%s", p.name, len(found), english.Plural(len(lines), "line"), have, wire.CleanString(text), which)
		for _, ev := range found[max(0, len(found)-maxFound):] {
			p.printOld(ev)
		}
		return nil
	})
}

// complete returns what may stand where the last word stands.
func (c *chat) complete(before string) []string {
	words := strings.Fields(before)
	last := before[strings.LastIndexAny(before, " \t")+1:]
	var all []string
	switch first := before == last; {
	case first && strings.HasPrefix(last, "/"):
		for _, k := range commands() {
			all = append(all, "/"+k.name)
		}
	case len(words) > 0 && (words[0] == "/join" || words[0] == "/leave" || words[0] == "/create"):
		rooms, _ := c.listRooms(10 * time.Second) // without an answer there is nothing to offer
		for _, i := range rooms {
			if words[0] != "/leave" || c.find(i.Name) != nil {
				all = append(all, wire.CleanString(i.Name))
			}
		}
	default:
		c.mu.Lock()
		p := c.current
		c.mu.Unlock()
		if p == nil {
			return nil
		}
		for _, nick := range p.nicks() {
			if nick = wire.CleanString(nick); first {
				nick += ":"
			}
			all = append(all, nick)
		}
	}
	return slices.DeleteFunc(all, func(w string) bool { return !strings.HasPrefix(wire.Fold(w), wire.Fold(last)) })
}
