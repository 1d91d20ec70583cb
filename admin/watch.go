package admin

import (
	"fmt"
	"strings"
	"time"

	"roomd/netsvc"
)

var watchCommands = []command{
	{name: "watch", args: "ROOM|events|log", short: "what happens from now on, until you have had enough", example: "watch lobby", stream: true,
		flags: []flag{roomFlag, {"addr", "ADDR", "of this address only"}, {"match", "TEXT", "with this text only"}, {"level", "LEVEL", "log lines of this level or above"}}, run: watch},
	{name: "top", short: "the busiest rooms, again and again", example: "top --every 5s", stream: true,
		flags: []flag{{"every", "TIME", "how often; 2s"}}, run: top},
}

func watch(c *call) error {
	switch c.args[0] {
	case "log":
		return watchLog(c)
	case "events":
		return watchEvents(c, "", func(h *netsvc.Happening) bool { return h.Seq == 0 })
	}
	r, err := c.Service.Room(c.args[0])
	if err != nil {
		return err
	}
	return watchEvents(c, r.Name, func(h *netsvc.Happening) bool { return true })
}

// watchEvents yields happenings until the client ends it.
func watchEvents(c *call, room string, want func(*netsvc.Happening) bool) error {
	if r := c.flags["room"]; r != "" {
		d, err := c.Service.Room(r)
		if err != nil {
			return err
		}
		room = d.Name
	}
	addr, match := c.flags["addr"], strings.ToLower(c.flags["match"])
	w := c.Service.Watch(func(h *netsvc.Happening) bool {
		return want(h) && (room == "" || h.Room == room) &&
			(addr == "" || h.Remote == addr || strings.HasPrefix(h.Remote, addr+":") || strings.HasPrefix(h.Remote, "["+addr+"]:")) &&
			(match == "" || strings.Contains(strings.ToLower(h.Text+" "+h.Member+" "+h.Type+" "+h.Cause), match))
	})
	defer w.Close()
	if err := c.out.w.Flush(); err != nil {
		return err
	}
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case h := <-w.C:
			if err := c.out.each(h, happened(h)); err != nil {
				return err
			}
			if n := w.Missed(); n > 0 {
				if err := c.out.each(map[string]uint64{"missed": n}, fmt.Sprintf("(%d more than could be shown)", n)); err != nil {
					return err
				}
			}
		}
	}
}

// happened is a happening for people.
func happened(h netsvc.Happening) string {
	when := h.Time.Local().Format("15:04:05 ")
	switch h.Type {
	case "message":
		return when + h.Room + " <" + h.Member + "> " + h.Text
	case "action":
		return when + h.Room + " <" + h.Member + "> * " + h.Text
	case "topic":
		return when + h.Room + " * " + h.Member + " set the topic: " + h.Text
	}
	words := []string{h.Type}
	for _, w := range []string{h.Room, h.Member, h.Remote, h.Cause, h.Text} {
		if w != "" {
			words = append(words, w)
		}
	}
	return when + strings.Join(words, "  ")
}

func watchLog(c *call) error {
	w, err := c.Log.watch(c.flags["level"])
	if err != nil {
		return refuse("usage", "%v", err)
	}
	defer w.close()
	if err := c.out.w.Flush(); err != nil {
		return err
	}
	match := strings.ToLower(c.flags["match"])
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case l := <-w.c:
			if !strings.Contains(strings.ToLower(l.Text), match) {
				continue
			}
			if err := c.out.each(l, l.Text); err != nil {
				return err
			}
		}
	}
}

// top yields the ten busiest rooms every so often.
func top(c *call) error {
	every, err := c.duration("every")
	if err != nil {
		return err
	}
	if every == 0 {
		every = 2 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		all := c.Service.Rooms()
		if err := sortBy(all, "rate"); err != nil {
			return err
		}
		st := c.Service.Status()
		if !c.out.json {
			c.out.line(fmt.Sprintf("%s  %s  %s", time.Now().Format("15:04:05"), count(st.Members, "member"), count(st.Rooms, "room")))
		}
		type row struct {
			Name    string  `json:"name"`
			Members int     `json:"members"`
			Lagging int     `json:"lagging"`
			Rate    float64 `json:"rate"`
		}
		rows := []row{}
		for _, r := range all[:min(10, len(all))] {
			rows = append(rows, row{r.Name, r.Members, r.Lagging, r.Rate})
		}
		if err := c.out.list(rows); err != nil {
			return err
		}
		if err := c.out.w.Flush(); err != nil {
			return err
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
