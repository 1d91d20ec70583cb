package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"roomd/netsvc"
	"roomd/store"
)

// Server is what the commands work on. Its fields are set before it is used.
type Server struct {
	Service *netsvc.Service
	Store   *store.Store
	Log     *Tap
	Stop    func()           // begins to stop the server
	Config  func() []Setting // the configuration in effect
	// Reload reads the configuration again; dry: only says what it would do.
	Reload func(dry bool) ([]Change, error)
	// Upgrade has a process of the binary, or of the one now on disk for "", take
	// over. After nil the server must not be used any more; dry only finds out
	// whether it could.
	Upgrade func(ctx context.Context, binary string, dry bool) (Upgrade, error)
	// Dropped tells how many lines of the log could not be written, and for how
	// long the next one has not been taken; 0: nothing waits. nil: there is no log.
	Dropped func() (lines uint64, waits time.Duration)
	// Certificate is the one in use; nil, or a nil func: there is none.
	Certificate func() *Certificate
	Version     string
	From        string        // the file of the configuration
	Addresses   func() string // of the master port
	Data        string        // the database's file
	// Files, if not nil, are further files of the server that no backup may replace.
	Files func() []string
	Group string // who else may use the socket at first; empty: nobody

	group atomic.Pointer[string] // by SetAccess
	plans plans
}

// Certificate is what clients of TLS are shown.
type Certificate struct {
	File    string
	Expires time.Time
	Since   time.Time // when it was taken up
	Holds   bool      // now
	Trouble string    // that it expires soon, or does not hold; empty: neither
	Failed  string    // why its files, which have changed, cannot be used; empty: they can
}

// certificate is the one in use; nil: there is none.
func (s *Server) certificate() *Certificate {
	if s.Certificate == nil {
		return nil
	}
	return s.Certificate()
}

// Setting is a key of the configuration in effect.
type Setting struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Changed bool   `json:"changed"` // differs from the default
}

// Caller is who gives a command.
type Caller struct {
	UID  int // -1: not known
	User string
	Door string // the way the command came in; empty: the admin socket
}

// command is a row of the table.
type command struct {
	name    string
	args    string // as shown in usage; words in brackets may be left out
	short   string
	example string
	flags   []flag // beside --json, which every command has
	changes bool   // is written to the audit
	stream  bool   // goes on until it is ended
	console bool   // is for the console's prompt only, which carries it out
	group   string // where help lists it
	run     func(*call) error
}

// looks reports whether a command only looks, and comes to an end: then it can
// be watched.
func (c *command) looks() bool { return !c.changes && !c.stream && !c.console }

// flag is an option of a command. Without arg it is a switch.
type flag struct{ name, arg, short string }

var (
	yesFlag      = flag{"yes", "", "do it without asking"}
	tokenFlag    = flag{"token", "TOKEN", "do it if nothing has changed since it was asked"}
	dryFlag      = flag{"dry-run", "", "say what would be done, and do nothing"}
	sayFlag      = flag{"say", "TEXT", "tell them this first"}
	forFlag      = flag{"for", "TIME", "for so long, like 1h; otherwise until it is lifted"}
	whyFlag      = flag{"why", "TEXT", "the reason, shown to the banned client"}
	roomFlag     = flag{"room", "ROOM", "in this room only"}
	sinceFlag    = flag{"since", "WHEN", "after this sequence number, or within this time, like 1h"}
	relativeFlag = flag{"relative", "", "times as how long ago they were"}
	countFlag    = flag{"n", "N", "how many at most"}
)

const sortText = "sort by this, or by another column, the largest or latest first"

// call is one run of a command.
type call struct {
	*Server
	ctx    context.Context // done when the client has had enough
	caller Caller
	line   string // as it was given
	cmd    *command
	args   []string
	flags  map[string]string
	out    *output
	looked bool   // a command that may change something has only looked
	did    string // what the audit says of it instead of "done"
}

// refusal is an error for the operator.
type refusal struct{ code, text string }

func (e *refusal) Error() string { return e.text }

