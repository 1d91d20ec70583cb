package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Results of a reload for a changed key.
const (
	Applied      = "applied"
	WouldApply   = "would be applied" // in a dry run, or because another key is refused
	NeedsUpgrade = "needs an upgrade" // until then the earlier value stays in effect
	Refused      = "refused"          // no key is changed
	NoEffect     = "no effect"        // the key counts only at the first start
)

// Change is a key whose value in the file differs from the one in effect.
type Change struct {
	Key    string `json:"key"`
	From   string `json:"from"`
	To     string `json:"to"`
	Result string `json:"result"`
	Why    string `json:"why"` // the reason of a refusal
}

// reloadCommand reads the configuration again.
var reloadCommand = command{
	name: "reload", short: "Read the configuration and the certificates again", about: "The answer says for each changed key: applied, needs an upgrade, or refused. If one key is refused, nothing changes.", example: "reload --dry-run", changes: true, run: reload,
}

// BusyError is an error of Server.Reload with another cause than the configuration: the server
// is busy, or another process has taken over.
type BusyError string

func (e BusyError) Error() string { return string(e) }

// reload reports the result for each changed key. If one key is refused or the file has a
// mistake, nothing changes.
func reload(c *call) error {
	c.skipAudit = c.has("dry-run")
	changes, err := c.Server.Reload(c.skipAudit)
	var later BusyError
	if errors.As(err, &later) {
		return refuse("busy", "%s", later)
	}
	if err != nil { // with one mistake on each line
		for l := range strings.Lines(err.Error()) {
			if err := c.out.text("%s", strings.TrimSuffix(l, "\n")); err != nil {
				return err
			}
		}
		return refuse("refused", "nothing is changed: the configuration has mistakes")
	}
	c.auditResult = Changes(changes)
	refused := 0
	for _, ch := range changes {
		if ch.Result == Refused {
			refused++
		}
	}
	if len(changes) == 0 && !c.out.json {
		return c.out.text("the configuration in the file is already in effect")
	}
	if err := c.out.list(changes); err != nil || refused == 0 {
		return err
	}
	return refuse("refused", "nothing is changed: %s refused", count(refused, "key"))
}

// Changes returns the changes of a reload in one line.
func Changes(all []Change) string {
	if len(all) == 0 {
		return "nothing has changed"
	}
	return strings.Join(mapSlice(all, func(ch Change) string {
		text := fmt.Sprintf("%s from %q to %q: %s", ch.Key, ch.From, ch.To, ch.Result)
		if ch.Why != "" {
			text += " (" + ch.Why + ")"
		}
		return text
	}), "; ")
}

// SetAccess changes the mode and the group of the socket. After an error nothing has changed.
func (l *Listener) SetAccess(mode os.FileMode, group string) error {
	path := l.ln.Addr().String()
	if err := chgrp(path, group); err != nil {
		return fmt.Errorf("give the admin socket to the group: %w", err)
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		return fmt.Errorf("change the admin socket: %w", err)
	}
	l.srv.group.Store(&group)
	return nil
}

// CheckGroup returns an error if the socket cannot be given to a group. It tries with a file
// in the same folder.
func (l *Listener) CheckGroup(group string) error {
	f, err := os.CreateTemp(filepath.Dir(l.ln.Addr().String()), ".roomd-group*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return chgrp(f.Name(), group)
}

// setAccess sets the mode and the group of the socket at the start. If the group cannot be
// set, the other users are served nevertheless.
func (s *Server) setAccess(path string, mode os.FileMode) error {
	if s.Group != "" {
		if err := chgrp(path, s.Group); err != nil {
			slog.New(s.Log).Warn("admin socket could not be given to admin.group, whose members cannot use it", "group", s.Group, "error", err)
		}
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		return fmt.Errorf("change the admin socket: %w", err)
	}
	return nil
}
