package admin

import (
	"fmt"
	"slices"
	"strings"
)

// table is every command, in the order of help.
var table []command

// The table refers to help, which lists the table: it is filled here so that
// the two can be written in their place.
func init() {
	table = slices.Concat(lookCommands, []command{doctorCommand}, watchCommands, roomCommands, peopleCommands, serverCommands)
}

var serverCommands = []command{
	{name: "config", short: "the configuration in effect", example: "config --json", run: func(c *call) error {
		return c.out.list(c.Config())
	}},
	reloadCommand,
	{name: "loglevel", args: "[debug|info|warn|error]", short: "show or set what is logged", example: "loglevel debug", changes: true, run: func(c *call) error {
		if c.looked = len(c.args) == 0; !c.looked {
			if err := c.Log.SetLevel(c.args[0]); err != nil {
				return refuse("usage", "%v", err)
			}
		}
		return c.out.text("the log level is %s", c.Log.Level())
	}},
	{name: "stop", short: "stop the server", example: "stop --say 'back in five minutes'", changes: true,
		flags: []flag{yesFlag, tokenFlag, dryFlag, sayFlag}, run: stop},
	{name: "audit", short: "who changed what, and when", example: "audit --since 24h",
		flags: []flag{{"since", "TIME", "within this time, like 24h"}, {"match", "TEXT", "with this in the line"}, countFlag}, run: audit},
	{name: "version", short: "which roomd this is", example: "version", run: func(c *call) error {
		return c.out.one(struct {
			Version string `json:"version"`
		}{c.Version})
	}},
	{name: "complete", args: "LINE", short: "the words that may end a line, for consoles", example: "complete 'room lo'", run: func(c *call) error {
		for _, w := range c.complete(c.args[0]) {
			if err := c.out.text("%s", w); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "help", args: "[COMMAND]", short: "the commands, or one of them", example: "help delete", run: help},
}

func stop(c *call) error {
	st := c.Service.Status()
	text := fmt.Sprintf("stops the server: %s in %s", count(st.Members, "member"), count(st.Rooms, "room"))
	if err := c.confirm(text, st.Started); err != nil {
		return err
	}
	if say := c.flags["say"]; say != "" {
		if _, err := c.Service.Say("", say); err != nil {
			return err
		}
	}
	if err := c.out.text("stopping"); err != nil {
		return err
	}
	c.Server.Stop()
	return nil
}

func audit(c *call) error {
	since, err := c.duration("since")
	if err != nil {
		return err
	}
	n, err := c.number("n", 100)
	if err != nil {
		return err
	}
	return auditOf(c.Store, c.out, since, c.flags["match"], n)
}

// help lists the commands, or explains one.
func help(c *call) error {
	type row struct {
		Command string `json:"command"`
		Does    string `json:"does"`
	}
	if len(c.args) == 0 {
		var rows []row
		for i := range table {
			rows = append(rows, row{table[i].usage(), table[i].short})
		}
		return c.out.list(rows)
	}
	cmd, err := find(c.args[0])
	if err != nil {
		return err
	}
	type option struct {
		Flag string `json:"flag"`
		Does string `json:"does"`
	}
	about := struct {
		Usage   string   `json:"usage"`
		Does    string   `json:"does"`
		Example string   `json:"example"`
		Flags   []option `json:"flags"`
	}{cmd.usage(), cmd.short, cmd.example, nil}
	for _, f := range append(append([]flag(nil), cmd.flags...), flag{"json", "", "as JSON"}) {
		about.Flags = append(about.Flags, option{strings.TrimSpace("--" + f.name + " " + f.arg), f.short})
	}
	if c.out.json {
		return c.out.one(about)
	}
	c.out.text("%s: %s", about.Usage, about.Does)
	for _, f := range about.Flags {
		c.out.text("  %-16s %s", f.Flag, f.Does)
	}
	return c.out.text("for example: %s", about.Example)
}

// count is a number with its noun.
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
