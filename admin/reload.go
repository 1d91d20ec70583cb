package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// What a reload says of a key that has changed.
const (
	Applied      = "applied"
	WouldApply   = "would be applied" // in a dry run, or as another key is refused
	NeedsUpgrade = "needs an upgrade" // the value before stays in effect until then
	Refused      = "refused"          // and therefore nothing is changed at all
	NoEffect     = "no effect"        // it counts at the first start only
)

// Change is a key whose value in the file is not the one in effect.
type Change struct {
	Key    string `json:"key"`
	From   string `json:"from"`
	To     string `json:"to"`
	Result string `json:"result"`
	Why    string `json:"why"` // it is refused
}

// reloadCommand re-reads the configuration.
var reloadCommand = command{
	name: "reload", short: "Read the configuration and the certificates again", about: "The answer says for each changed key: applied, needs an upgrade, or refused. If one key is refused, nothing changes.", example: "reload --dry-run", changes: true, run: reload,
}

// BusyError is an error of Server.Reload that says nothing of the configuration: the
// server does something else, or is another process.
type BusyError string

func (e BusyError) Error() string { return string(e) }

// reload answers key by key. If a key is refused, or the file has a mistake,
// nothing is changed.
func reload(c *call) error {
	c.skipAudit = c.has("dry-run")
	changes, err := c.Server.Reload(c.skipAudit)
	var later BusyError
	if errors.As(err, &later) {
		return refuse("busy", "%s", later)
	}
	if err != nil { // one mistake a line
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

// Changes are those of a reload in a line.
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

// SetAccess changes who may use the socket, from now on. After an error nothing
// is changed.
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

// CheckGroup tells why the socket cannot be given to a group, by doing that with a
// file beside it.
func (l *Listener) CheckGroup(group string) error {
	f, err := os.CreateTemp(filepath.Dir(l.ln.Addr().String()), ".roomd-group*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return chgrp(f.Name(), group)
}

// setAccess gives the socket its permissions at the start. A group that it cannot
// be given to is no reason to serve nobody.
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
