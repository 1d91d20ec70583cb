package admin

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table lists all commands, in the order of help.
var table []command

// The command help refers to the table. So the table is filled here, to avoid an
// initialization cycle.
func init() {
	for _, g := range []struct {
		name     string
		commands []command
	}{{"look", lookCommands}, {"look", []command{doctorCommand}}, {"watch", watchCommands}, {"rooms", roomCommands}, {"people", peopleCommands}, {"server", keepCommands}, {"server", serverCommands}} {
		for _, c := range g.commands {
			if c.group = g.name; c.console {
				c.group = "console"
			}
			table = append(table, c)
		}
	}
}

var serverCommands = []command{
	{name: "config", short: "Show the configuration in effect", about: "CHANGED marks the values that differ from the default.", example: "config --json", run: func(c *call) error {
		return c.out.list(c.Config())
	}},
	reloadCommand,
	upgradeCommand,
	{name: "loglevel", args: []param{levelArg.asOptional()}, short: "Show or set the log level until the server stops", example: "loglevel debug", changes: true, getOrSet: true, run: func(c *call) error {
		if !c.skipAudit {
			level := strings.ToLower(c.args[0])
			if err := c.dryRun("the log level would be %s instead of %s", level, c.Log.Level()); err != nil {
				return err
			}
			if err := c.Log.SetLevel(level); err != nil {
				return err
			}
		}
		return c.out.text("the log level is %s", c.Log.Level())
	}},
	{name: "stop", short: "Stop the server and wait until it has stopped", about: "All members are disconnected. Rooms and lines stay. --in plans the stop and returns at once.", example: "stop --in 60s --say 'back in five minutes'", changes: true,
		flags: []flag{yesFlag, tokenFlag, sayFlag, inFlag, cancelFlag}, run: stop},
	{name: "audit", short: "List the commands that changed something", example: "audit --since 24h --by ann",
		flags: []flag{sinceFlag, {"by", param{name: "USER"}, "only by this user, uid or address"}, {"match", textValue, "only lines with this text"}, limitFlag("100")}, run: audit},
	{name: "version", short: "Show the version of the server", example: "version", run: func(c *call) error {
		return c.out.value(struct {
			Version string `json:"version"`
		}{c.Version})
	}},
	{name: "complete", args: []param{{name: "LINE"}}, short: "List the words that can end a line, for consoles", example: "complete 'room lo'", run: func(c *call) error {
		for _, w := range c.completions(c.args[0]) {
			if err := c.out.text("%s", w); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "help", args: []param{param{name: "COMMAND", complete: func(*Server, []string) []string { return commandNames() }}.asOptional()}, short: "List the commands, or explain one", example: "help delete", run: help},
	{name: "history", short: "List the lines typed before, the newest last", example: "history", console: true, run: consoleOnly},
	{name: "quit", short: "Leave the console", about: "Ctrl-D does the same. In serve --console it stops the server.", example: "quit", console: true, run: consoleOnly},
}

func consoleOnly(c *call) error {
	return refuse("usage", "%s works only at the prompt of the console, which roomd admin opens", c.cmd.name)
}

func stop(c *call) error {
	p := new(plan)
	if c.has("cancel") {
		return c.cancelPlan(p)
	}
	st := c.Service.Status()
	text := fmt.Sprintf("stops the server%s: %s in %s; rooms and lines stay", c.inText(), count(st.Members, "member"), count(st.Rooms, "room"))
	if err := c.confirm(text, st.Started); err != nil {
		return err
	}
	if planned, err := c.schedulePlan(p); planned {
		return err
	}
	if say := c.flags["say"]; say != "" {
		if _, err := c.Service.Say("", say); err != nil {
			return err
		}
	}
	if err := errors.Join(c.out.text("stopping; waiting until the server has stopped"), c.out.w.Flush()); err != nil {
		return err
	}
	c.skipAudit = true // the audit has it before the database is closed
	c.addStopWaiter(c.out.conn)
	c.plans.forget(c.plans.get(0))
	c.beginStop(c.caller, c.line)
	return nil
}

// addStopWaiter keeps a connection open until Stopped writes the verdict.
func (s *Server) addStopWaiter(conn net.Conn) {
	if conn == nil {
		return
	}
	s.stopMu.Lock()
	defer s.stopMu.Unlock()
	s.stopWaiters = append(s.stopWaiters, conn)
	conn.SetReadDeadline(time.Unix(1, 0)) // it gives no further commands
}

// isStopWaiter reports whether a connection is kept open until the server has stopped.
func (s *Server) isStopWaiter(conn net.Conn) bool {
	s.stopMu.Lock()
	defer s.stopMu.Unlock()
	return slices.Contains(s.stopWaiters, conn)
}

// Stopped answers the clients that told the server to stop. nil means that everything has
// ended and the database is closed. The process must end afterwards.
func (s *Server) Stopped(err error) {
	if err != nil {
		err = refuse("refused", "the server has stopped, but with an error: %v", err)
	}
	s.stopMu.Lock()
	defer s.stopMu.Unlock()
	for _, conn := range s.stopWaiters {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		w := bufio.NewWriter(conn)
		writeVerdict(w, err)
		w.Flush() // the client may have gone
		conn.Close()
	}
	s.stopWaiters = nil
}

// beginStop begins to stop the server, and removes the planned stop. If the disk is too slow
// for that, the next start drops the plan.
func (s *Server) beginStop(who Caller, line string) {
	runWithin(auditTimeout, func() {
		s.Record(who, line, "done")
		if err := s.Store.EndPlan(0); err != nil {
			slog.New(s.Log).Error("planned stop could not be removed from the database; the next start drops it", "error", err)
		}
	})
	s.Stop()
}

func audit(c *call) error {
	return auditOf(c.ctx, c.Store, c.out, c.sinceTime(), c.flags["by"], c.flags["match"], c.numbers["n"])
}

// commandInfo describes a command for programs, which can make a form of it.
type commandInfo struct {
	Group   string      `json:"group"`
	Command string      `json:"command"` // its usage
	Name    string      `json:"name"`
	Does    string      `json:"does"`
	About   string      `json:"about,omitempty"`
	Example string      `json:"example"`
	Args    []paramInfo `json:"args"`
	Flags   []flagInfo  `json:"flags"`
	Changes bool        `json:"changes"`
	Stream  bool        `json:"stream"`
	Console bool        `json:"console"` // only the prompt of the console has it
}

type paramInfo struct {
	Name     string `json:"name"` // kinds of words, divided by |; a kind in lower case is a word
	Optional bool   `json:"optional"`
	Several  bool   `json:"several"` // all following words
}

type flagInfo struct {
	Flag    string `json:"flag"`            // as it is typed, with its value
	Name    string `json:"name"`            // with its dashes
	Value   string `json:"value,omitempty"` // the name of its value
	Does    string `json:"does"`
	Default string `json:"default,omitempty"`
}

// info describes the command.
func (c *command) info() commandInfo {
	return commandInfo{
		Group: c.group, Command: c.usage(), Name: c.name, Does: c.short, About: strings.TrimSpace(c.about), Example: c.example,
		Args: mapSlice(c.args, func(p param) paramInfo { return paramInfo{p.name, p.optional, p.variadic} }),
		Flags: mapSlice(c.allFlags(), func(f flag) flagInfo {
			return flagInfo{f.usage(), dashed(f.name), f.arg.name, f.does(), f.arg.otherwise}
		}),
		Changes: c.changes, Stream: c.stream, Console: c.console,
	}
}

// help lists the commands, or explains one.
func help(c *call) error {
	if len(c.args) == 0 && c.out.json {
		return c.out.list(mapSlice(table, func(cmd command) commandInfo { return cmd.info() }))
	}
	if len(c.args) == 0 {
		group := ""
		for _, cmd := range table {
			if cmd.group != group {
				group = cmd.group
				c.out.text("%s:", group)
			}
			for l := range strings.Lines(cmd.summary()) {
				c.out.text("  %s", strings.TrimSuffix(l, "\n"))
			}
		}
		return c.out.text("help COMMAND explains one; commands and flags may be abbreviated")
	}
	cmd, err := find(c.args[0])
	if err != nil {
		return err
	}
	about := cmd.info()
	if c.out.json {
		return c.out.value(about)
	}
	c.out.text("usage: %s [FLAG...]", about.Command)
	for l := range strings.Lines(strings.TrimSpace(cmd.short + ". " + cmd.about)) {
		c.out.text("%s", strings.TrimRight(l, " \n"))
	}
	c.out.rows(mapSlice(about.Flags, func(f flagInfo) []string { return []string{"  " + f.Flag, f.Does} }))
	return c.out.text("example: %s", about.Example)
}

// count returns a number with its noun: "1 room", "1,200 rooms".
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(uint64(n)) + " " + noun + "s"
}

// thousands returns a number with separators: 12,412.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
