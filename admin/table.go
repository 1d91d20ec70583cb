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

// Server holds all that the commands work on. Its fields are set before its first use, and
// none of its functions is nil.
type Server struct {
	Service *netsvc.Service
	Store   *store.Store
	Log     *Tap
	Stop    func()           // begins to stop the server
	Config  func() []Setting // the configuration in effect
	// Reload reads the configuration again. With dry it only reports the changes.
	Reload func(dry bool) ([]Change, error)
	// Program returns the file that an upgrade runs and its SHA-256: binary, or for "" the
	// file of this server as it is on disk. It refuses a file that other users than root and
	// the server's could have written, unless the caller is trusted, that is, one of the two.
	Program func(binary string, trusted bool) (path, sum string, err error)
	// Upgrade starts the binary, which takes over. After nil the server must not be used any
	// more. With dry it only finds out whether the binary could take over.
	Upgrade func(ctx context.Context, binary string, dry bool) (Upgrade, error)
	// LogDropped returns the number of log lines that could not be written, and how long the
	// oldest pending line has been waiting; 0: no line is pending.
	LogDropped func() (lines uint64, waits time.Duration)
	// Certificate returns the certificate in use; nil: there is none.
	Certificate func() *Certificate
	// NotReady returns why the server is not ready; nil, or a nil func: it is ready.
	NotReady   func() error
	Version    string
	ConfigFile string                                // the file of the configuration
	Addresses  func() (listening, advertised string) // of the master port
	Database   string                                // the database's file
	// Files returns further files of the server that no backup may replace.
	Files func() []string
	Group string // admin.group at the start, which may use the socket; empty: no group

	group atomic.Pointer[string] // Group, or that of SetAccess
	plans plans

	stopMu      sync.Mutex
	stopWaiters []net.Conn // clients that wait until the server has stopped; guarded by stopMu
}

// Certificate describes the certificate that TLS clients are shown.
type Certificate struct {
	File        string
	Expires     time.Time
	Loaded      time.Time // by the server
	Valid       bool      // now
	Warning     string    // it expires soon, or it is not valid; empty: neither
	ReloadError string    // why a newer version of its files cannot be loaded; empty: no problem
}

// Setting is a key of the configuration in effect.
type Setting struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Changed bool   `json:"changed"` // differs from the default
}

// Caller is the user that gives a command.
type Caller struct {
	UID  int // -1: not known
	User string
	Door string // how the command reached the server; empty: the admin socket
}

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

// recoverFault turns a panic in a command into an error, and the server continues.
func (s *Server) recoverFault(line string, err *error) {
	if fault := recover(); fault != nil {
		slog.New(s.Log).Error("a fault in roomd: a command has failed and the server continues; please report it", "command", netsvc.Printable(line), "error", fmt.Sprint(fault), "stack", string(debug.Stack()))
		*err = fmt.Errorf("a fault in roomd; see the log of the server: %v", fault)
	}
}

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

// Record records a command that did not come through the socket, and its result, in the log
// and the audit, and tells the watchers.
func (s *Server) Record(who Caller, line, result string) {
	_ = s.record(who, "", line, result) // the log has the command even if the audit has not
}

// record records a command and its result in the log and the audit, and tells the watchers. If
// the audit cannot be written, the log says so.
func (s *Server) record(who Caller, room, line, result string) error {
	s.note(who, room, line, result)
	err := s.Store.AddAudit(who.audit(line, result))
	if errors.Is(err, store.ErrClosed) { // the command itself closed the store
		return nil
	}
	if err != nil {
		slog.New(s.Log).Error("audit could not be written; the command is only in the log", "command", netsvc.Printable(line), "error", err)
	}
	return err
}

// note records a command in the log and tells the watchers.
func (s *Server) note(who Caller, room, line, result string) {
	a := who.audit(line, result)
	slog.New(s.Log).Info("operator command", "user", a.User, "uid", a.UID, "door", a.Door, "command", netsvc.Printable(a.Line), "result", a.Result)
	s.Service.Publish(netsvc.Event{Time: a.Time, Type: "command", Room: room, By: a.User, Door: a.Door, Text: a.Line, Cause: a.Result})
}

// audit returns the audit's record of a command and its result.
func (who Caller) audit(line, result string) store.Audit {
	for strings.HasPrefix(line, "--") { // flags that our client put in front
		_, line, _ = strings.Cut(line, " ")
	}
	return store.Audit{Time: time.Now().UTC(), UID: who.UID, User: who.User, Door: cmp.Or(who.Door, store.DoorAdmin), Line: line, Result: oneLine(result)}
}

// RecordStop records a stop before the database is closed. It does not wait for a slow disk.
func (s *Server) RecordStop(who Caller, line string) {
	runWithin(auditTimeout, func() { s.Record(who, line, "done") })
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
