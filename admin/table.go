package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
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
	// Program finds the file that an upgrade is to run, and its SHA-256; the one now
	// on disk for "". It refuses one that others than root and the server's user could
	// have put there, unless whoever names it is trusted: is one of the two.
	Program func(binary string, trusted bool) (path, sum string, err error)
	// Upgrade has a process of the binary take over. After nil the server must not be used any more; dry only finds out
	// whether it could.
	Upgrade func(ctx context.Context, binary string, dry bool) (Upgrade, error)
	// LogDropped tells how many lines of the log could not be written, and for how
	// long the next one has not been taken; 0: nothing waits. nil: there is no log.
	LogDropped func() (lines uint64, waits time.Duration)
	// Certificate is the one in use; nil, or a nil func: there is none.
	Certificate func() *Certificate
	Version     string
	ConfigFile  string                                // the file of the configuration
	Addresses   func() (listening, advertised string) // of the master port
	Database    string                                // the database's file
	// Files, if not nil, are further files of the server that no backup may replace.
	Files func() []string
	Group string // who else may use the socket at first; empty: nobody

	group atomic.Pointer[string] // Group, or that of SetAccess
	plans plans

	stopMu      sync.Mutex
	stopWaiters []net.Conn // whose clients wait for the end of the server; guarded by ending
}

// Certificate is what clients of TLS are shown.
type Certificate struct {
	File        string
	Expires     time.Time
	Loaded      time.Time // when it was taken up
	Valid       bool      // now
	Warning     string    // that it expires soon, or does not hold; empty: neither
	ReloadError string    // why its files, which have changed, cannot be used; empty: they can
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
	name     string
	args     []param
	short    string // an imperative without a full stop
	about    string // further sentences; may be empty
	example  string
	flags    []flag // beside --json, which every command has
	changes  bool   // is written to the audit
	stream   bool   // goes on until it is ended
	console  bool   // is for the console's prompt only, which carries it out
	getOrSet bool   // and changes nothing without its last argument
	group    string // where help lists it
	run      func(*call) error
}

// readOnly reports whether a command only looks, and comes to an end: then it can
// be watched.
func (c *command) readOnly() bool { return !c.changes && !c.stream && !c.console }

// flag is an option of a command. Without arg it is a switch.
type flag struct {
	name  string
	arg   param
	short string
}

// hasValue reports whether it has a value.
func (f flag) hasValue() bool { return f.arg.name != "" }

// limitFlag is the number of results.
func limitFlag(otherwise string) flag {
	arg := numberValue
	arg.otherwise = otherwise
	return flag{"n", arg, "at most N"}
}

// does is what the flag does, and its default.
func (f flag) does() string {
	if f.arg.otherwise == "" {
		return f.short
	}
	return fmt.Sprintf("%s (default %s)", f.short, f.arg.otherwise)
}

// usage is the flag as it is typed, with its value.
func (f flag) usage() string { return strings.TrimSpace(dashed(f.name) + " " + f.arg.name) }

var (
	yesFlag      = flag{name: "yes", short: "do not ask"}
	tokenFlag    = flag{"token", param{name: "TOKEN"}, "do not ask; the token of a question, void once its numbers change"}
	dryFlag      = flag{name: "dry-run", short: "report the effect, change nothing"}
	sayFlag      = flag{"say", textValue, "send this notice first"}
	forFlag      = flag{"for", timeValue, "end after this time, like 1h; without it: until lifted"}
	whyFlag      = flag{"why", textValue, "the reason; bans shows it, a banned client is told"}
	roomFlag     = flag{"room", roomNameArg, "only in this room"}
	sinceFlag    = flag{"since", timeValue, "only from this time ago until now, like 24h"}
	relativeFlag = flag{name: "relative", short: "show how long ago a time was, like 5m ago"}
	jsonFlag     = flag{name: "json", short: "print JSON"}
)

// call is one run of a command.
type call struct {
	*Server
	ctx         context.Context // done when the client is gone or has had enough, and, but for a stream, when the server stops
	caller      Caller
	line        string // as it was given
	cmd         *command
	args        []string
	flags       map[string]string
	secret      string // what the client was asked for; empty: nothing yet
	out         *output
	skipAudit   bool   // a command that may change something has only looked
	auditResult string // what the audit says of it instead of "done"

	// What bind has read. Of the arguments:
	target  netsvc.RoomDetail
	trashed netsvc.Trashed
	banID   uint64
	port    int
	// And of the flags, by name; what is not given is not there.
	afterSeq uint64 // a sequence number
	numbers  map[string]int
	times    map[string]time.Duration
}

