package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/metrics"
	"roomd/cmd/roomd/upgrade"
	"roomd/netsvc"
	"roomd/store"
)

// The reasons why there can be no reload or upgrade now.
const (
	errBusy       = admin.BusyError("another reload or upgrade is running; try again in a moment")
	errHandedOver = admin.BusyError("another process has taken over from this one; give the command again")
)

// busyTimeout is how long a command waits for a reload or an upgrade that is running. A
// process that has just taken over answers commands before all its ports are bound.
const busyTimeout = 2 * time.Second

// beginChange begins a reload or an upgrade: one at a time, and none once the server stops
// or another process serves. The caller must call unlock at the end. If queued is set,
// beginChange waits for its turn without a time limit.
func (s *server) beginChange(queued bool) (unlock func(), err error) {
	if queued {
		s.changeMu.Lock()
	} else {
		for end := time.Now().Add(busyTimeout); !s.changeMu.TryLock(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				return nil, errBusy
			}
		}
	}
	switch {
	case s.handedOver():
		err = errHandedOver
	case s.stopping.Err() != nil:
		err = upgrade.ErrStopping
	}
	if err != nil {
		s.changeMu.Unlock()
		return nil, err
	}
	return s.changeMu.Unlock, nil
}

// recoverAsError turns a panic in a command of an operator or a signal into an error, so
// that the server keeps running.
func recoverAsError(log *slog.Logger, command string, err *error) {
	if fault := recover(); fault != nil {
		log.Error("a fault in roomd: a command panicked; the server keeps running, please report it", "command", command, "error", fmt.Sprint(fault), "stack", string(debug.Stack()))
		*err = errors.Join(*err, fmt.Errorf("a fault in roomd: %v; the log has the details", fault))
	}
}

// reload reads the configuration again and applies it, as far as a running server can. It
// returns a change for each key whose value differs from the one in effect. Everything is
// prepared before anything changes; if one key is refused, nothing changes. dry only
// reports. The error says why the file cannot be used. queued is for beginChange.
func (s *server) reload(dry, queued bool) (changes []admin.Change, err error) {
	defer recoverAsError(s.log, "reload", &err)
	unlock, err := s.beginChange(queued)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if !dry {
		s.manager.Reloading()
		defer func() { s.manager.Notify("READY=1", "STATUS="+statusLine(s.svc, s.st)) }()
	}
	file, err := config.Load(s.File, s.Port)
	if err != nil {
		return nil, err
	}
	lowered := file.FitDescriptors() // the value in effect is lowered, too
	if lowered != "" {
		s.log.Warn(lowered)
	}
	next := *s.config()
	p := &reconfiguration{server: s, old: s.config(), next: &next, changes: changesOf(&next, file)}
	defer p.rollback() // after a panic
	if ch := p.changed("limits.connections"); ch != nil {
		ch.Why = lowered
	}
	p.prepare(dry)
	if !dry {
		p.setSocketAccess()
	}
	if refused := p.abort(dry); !dry {
		if !refused {
			p.commit()
		}
		s.logChanges(p.changes, refused)
	}
	return p.changes, nil
}

// reloadBySignal is reload for a signal: it waits for its turn, and logs the result.
func (s *server) reloadBySignal() error {
	changes, err := s.reload(false, true)
	result := admin.Changes(changes)
	if err != nil {
		s.log.Error("reload failed; the configuration stays as it was", "error", err)
		result = err.Error()
	}
	s.shell.Record(signalCaller, "reload", result)
	return err
}

// signalCaller stands for the sender of a signal, whom the system does not name.
var signalCaller = admin.Caller{UID: -1, Door: store.DoorSignal}

// logChanges logs the result of each key.
func (s *server) logChanges(changes []admin.Change, refused bool) {
	for _, ch := range changes {
		level := slog.LevelInfo
		if ch.Result == admin.Refused {
			level = slog.LevelError
		}
		attrs := []any{"key", ch.Key, "from", ch.From, "to", ch.To, "result", ch.Result}
		if ch.Why != "" {
			attrs = append(attrs, "cause", ch.Why)
		}
		s.log.Log(context.Background(), level, "configuration key differs from the file", attrs...)
	}
	if refused {
		s.log.Error("reload refused: a key cannot be changed, and the configuration stays as it was", "keys", len(changes))
		return
	}
	s.log.Info("configuration reloaded", "keys", len(changes))
}

// changesOf applies to next the keys that a reload may change, and returns a change for
// every key that differs from the file.
func changesOf(next, file *config.Config) []admin.Change {
	changes := []admin.Change{}
	for _, d := range next.ApplyReload(file) {
		ch := admin.Change{Key: d.Key, From: d.From, To: d.To, Result: admin.Applied}
		switch d.Effect {
		case config.OnUpgrade:
			ch.Result = admin.NeedsUpgrade
		case config.OnRestart:
			ch.Result, ch.Why = admin.Refused, "a running server cannot change this key: stop the server and start it again"
		case config.OnFirstStart:
			ch.Result = admin.NoEffect
		}
		if d.Key == "server.port" && len(next.Activated) > 0 {
			ch.Result, ch.Why = admin.NoEffect, "the service manager has opened the master port"
		}
		changes = append(changes, ch)
	}
	return changes
}

// reconfiguration is a reload between reading the file and applying it.
type reconfiguration struct {
	*server
	old, next *config.Config
	changes   []admin.Change

	metrics *net.TCPListener  // opened for the new metrics.listen; nil: unchanged or off
	ports   *netsvc.Change    // the prepared changes of ports
	pair    *certificate.Pair // the new certificate
}

