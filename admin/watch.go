package admin

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"roomd/admin/value"
	"roomd/netsvc"
	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
)

var watchCommands = []command{
	{name: "watch", args: []param{watchedArg, {name: "ARG", optional: true, variadic: true}}, short: "Follow events or repeat a command until Ctrl-C", about: "\n  ROOM     everything in the room\n  lines    the lines of all rooms\n  events   joins, leaves, refusals, bans, changes\n  log      the log of the server\n  COMMAND  a command that only shows, repeated; its own flags follow it",
		example: "watch events --room lobby", stream: true,
		flags: []flag{roomFlag, {"addr", addrArg, "only from this address or network"}, {"match", textValue, "only with this text"}, {"level", levelArg, "only log lines of this level or above"}, everyFlag}, run: watch},
	{name: "top", short: "Show the busiest rooms, repeated until Ctrl-C", about: "LAGGING counts the members with pending events, WORST the pending events of the slowest of them; RATE is in lines a minute.", example: "top --every 5s", stream: true, flags: []flag{everyFlag}, run: top},
}

var everyFlag = flag{"every", param{name: "TIME", parse: parseTime(value.Times{Least: 100 * time.Millisecond, Most: value.Forever}), otherwise: "2s"}, "interval, 100ms or more"}

// watchedArg names the subjects of watch.
var watchedArg = param{name: "ROOM|lines|events|log|COMMAND", complete: func(s *Server, _ []string) []string {
	all := openRooms(s, nil)
	for i := range table {
		if table[i].readOnly() {
			all = append(all, table[i].name)
		}
	}
	return all
}}

// sources are the subjects of watch beside rooms and commands.
var sources = []string{"lines", "events", "log"}

// watchedCommand returns the command that this watch repeats, or nil.
func watchedCommand(watch *command, args []string) *command {
	if watch.name != "watch" || len(args) == 0 {
		return nil
	}
	for _, s := range sources {
		if s == args[0] {
			return nil
		}
	}
	if inner, err := find(args[0]); err == nil && inner.readOnly() {
		return inner
	}
	return nil
}

// isTable reports whether a stream consists of the frames of a live table.
func isTable(c *command, args []string, flags map[string]string) bool {
	if _, json := flags["json"]; json || !c.stream {
		return false
	}
	inner := watchedCommand(c, args) // an abbreviation may be a room; only the server knows
	return c.name == "top" || inner != nil && inner.name == args[0]
}

func watch(c *call) error {
	what := c.args[0]
	inner := watchedCommand(c.cmd, c.args)
	switch {
	case what == "log":
		return watchLog(c)
	case what == "events":
		return watchEvents(c, "", func(h *netsvc.Event) bool { return h.Seq == 0 })
	case what == "lines":
		return watchEvents(c, "", func(h *netsvc.Event) bool { return h.Seq != 0 })
	case inner != nil && inner.name == what:
		return c.repeat(inner)
	}
	r, err := c.Service.Room(what)
	switch {
	case err == nil && len(c.args) == 1:
		return watchEvents(c, r.Name, func(h *netsvc.Event) bool { return true })
	case inner != nil: // an abbreviated command; rooms come first
		return c.repeat(inner)
	case err == nil:
		return refuse("usage", "usage: %s", c.cmd.usage())
	}
	return err
}

// watchEvents writes events until the client ends it.
func watchEvents(c *call, room string, want func(*netsvc.Event) bool) error {
	if r := c.flags["room"]; r != "" {
		d, err := c.Service.Room(r)
		if err != nil {
			return err
		}
		room = d.Name
	}
	var from netip.Prefix
	addr, ofAddr := c.flags["addr"]
	if ofAddr {
		var err error
		if from, err = limit.ParseNetwork(addr); err != nil {
			return refuse("usage", "--addr takes an address or a network, not %q", addr)
		}
	}
	match := wire.Fold(c.flags["match"])
	w := c.Service.Watch(func(h *netsvc.Event) bool {
		if h.Type == "rename" && h.Text == room && room != "" {
			room = h.Room // calls are not concurrent
		}
		return want(h) && (room == "" || h.Room == room) &&
			(!ofAddr || remoteIn(h.Remote, from)) &&
			(match == "" || strings.Contains(wire.Fold(h.Text+" "+h.Member+" "+h.Type+" "+h.Cause+" "+h.By), match))
	})
	defer w.Close()
	return streamEvents(c, w.C, c.formatEvent, w.Missed)
}

// streamEvents writes the values of a channel, formatted by shown, until the client ends it.
// missed returns the number of dropped values since its last call.
func streamEvents[T any](c *call, from <-chan T, shown func(T) string, missed func() uint64) error {
	if err := c.out.w.Flush(); err != nil {
		return err
	}
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case v := <-from:
			if err := c.out.event(v, shown(v), len(from) == 0); err != nil {
				return err
			}
			if n := missed(); n > 0 {
				if err := c.out.event(map[string]uint64{"missed": n}, fmt.Sprintf("(%s not shown: they came too fast)", count(n, "event")), true); err != nil {
					return err
				}
			}
		}
	}
}

// remoteIn reports whether an address, with or without a port, is in a network.
func remoteIn(remote string, of netip.Prefix) bool {
	if at, err := netip.ParseAddrPort(remote); err == nil {
		return of.Contains(at.Addr().Unmap().WithZone(""))
	}
	p, err := limit.ParseNetwork(remote)
	return err == nil && of.Overlaps(p)
}

