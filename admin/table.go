package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/store"
)

// command is a row of the table.
type command struct {
	name     string
	args     []param
	short    string // an imperative without a full stop
	about    string // further sentences; may be empty
	example  string
	flags    []flag // beside --json, which every command has
	changes  bool   // the audit records it
	stream   bool   // it runs until the client ends it
	console  bool   // only the prompt of the console has it, and carries it out
	getOrSet bool   // without its last argument it changes nothing
	group    string // its heading in help
	run      func(*call) error
}

// readOnly reports whether a command changes nothing and ends by itself: watch can repeat it.
func (c *command) readOnly() bool { return !c.changes && !c.stream && !c.console }

// flag is an option of a command. Without arg it takes no value.
type flag struct {
	name  string
	arg   param
	short string
}

// hasValue reports whether the flag takes a value.
func (f flag) hasValue() bool { return f.arg.name != "" }

// limitFlag is the flag for the number of results.
func limitFlag(otherwise string) flag {
	arg := numberValue
	arg.otherwise = otherwise
	return flag{"n", arg, "at most N"}
}

// does returns the effect of the flag, with its default.
func (f flag) does() string {
	if f.arg.otherwise == "" {
		return f.short
	}
	return fmt.Sprintf("%s (default %s)", f.short, f.arg.otherwise)
}

// usage returns the flag as it is typed, with its value.
func (f flag) usage() string { return strings.TrimSpace(dashed(f.name) + " " + f.arg.name) }

var (
	yesFlag      = flag{name: "yes", short: "do not ask"}
	tokenFlag    = flag{"token", param{name: "TOKEN"}, "do not ask; void once the numbers of the question change"}
	dryFlag      = flag{name: "dry-run", short: "report the effect, change nothing"}
	sayFlag      = flag{"say", textValue, "send this notice first"}
	forFlag      = flag{"for", timeValue, "end after this time, like 1h; without it: until lifted"}
	whyFlag      = flag{"why", textValue, "the reason; bans shows it, and the banned client gets it"}
	muteWhyFlag  = flag{"why", textValue, "the reason; only bans shows it"}
	roomFlag     = flag{"room", roomNameArg, "only in this room"}
	sinceFlag    = flag{"since", timeValue, "only from this time ago until now, like 24h"}
	relativeFlag = flag{name: "relative", short: "show times like 5m ago"}
	jsonFlag     = flag{name: "json", short: "print JSON"}
)

// call is one run of a command.
type call struct {
	*Server
	ctx         context.Context // done when the client has ended the command and, unless it is a stream, when the server stops
	caller      Caller
	line        string // as the client sent it
	cmd         *command
	args        []string
	flags       map[string]string
	secret      string // the secret that the client was asked for; empty: none yet
	out         *output
	skipAudit   bool   // the call changed nothing, or has recorded itself
	auditResult string // the result in the audit, instead of "done"

	// The arguments as bind has read them.
	target  netsvc.RoomDetail
	trashed netsvc.Trashed
	banID   uint64
	port    int
	// The flags as bind has read them, by name; those that are not given are missing.
	afterSeq uint64 // a sequence number
	numbers  map[string]int
	times    map[string]time.Duration
}

// verdict is the last line of an answer, and the error of a command that does not end
// with OK.
type verdict struct {
	word string // OK, ERR, ASK or SECRET
	code string // the code of ERR; the token of ASK
	text string
}

func (v *verdict) Error() string { return v.text }

// refuse returns the error of a refused command.
func refuse(code, format string, args ...any) error {
	return &verdict{"ERR", code, fmt.Sprintf(format, args...)}
}

// confirm returns nil if the operator has agreed to the effect that text describes. A token is
// void once state has changed.
func (c *call) confirm(text string, state ...any) error {
	sum := sha256.Sum256(fmt.Append(nil, c.cmd.name, c.args, state))
	token := fmt.Sprintf("%x", sum[:4])
	if err := c.dryRun("%s", text); err != nil {
		return err
	}
	if c.has("yes") {
		return nil
	}
	given, ok := c.flags["token"]
	switch {
	case ok && given == token:
		return nil
	case ok:
		return refuse("changed", "the token is void, as the numbers have changed: this now %s", text)
	}
	return &verdict{"ASK", token, text}
}

// cutSecret cuts the secret off a line that our client has put in front.
func cutSecret(line string) (rest, secret string) {
	code, rest, ok := strings.Cut(strings.TrimPrefix(line, secretFlag), " ")
	text, err := base64.RawURLEncoding.DecodeString(code)
	if !ok || err != nil || !strings.HasPrefix(line, secretFlag) {
		return line, ""
	}
	return rest, string(text)
}

const secretFlag = "--secret="

// dryRun is called before a command changes something. With --dry-run it reports the effect
// and returns errDryRun.
func (c *call) dryRun(format string, args ...any) error {
	if !c.has("dry-run") {
		return nil
	}
	return errors.Join(c.out.text(format, args...), errDryRun)
}

// report reports the effect of a command, or returns err.
func (c *call) report(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return c.out.text(format, args...)
}

var errDryRun = errors.New("nothing was done")

// execute runs a line. An error that is not a *verdict is an internal error of the server.
func (s *Server) execute(ctx context.Context, who Caller, line string, out *output) (err error) {
	line, secret := cutSecret(line)
	defer s.recoverFault(line, &err)
	cmd, args, flags, err := parse(line)
	if err != nil {
		return err
	}
	if !cmd.stream {
		var end func()
		ctx, end = s.Service.UntilStop(ctx)
		defer end()
	}
	_, out.json = flags["json"]
	_, out.color = flags[colorFlag]
	_, out.relative = flags["relative"]
	out.stream = cmd.stream
	if _, page := flags[pageFlag]; page {
		who.Door = store.DoorPage
	}
	c := &call{Server: s, ctx: ctx, caller: who, line: line, cmd: cmd, args: args, flags: flags, secret: secret, out: out}
	about := c.roomName()
	_, raw := flags[filesFlag]
	c.skipAudit = cmd.getOrSet && len(args) < len(cmd.args)
	if err = c.bind(); err == nil {
		err = cmd.run(c)
	}
	var v *verdict
	if cmd.changes && !c.skipAudit && !(errors.As(err, &v) && v.word == "ASK") && !errors.Is(err, errDryRun) {
		if failed := s.record(who, about, c.line, cmp.Or(c.auditResult, resultOf(err))); failed != nil && err == nil && !out.json && !raw {
			// The command is done, and the answer says so. A program that reads JSON gets only
			// the data.
			err = out.text("done; the audit could not be written and lacks it, the log has it")
		}
	}
	if errors.Is(err, errDryRun) {
		return nil
	}
	if err != nil {
		return err
	}
	return out.end()
}

// roomName returns the room that a command is about, or "".
func (c *call) roomName() string {
	switch {
	case c.trashed.Name != "":
		return c.trashed.Name
	case len(c.args) == 0 || !strings.HasPrefix(c.cmd.args[0].name, "ROOM"):
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

// runWithin runs fn and waits for it, but no longer than most.
func runWithin(most time.Duration, fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(most):
	}
}

// auditTimeout bounds the time that a stop waits until the audit has it.
const auditTimeout = time.Second
