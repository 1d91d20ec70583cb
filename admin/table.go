package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	Reload  func(dry bool) ([]Change, error)
	Version string
	Data    string // the database's file
	Group   string // who else may use the socket at first; empty: nobody

	group atomic.Pointer[string] // by SetAccess
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
	UID  int
	User string
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
	run     func(*call) error
}

// flag is an option of a command. Without arg it is a switch.
type flag struct{ name, arg, short string }

var (
	yesFlag   = flag{"yes", "", "do it without asking"}
	tokenFlag = flag{"token", "TOKEN", "do it if nothing has changed since it was asked"}
	dryFlag   = flag{"dry-run", "", "say what would be done, and do nothing"}
	sayFlag   = flag{"say", "TEXT", "tell them this first"}
	forFlag   = flag{"for", "TIME", "for so long, like 1h; otherwise until it is lifted"}
	whyFlag   = flag{"why", "TEXT", "the reason, shown to who is banned"}
	roomFlag  = flag{"room", "ROOM", "in this room only"}
	sinceFlag = flag{"since", "WHEN", "after this sequence number, or within this time, like 1h"}
	countFlag = flag{"n", "N", "how many at most"}
	sortFlag  = flag{"sort", "COLUMN", "sort by this column, the largest first"}
)

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
	looked bool // a command that may change something has only looked
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
	if _, dry := c.flags["dry-run"]; dry {
		return errors.Join(c.out.text("%s", text), errDry)
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
		return nil, refuse("usage", "there is no command %q; help lists them", word)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.name)
	}
	return nil, refuse("usage", "%q may be %s", word, strings.Join(names, " or "))
}

func (c *command) usage() string { return strings.TrimSpace(c.name + " " + c.args) }

func (c *command) flag(name string) (flag, bool) {
	if name == "json" {
		return flag{"json", "", "as JSON"}, true
	}
	i := slices.IndexFunc(c.flags, func(f flag) bool { return f.name == name })
	if i < 0 {
		return flag{}, false
	}
	return c.flags[i], true
}

// parse reads a line into a command, its arguments and its flags.
func parse(line string) (*command, []string, map[string]string, error) {
	words, err := split(line)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(words) == 0 {
		return nil, nil, nil, refuse("usage", "the line is empty; help lists the commands")
	}
	cmd, err := find(words[0])
	if err != nil {
		return nil, nil, nil, err
	}
	var args []string
	flags := make(map[string]string)
	for i := 1; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' || w[1] >= '0' && w[1] <= '9' {
			args = append(args, w)
			continue
		}
		if w == "--" {
			args = append(args, words[i+1:]...)
			break
		}
		name, value, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
		f, ok := cmd.flag(name)
		switch {
		case !ok:
			return nil, nil, nil, refuse("usage", "%s has no --%s; help %s lists what it has", cmd.name, name, cmd.name)
		case f.arg == "" && has:
			return nil, nil, nil, refuse("usage", "--%s takes no value", name)
		case f.arg != "" && !has:
			if i++; i == len(words) {
				return nil, nil, nil, refuse("usage", "--%s needs a value: --%s %s", name, name, f.arg)
			}
			value = words[i]
		}
		flags[name] = value
	}
	least, most := arity(cmd.args)
	if len(args) < least || len(args) > most {
		return nil, nil, nil, refuse("usage", "that is not how it is used: %s", cmd.usage())
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

// execute runs a line. The error, if it is not for the operator, is the
// server's.
func (s *Server) execute(ctx context.Context, who Caller, line string, out *output) error {
	cmd, args, flags, err := parse(line)
	if err != nil {
		return err
	}
	_, out.json = flags["json"]
	out.stream = cmd.stream
	c := &call{Server: s, ctx: ctx, caller: who, line: line, cmd: cmd, args: args, flags: flags, out: out}
	err = cmd.run(c)
	var ask *question
	if cmd.changes && !c.looked && !errors.As(err, &ask) && !errors.Is(err, errDry) {
		result := "done"
		if err != nil {
			result = err.Error()
		}
		a := store.Audit{Time: time.Now().UTC(), UID: who.UID, User: who.User, Line: line, Result: result}
		if e := s.Store.AddAudit(a); e != nil && !errors.Is(e, store.ErrClosed) {
			err = errors.Join(err, fmt.Errorf("write the audit: %w", e))
		}
	}
	if errors.Is(err, errDry) {
		return nil
	}
	return errors.Join(err, out.end())
}

// number reads a flag that is a number.
func (c *call) number(name string, otherwise int) (int, error) {
	v, ok := c.flags[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, refuse("usage", "--%s takes a number of 1 or more, not %q", name, v)
	}
	return n, nil
}

// duration reads a flag that is a time.
func (c *call) duration(name string) (time.Duration, error) {
	v, ok := c.flags[name]
	if !ok {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, refuse("usage", "--%s takes a time like 30s, 5m or 24h, not %q", name, v)
	}
	return d, nil
}