// verdict is the last line of an answer, and the error of a command that does not end
// with OK.
type verdict struct {
	word string // OK, ERR, ASK or SECRET
	code string // of ERR; the token of ASK
	text string
}

func (v *verdict) Error() string { return v.text }

// refuse is the error of a command that is refused.
func refuse(code, format string, args ...any) error {
	return &verdict{"ERR", code, fmt.Sprintf(format, args...)}
}

// confirm returns nil if the operator has agreed to what text says. state is
// what the answer depends on: a token is void once it has changed.
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

// cutSecret takes off a line the secret that a client of ours has put in front.
func cutSecret(line string) (rest, secret string) {
	code, rest, ok := strings.Cut(strings.TrimPrefix(line, secretFlag), " ")
	text, err := base64.RawURLEncoding.DecodeString(code)
	if !ok || err != nil || !strings.HasPrefix(line, secretFlag) {
		return line, ""
	}
	return rest, string(text)
}

const secretFlag = "--secret="

// dryRun comes before what is done: it returns errDry, and has said what would be
// done, if the operator only wants to know.
func (c *call) dryRun(format string, args ...any) error {
	if !c.has("dry-run") {
		return nil
	}
	return errors.Join(c.out.text(format, args...), errDryRun)
}

// report tells what was done, unless err is why it was not.
func (c *call) report(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return c.out.text(format, args...)
}

var errDryRun = errors.New("nothing was done")

// recoverFault makes a fault in what an operator has asked for an error: the server
// goes on.
func (s *Server) recoverFault(line string, err *error) {
	if fault := recover(); fault != nil {
		slog.New(s.Log).Error("a fault in roomd: a command has failed and the server continues; please report it", "command", netsvc.Printable(line), "error", fmt.Sprint(fault), "stack", string(debug.Stack()))
		*err = fmt.Errorf("a fault in roomd; see the log of the server: %v", fault)
	}
}

// execute runs a line. The error, if it is not for the operator, is the
// server's.
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
			// What is done is done: that is what the answer says, but for one that a
			// program reads.
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

// roomName is the room that a command is about; empty: it is about none.
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

// Record tells the log, the audit and the watchers of a command that did not come
// in at the socket, and what came of it.
func (s *Server) Record(who Caller, line, result string) {
	_ = s.record(who, "", line, result) // the log has what the audit lacks
}

// record tells the log and the watchers what somebody did and what came of it, and
// keeps it in the audit: if that is not possible, the log says so.
func (s *Server) record(who Caller, room, line, result string) error {
	s.note(who, room, line, result)
	err := s.Store.AddAudit(who.audit(line, result))
	if errors.Is(err, store.ErrClosed) { // by the command itself
		return nil
	}
	if err != nil {
		slog.New(s.Log).Error("audit could not be written; the command is only in the log", "command", netsvc.Printable(line), "error", err)
	}
	return err
}

// note tells the log and the watchers.
func (s *Server) note(who Caller, room, line, result string) {
	a := who.audit(line, result)
	slog.New(s.Log).Info("operator command", "user", a.User, "uid", a.UID, "door", a.Door, "command", netsvc.Printable(a.Line), "result", a.Result)
	s.Service.Publish(netsvc.Event{Time: a.Time, Type: "command", Room: room, By: a.User, Door: a.Door, Text: a.Line, Cause: a.Result})
}

// audit is what the audit keeps of a command and of what came of it.
func (who Caller) audit(line, result string) store.Audit {
	for strings.HasPrefix(line, "--") { // what a client of ours has added
		_, line, _ = strings.Cut(line, " ")
	}
	return store.Audit{Time: time.Now().UTC(), UID: who.UID, User: who.User, Door: cmp.Or(who.Door, store.DoorAdmin), Line: line, Result: oneLine(result)}
}

// RecordStop is Record for what cannot be kept afterwards. A disk that does not
// answer is not waited for.
func (s *Server) RecordStop(who Caller, line string) {
	runWithin(auditTimeout, func() { s.Record(who, line, "done") })
}

// runWithin runs fn, and does not wait for it any longer.
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

// auditTimeout bounds how long a stop waits for its entry in the audit.
const auditTimeout = time.Second