func refuse(code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// question is asked before something is destroyed.
type question struct{ token, text string }

func (q *question) Error() string { return q.text }

// confirm returns nil if the operator has agreed to what text says. state is
// what the answer depends on: a token is void once it has changed.
func (c *call) confirm(text string, state ...any) error {
	sum := sha256.Sum256(fmt.Append(nil, c.cmd.name, c.args, state))
	token := fmt.Sprintf("%x", sum[:4])
	if err := c.would("%s", text); err != nil {
		return err
	}
	if _, yes := c.flags["yes"]; yes {
		return nil
	}
	given, ok := c.flags["token"]
	switch {
	case ok && given == token:
		return nil
	case ok:
		return refuse("changed", "things have changed since that token was given; %s", text)
	}
	return &question{token, text}
}

// would comes before what is done: it returns errDry, and has said what would be
// done, if the operator only wants to know.
func (c *call) would(format string, args ...any) error {
	if _, dry := c.flags["dry-run"]; !dry {
		return nil
	}
	return errors.Join(c.out.text(format, args...), errDry)
}

var errDry = errors.New("nothing was done")

// find returns the command that a word means, which may be abbreviated.
func find(word string) (*command, error) {
	var found []*command
	for i := range table {
		if table[i].name == word {
			return &table[i], nil
		}
		if strings.HasPrefix(table[i].name, word) {
			found = append(found, &table[i])
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		var names []string
		for i := range table {
			names = append(names, table[i].name)
		}
		return nil, refuse("usage", "there is no command %q%s; help lists them", word, strings.TrimSuffix(didYouMean(word, names), "?"))
	}
	var names []string
	for _, f := range found {
		names = append(names, f.name)
	}
	return nil, refuse("usage", "%q may be %s", word, strings.Join(names, " or "))
}

// fullUsage is usage with the flags of the command.
func (c *command) fullUsage() string {
	text := c.usage()
	for _, f := range c.flags {
		text += " [" + strings.TrimSpace(dashed(f.name)+" "+f.arg) + "]"
	}
	return text
}

// dashed is a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func (c *command) usage() string { return strings.TrimSpace(c.name + " " + c.args) }

// colorFlag is for our own clients, and not shown: their terminal has colours.
const colorFlag = "color"

// allFlags are a command's flags, those included that every such command has.
func (c *command) allFlags() []flag {
	all := slices.Clone(c.flags)
	switch {
	case c.changes:
		all = append(all, dryFlag)
	case !c.console:
		all = append(all, relativeFlag)
	}
	return append(all, flag{"json", "", "as JSON"})
}

// flag finds the flag that a word means, which may be abbreviated. Those of the
// command that a watch repeats are its own too.
func (c *command) flag(word string, args []string) (flag, error) {
	all := append(c.allFlags(), flag{name: colorFlag})
	if c.name == "backup" {
		all = append(all, flag{name: filesFlag, arg: "IDENTITIES"})
	}
	if inner := watched(c, args); inner != nil {
		all = append(all, inner.allFlags()...)
	}
	var names []string
	for _, f := range all {
		if f.name == word {
			return f, nil
		}
		if strings.HasPrefix(f.name, word) && f.name != colorFlag && f.name != filesFlag && !slices.Contains(names, "--"+f.name) {
			names = append(names, "--"+f.name)
		}
	}
	switch len(names) {
	case 1:
		return c.flag(names[0][2:], args)
	case 0:
		var known []string
		for _, f := range all {
			if f.name != colorFlag {
				known = append(known, "--"+f.name)
			}
		}
		return flag{}, refuse("usage", "%s has no --%s%s; help %s lists what it has", c.name, word, strings.TrimSuffix(didYouMean("--"+word, known), "?"), c.name)
	}
	return flag{}, refuse("usage", "--%s may be %s", word, strings.Join(names, " or "))
}

// parse reads a line into a command, its arguments and its flags.
func parse(line string) (*command, []string, map[string]string, error) {
	words, err := split(line)
	if err != nil {
		return nil, nil, nil, err
	}
	// What a client of ours adds stands in front, as a "--" may be in the line.
	n := 0
	for n < len(words) && strings.HasPrefix(words[n], "--") {
		n++
	}
	if len(words) == n {
		return nil, nil, nil, refuse("usage", "the line is empty; help lists the commands")
	}
	cmd, err := find(words[n])
	if err != nil {
		return nil, nil, nil, err
	}
	words = slices.Concat(words[:n], words[n+1:])
	var args []string
	flags := make(map[string]string)
	for i := 0; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' || w[1] >= '0' && w[1] <= '9' {
			args = append(args, w)
			continue
		}
		if w == "--" {
			args = append(args, words[i+1:]...)
			break
		}
		if w == "--help" || w == "-h" { // as every other program has it
			about, err := find("help")
			return about, []string{cmd.name}, flags, err
		}
		name, value, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
		f, err := cmd.flag(name, args)
		switch {
		case err != nil:
			return nil, nil, nil, err
		case f.arg == "" && has:
			return nil, nil, nil, refuse("usage", "--%s takes no value", f.name)
		case f.arg != "" && !has:
			if i++; i == len(words) {
				return nil, nil, nil, refuse("usage", "%s needs a value: %s %s", dashed(f.name), dashed(f.name), f.arg)
			}
			value = words[i]
		}
		flags[f.name] = value
	}
	least, most := arity(cmd.args)
	if len(args) < least || len(args) > most {
		return nil, nil, nil, refuse("usage", "usage: %s", cmd.fullUsage())
	}
	return cmd, args, flags, nil
}

