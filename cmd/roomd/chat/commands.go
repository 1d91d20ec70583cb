package chat

import (
	"context"
	"fmt"
	"math"
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
	do               func(c *chat, rest string)
}

// commands returns the commands, in the order of /help.
func commands() []command {
	return []command{
		{"join", "ROOM [PASSWORD]", "join a room, or switch to a joined one", (*chat).doJoin},
		{"leave", "[ROOM]", "leave a room", (*chat).doLeave},
		{"rooms", "", "list the rooms", func(c *chat, _ string) { c.showRooms() }},
		{"create", "ROOM [PASSWORD]", "create a room and join it", (*chat).doCreate},
		{"who", "", "list the members of the room", (*chat).doWho},
		{"nick", "NAME", "change your nick, in all rooms", (*chat).doNick},
		{"me", "TEXT", "send an action", (*chat).doMe},
		{"notice", "TEXT", "send what no program answers", (*chat).doNotice},
		{"msg", "NICK TEXT", "send a private message to a member; it is not stored", (*chat).doMsg},
		{"topic", "[TEXT]", "show or set the topic", (*chat).doTopic},
		{"history", "[N]", "show N earlier lines", (*chat).doHistory},
		{"search", "TEXT", "search the history of the room", (*chat).doSearch},
		{"help", "", "show this list", func(c *chat, _ string) { c.help() }},
		{"quit", "", "leave all rooms and exit (also Ctrl-D)", nil},
	}
}

func (c *chat) runCommand(name, rest string) {
	for _, k := range commands() {
		if k.name == strings.ToLower(name) && k.do != nil {
			k.do(c, rest)
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
	c.say("%s  %-24s  %s", b.String(), "//TEXT", "send /TEXT as text")
}

// cutWord splits "WORD REST".
func cutWord(s string) (first, rest string) {
	first, rest, _ = strings.Cut(s, " ")
	return first, strings.TrimSpace(rest)
}

func (c *chat) doJoin(rest string) {
	name, password := cutWord(rest)
	if name == "" {
		c.say("usage: /join ROOM [PASSWORD]; /rooms lists the rooms")
		return
	}
	if err := c.join(name, password); err != nil {
		c.say("%s: %v", wire.CleanString(name), err)
	}
}

func (c *chat) doCreate(rest string) {
	name, password := cutWord(rest)
	if name == "" {
		c.say("usage: /create ROOM [PASSWORD]")
		return
	}
	err := c.create(name, password)
	if err == nil {
		err = c.join(name, password)
	}
	if err != nil {
		c.say("%s: %v", wire.CleanString(name), err)
	}
}

func (c *chat) doLeave(rest string) {
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
		c.say("no rooms; /create ROOM creates one")
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

// goInRoom starts a request about the current room, and prints its error.
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

func (c *chat) doWho(string) {
	c.goInRoom(func(ctx context.Context, p *membership) error {
		members, err := p.room.Members(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, m := range members {
			fmt.Fprintf(&b, "\n  %s, since %s", wire.CleanString(m.Nick), m.Since.Local().Format("15:04, 2 January"))
			if m.Door != "" {
				fmt.Fprintf(&b, ", by %s", wire.CleanString(m.Door))
			}
		}
		c.say("%d in %s:%s", len(members), p.name, b.String())
		return nil
	})
}

func (c *chat) doNick(nick string) {
	if nick == "" {
		c.say("usage: /nick NAME")
		return
	}
	setNick := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.nick = nick
	}
	rooms := c.joined()
	if len(rooms) == 0 {
		setNick()
		c.say("your nick in the next room is %s", wire.CleanString(nick))
	}
	for _, p := range rooms {
		c.goRequest(func(ctx context.Context) {
			if err := p.room.Rename(ctx, nick); err != nil {
				c.say("%s: %v", p.name, remote.CleanError(err))
				return
			}
			setNick()
			c.say("you are %s in %s", wire.CleanString(nick), p.name)
			c.updatePrompt()
		})
	}
}

func (c *chat) doMe(text string) {
	if text == "" {
		c.say("usage: /me TEXT")
	} else if p := c.currentRoom(); p != nil {
		p.enqueue(client.Action, text)
	}
}

func (c *chat) doNotice(text string) {
	if text == "" {
		c.say("usage: /notice TEXT")
	} else if p := c.currentRoom(); p != nil {
		p.enqueue(client.Notice, text)
	}
}

func (c *chat) doTopic(text string) {
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

func (c *chat) doMsg(rest string) {
	nick, text := cutWord(rest)
	if text == "" {
		c.say("usage: /msg NICK TEXT")
		return
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		return p.room.SendPrivate(ctx, strings.TrimSuffix(nick, ":"), text)
	})
}

const (
	pageLines = 20
	maxFound  = 50 // that the server finds
)

// doHistory shows lines before the oldest shown line.
func (c *chat) doHistory(rest string) {
	n := pageLines
	if rest != "" {
		var err error
		if n, err = strconv.Atoi(rest); err != nil || n < 1 || n > 10000 {
			c.say("usage: /history [N]; N is a number from 1 to 10000")
			return
		}
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		p.mu.Lock()
		oldest := p.oldestShown
		p.mu.Unlock()
		if oldest == 0 {
			oldest = math.MaxUint64 // none is shown
		}
		lines, err := p.room.Before(ctx, oldest, n)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			c.say("%s: there are no earlier lines", p.name)
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

// printOld prints a line of the history, without the bell.
func (p *membership) printOld(ev client.Event) {
	l := p.chat.style
	line, _ := l.event(ev, "")
	p.chat.editor.Print(l.colour(dim, ev.Time.Local().Format("2006-01-02 15:04")) + " " + line)
}

func (c *chat) doSearch(text string) {
	if text == "" {
		c.say("usage: /search TEXT")
		return
	}
	c.goInRoom(func(ctx context.Context, p *membership) error {
		found, err := p.room.Search(ctx, text)
		if err != nil {
			return err
		}
		which := ""
		if len(found) == maxFound {
			which = "the newest "
		}
		have := "have"
		if len(found) == 1 {
			have = "has"
		}
		c.say("%s: %s%s %s %s", p.name, which, english.Plural(len(found), "line"), have, wire.CleanString(text))
		for _, ev := range found {
			p.printOld(ev)
		}
		return nil
	})
}

// complete returns the possible last words of a line.
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
		rooms, _ := c.listRooms(10 * time.Second) // on an error there are no words
		for _, i := range rooms {
			if words[0] != "/leave" || c.find(i.Name) != nil {
				all = append(all, wire.CleanString(i.Name))
			}
		}
	default:
		p := c.room()
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