// formatEvent formats an event for people.
func (c *call) formatEvent(h netsvc.Event) string {
	when := c.out.colorize(faint, h.Time.Local().Format("15:04:05")) + " "
	member, text, room := netsvc.Printable(h.Member), netsvc.Printable(h.Text), netsvc.Printable(h.Room)
	switch h.Type {
	case string(wire.TypeMessage), string(wire.TypeAction), string(wire.TypeTopic):
		return when + room + " " + formatLine(h.Type, member, text, func(nick string) string { return c.out.colorize(bold, nick) })
	case string(wire.TypeNick): // in the form of the console, and not in that of members
		return when + room + " * " + member + " is " + text + " now"
	case string(wire.TypeNotice):
		return when + strings.TrimSpace(cmp.Or(room, "every room")+" * operator: "+text)
	}
	words := []string{c.out.colorize(yellow, h.Type)}
	for _, w := range []string{room, member, h.Remote, h.By, text, h.Cause} {
		if w != "" {
			words = append(words, netsvc.Printable(w))
		}
	}
	return when + strings.Join(words, "  ")
}

func watchLog(c *call) error {
	w, err := c.Log.watch(c.flags["level"], c.flags["match"])
	if err != nil {
		return err
	}
	defer w.close()
	return streamEvents(c, w.lines, func(l logLine) string {
		color := map[string]string{"error": red, "warn": yellow}[l.Level]
		return c.out.colorize(color, netsvc.Printable(l.Text))
	}, func() uint64 { return w.missed.Swap(0) })
}

// frames calls draw for each frame. For people a frame begins with an empty line, which no
// other answer contains, so that a client can clear its screen there.
func (c *call) frames(draw func(*output) error) error {
	tick := time.NewTicker(c.times["every"])
	defer tick.Stop()
	for {
		if err := c.frame(draw); err != nil {
			return err
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *call) frame(draw func(*output) error) error {
	now := time.Now()
	if !c.out.json {
		c.out.styledLine("")
		c.out.styledLine(c.out.colorize(faint, now.Format("15:04:05")+"  "+netsvc.Printable(strings.TrimPrefix(strings.TrimPrefix(c.line, "--"+pageFlag+" "), "--"+colorFlag+" "))))
		if err := draw(c.out); err != nil {
			return err
		}
		return c.out.w.Flush()
	}
	// One object on one line, whatever the command writes.
	var text bytes.Buffer
	inner := &output{w: bufio.NewWriter(&text), json: true}
	if err := errors.Join(draw(inner), inner.end(), inner.w.Flush()); err != nil {
		return err
	}
	value := json.RawMessage(bytes.TrimSpace(text.Bytes()))
	if inner.yielded > 1 {
		value = json.RawMessage("[" + strings.ReplaceAll(string(value), "\n", ",") + "]")
	}
	return c.out.event(struct {
		Time  time.Time       `json:"time"`
		Value json.RawMessage `json:"value"`
	}{now.UTC(), value}, "", true)
}

// repeat runs a command at an interval.
func (c *call) repeat(inner *command) error {
	if c.has("full") {
		return refuse("usage", "doctor --full reads the whole database; watch cannot repeat it")
	}
	flags := make(map[string]string)
	for name, v := range c.flags {
		if f, err := inner.flag(name, nil); err == nil && f.name == name {
			flags[name] = v
		} else if name != "every" {
			return refuse("usage", "%s has no flag --%s; help %s lists its flags", inner.name, name, inner.name)
		}
	}
	args := c.args[1:]
	if !inner.fits(args) {
		return refuse("usage", "usage: watch %s", inner.usage())
	}
	return c.frames(func(out *output) error {
		again := *c
		again.cmd, again.args, again.flags, again.out = inner, args, flags, out
		var end func()
		again.ctx, end = c.Service.UntilStop(c.ctx)
		defer end()
		if err := again.bind(); err != nil {
			return err
		}
		return inner.run(&again)
	})
}

// top writes the ten busiest rooms at an interval.
func top(c *call) error {
	type row struct {
		Name    string  `json:"name"`
		State   string  `json:"state"`
		Members int     `json:"members"`
		Lagging int     `json:"lagging"`
		Worst   uint64  `json:"worst"` // pending events of the slowest member
		Rate    float64 `json:"rate"`  // lines a minute
	}
	before, at := c.Service.Counters(), time.Now()
	return c.frames(func(out *output) error {
		all := c.Service.Rooms()
		members := 0
		for _, r := range all {
			members += r.Members
		}
		if err := sortBy(all, "rate"); err != nil {
			return err
		}
		rows := []row{}
		for _, r := range all[:min(10, len(all))] {
			rows = append(rows, row{r.Name, r.State, r.Members, r.Lagging, r.Worst, r.Rate})
		}
		if !out.json {
			now, since := c.Service.Counters(), time.Since(at).Seconds()
			per := func(a, b uint64) string { return thousands(uint64(float64(b-a)/max(since, 0.001) + 0.5)) }
			err := out.line(fmt.Sprintf("%s in %s, %s lines/s, %s deliveries/s, %s/s", count(members, "member"), count(len(all), "room"),
				per(before.Lines, now.Lines), per(before.Deliveries, now.Deliveries), cellText("bytes", uint64(float64(now.Bytes-before.Bytes)/max(since, 0.001)))))
			if err != nil {
				return err
			}
			before, at = now, time.Now()
		}
		return out.list(rows)
	})
}