// arity is how many arguments a usage like "ROOM [TEXT...]" allows.
func arity(usage string) (least, most int) {
	for _, w := range strings.Fields(usage) {
		most++
		if !strings.HasPrefix(w, "[") {
			least++
		}
		if strings.HasSuffix(strings.TrimSuffix(w, "]"), "...") {
			most = 1 << 20
		}
	}
	return least, most
}

// split cuts a line into words; quotes of either kind keep spaces, and in
// double quotes a backslash keeps the next character.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote, escaped := false, rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quote == '"' && r == '\\':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 || escaped {
		return nil, refuse("usage", "a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// Join is the opposite of split: a line of these words.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\"'\\") {
			quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// recovered makes a fault in what an operator has asked for an error: the server
// goes on.
func (s *Server) recovered(line string, err *error) {
	if fault := recover(); fault != nil {
		slog.New(s.Log).Error("a fault in roomd; the server goes on, please report it", "in", line, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
		*err = fmt.Errorf("a fault in roomd, which its log tells of: %v", fault)
	}
}

// execute runs a line. The error, if it is not for the operator, is the
// server's.
func (s *Server) execute(ctx context.Context, who Caller, line string, out *output) (err error) {
	defer s.recovered(line, &err)
	cmd, args, flags, err := parse(line)
	if err != nil {
		return err
	}
	_, out.json = flags["json"]
	_, out.color = flags[colorFlag]
	_, out.relative = flags["relative"]
	out.stream = cmd.stream
	c := &call{Server: s, ctx: ctx, caller: who, line: line, cmd: cmd, args: args, flags: flags, out: out}
	about := c.room()
	_, raw := flags[filesFlag]
	err = cmd.run(c)
	var ask *question
	if cmd.changes && !c.looked && !errors.As(err, &ask) && !errors.Is(err, errDry) {
		if failed := s.record(who, about, line, cmp.Or(c.did, resultOf(err))); failed != nil && err == nil && !out.json && !raw {
			// What is done is done: that is what the answer says, but for one that a
			// program reads.
			err = out.text("the audit lacks this, as it could not be written; the log has it")
		}
	}
	if errors.Is(err, errDry) {
		return nil
	}
	if err != nil {
		return err
	}
	return out.end()
}

// room is the room that a command is about; empty: it is about none.
func (c *call) room() string {
	if !strings.HasPrefix(c.cmd.args, "ROOM") || len(c.args) == 0 {
		return ""
	}
	if r, err := c.Service.Room(c.args[0]); err == nil {
		return r.Name
	}
	return c.args[0]
}

func resultOf(err error) string {
	if err != nil {
		return err.Error()
	}
	return "done"
}

// Record tells the log, the audit and the watchers of a command that did not come
// in at the socket, and what came of it.
func (s *Server) Record(who Caller, line, result string) {
	_ = s.record(who, "", line, result) // the log has what the audit lacks
}

// record tells the log and the watchers what somebody did and what came of it, and
// keeps it in the audit: if that is not possible, the log says so.
func (s *Server) record(who Caller, room, line, result string) error {
	door := cmp.Or(who.Door, store.DoorAdmin)
	for strings.HasPrefix(line, "--") { // what a client of ours has added
		_, line, _ = strings.Cut(line, " ")
	}
	slog.New(s.Log).Info("operator", "user", who.User, "uid", who.UID, "door", door, "command", netsvc.Printable(line), "result", netsvc.Printable(result))
	now := time.Now().UTC()
	s.Service.Publish(netsvc.Happening{Time: now, Type: "command", Room: room, By: who.User, Door: door, Text: line, Cause: result})
	a := store.Audit{Time: now, UID: who.UID, User: who.User, Door: door, Line: line, Result: result}
	err := s.Store.AddAudit(a)
	if errors.Is(err, store.ErrClosed) { // by the command itself
		return nil
	}
	if err != nil {
		slog.New(s.Log).Error("the audit could not be written", "line", netsvc.Printable(a.Line), "error", err)
	}
	return err
}

// RecordStop is Record for what cannot be kept afterwards. A disk that does not
// answer is not waited for.
func (s *Server) RecordStop(who Caller, line string) {
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.Record(who, line, "done")
	}()
	t := time.NewTimer(auditTime)
	defer t.Stop()
	select {
	case <-kept:
	case <-t.C:
	}
}

// auditTime bounds how long a stop waits for its entry in the audit.
const auditTime = time.Second

// number reads a flag that is a number.
func (c *call) number(name string, otherwise int) (int, error) {
	v, ok := c.flags[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, refuse("usage", "%s takes a number of 1 or more, not %q", dashed(name), v)
	}
	return n, nil
}

// duration reads a flag that is a time.
func (c *call) duration(name string) (time.Duration, error) {
	v, ok := c.flags[name]
	if !ok {
		return 0, nil
	}
	d, err := ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, refuse("usage", "--%s takes a time like 30s, 5m, 24h or 30d, not %q", name, v)
	}
	return d, nil
}