// changed returns the change of a key; nil: the key does not differ.
func (p *reconfiguration) changed(key string) *admin.Change {
	for i := range p.changes {
		if p.changes[i].Key == key {
			return &p.changes[i]
		}
	}
	return nil
}

// refuse marks a key as refused, with the reason.
func (p *reconfiguration) refuse(key string, err error) {
	if ch := p.changed(key); ch != nil {
		ch.Result, ch.Why = admin.Refused, err.Error()
	}
}

// prepare does everything that can fail, so that commit cannot fail. A dry run opens nothing.
func (p *reconfiguration) prepare(dry bool) {
	if dry && p.changed("admin.group") != nil && p.adminSocket != nil { // without dry setSocketAccess checks it
		if err := p.adminSocket.CheckGroup(p.next.Admin.Group); err != nil {
			p.refuse("admin.group", err)
		}
	}
	var err error
	if p.pair, err = certificate.Load(p.next.TLS.Cert, p.next.TLS.Key, p.log); err != nil {
		if p.changed("tls.cert") == nil && p.changed("tls.key") == nil { // the files have changed
			p.changes = append(p.changes, admin.Change{Key: "tls.cert", From: p.old.TLS.Cert, To: p.next.TLS.Cert})
		}
		p.refuse("tls.cert", err)
		p.refuse("tls.key", err)
	} else if from, to := p.server.pair.Load().String(), p.pair.String(); from != to && p.changed("tls.cert") == nil && p.changed("tls.key") == nil {
		p.changes = append(p.changes, admin.Change{Key: "tls.cert", From: from, To: to, Result: admin.Applied}) // it was renewed
	}
	if dry {
		return
	}
	if p.changed("metrics.listen") != nil && p.next.Metrics.Listen != "" {
		if p.metrics, err = metrics.Listen(p.next.Metrics.Listen); err != nil {
			p.refuse("metrics.listen", err)
		}
	}
	if p.ports, err = p.svc.Prepare(serviceOptions(p.next, p.log, p.pair)); err != nil {
		p.refuseListenKeys(err)
	}
}

// refuseListenKeys refuses the keys of the addresses and ports. If none of them differs from
// the file, the first one is added to the changes, for the reason.
func (p *reconfiguration) refuseListenKeys(err error) {
	keys := []string{"server.listen", "server.port"}
	if errors.Is(err, netsvc.ErrPorts) {
		keys = []string{"rooms.ports", "server.port"}
	}
	if p.changed(keys[0]) == nil && p.changed(keys[1]) == nil {
		value := p.old.Value(keys[0])
		p.changes = append(p.changes, admin.Change{Key: keys[0], From: value, To: value})
	}
	for _, key := range keys {
		p.refuse(key, err)
	}
}

// refused reports whether one of the keys is refused.
func (p *reconfiguration) refused() bool {
	return slices.ContainsFunc(p.changes, func(ch admin.Change) bool { return ch.Result == admin.Refused })
}

// setSocketAccess changes the mode and the group of the admin socket. It is the last step
// that can fail, and so it takes effect at once.
func (p *reconfiguration) setSocketAccess() {
	if p.adminSocket == nil || p.refused() || p.changed("admin.mode") == nil && p.changed("admin.group") == nil {
		return
	}
	if err := p.adminSocket.SetAccess(p.next.SocketMode(), p.next.Admin.Group); err != nil {
		p.refuse("admin.mode", err)
		p.refuse("admin.group", err)
	}
}

// abort rolls everything back and marks no key as applied if a key is refused or the reload
// is dry. It reports whether a key is refused.
func (p *reconfiguration) abort(dry bool) (refused bool) {
	if refused = p.refused(); !refused && !dry {
		return false
	}
	for i := range p.changes {
		if ch := &p.changes[i]; ch.Result == admin.Applied {
			ch.Result = admin.WouldApply
		}
	}
	p.rollback()
	return refused
}

// rollback closes what prepare has opened and commit has not taken.
func (p *reconfiguration) rollback() {
	if p.metrics != nil {
		p.metrics.Close()
	}
	if p.ports != nil {
		p.ports.Undo()
	}
	p.metrics, p.ports = nil, nil
}

// commit puts the new configuration into effect.
func (p *reconfiguration) commit() {
	c := p.next
	p.ports.Commit()
	p.ports = nil
	known := p.old.Risks()
	for _, w := range c.Risks() {
		if !slices.Contains(known, w) {
			p.log.Warn(w)
		}
	}
	p.pair.Replaces(p.server.pair.Load())
	p.pair.CheckExpiry(time.Now())
	p.server.pair.Store(p.pair)
	p.st.SetRetention(retention(c))
	p.irc.SetOptions(ircOptions(c, p.Version))
	p.web.SetOptions(webOptions(c, p.Version, p.log))
	p.format.SetFormat(c.Log.Format)
	if p.changed("log.level") != nil { // else the level that an operator has set stays
		if err := p.tap.SetLevel(c.Log.Level); err != nil {
			p.log.Error("log level cannot be set", "error", err)
		}
	}
	p.collector.PerRoom.Store(c.Metrics.PerRoom)
	p.collector.Profiles.Store(c.Metrics.Profiles)
	if p.changed("metrics.listen") != nil {
		if p.stopMetrics != nil {
			p.stopMetrics()
			p.metricsListener, p.stopMetrics = nil, nil
		}
		if p.metrics != nil {
			p.serveMetrics(p.metrics)
			p.metrics = nil
		}
	}
	p.setConfig(c)
}
