package admin

import (
	"cmp"
	"context"
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

// recoverFault turns a panic in a command into an error, and the server continues.
func (s *Server) recoverFault(line string, err *error) {
	if fault := recover(); fault != nil {
		slog.New(s.Log).Error("a fault in roomd: a command has failed and the server continues; please report it", "command", netsvc.Printable(line), "error", fmt.Sprint(fault), "stack", string(debug.Stack()))
		*err = fmt.Errorf("a fault in roomd; see the log of the server: %v", fault)
	}
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
