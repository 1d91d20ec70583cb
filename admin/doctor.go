package admin

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"roomd/store"
	"roomd/store/disk"
)

// finding is something that the operator should know.
type finding struct {
	Level   string `json:"level"` // problem, risk or ok
	About   string `json:"about"`
	Finding string `json:"finding"`
}

var doctorCommand = command{
	name: "doctor", short: "Check for problems and risks", example: "doctor --full",
	flags: []flag{{name: "full", short: "read the whole database too; lines wait meanwhile"}}, run: doctor,
}

// doctor compares what is kept twice, and looks at what may run out.
func doctor(c *call) error {
	var d diagnosis
	c.checkConsistency(&d)
	if err := c.checkResources(&d); err != nil {
		return err
	}
	c.checkConfig(&d)
	if c.has("full") {
		err := c.Store.CheckContext(c.ctx)
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if err != nil {
			d.add("problem", "database", "%v", err)
		}
	}
	if len(d) == 0 {
		d.add("ok", "everything", "nothing to complain about")
	}
	return c.out.list([]finding(d))
}

type diagnosis []finding

func (d *diagnosis) add(level, about, format string, args ...any) {
	*d = append(*d, finding{level, about, fmt.Sprintf(format, args...)})
}

// checkConsistency looks for what does not agree.
func (c *call) checkConsistency(d *diagnosis) {
	for _, text := range c.Service.Inconsistencies() {
		d.add("problem", "memory", "%s; the numbers of the server cannot be trusted until it is restarted", text)
	}
	for _, w := range c.Service.Ports().Unbound {
		d.add("problem", "room "+w.Room, "%s; the server keeps trying, rebind %s tries at once", w.Cause, w.Room)
	}
	if err := c.Store.ReadOnly(); err != nil {
		d.add("problem", "database", "%v; nothing is kept, and the server tries again by itself; reopen tries at once", err)
	}
	if err := c.Store.VerifyPath(); err != nil {
		d.add("problem", "database", "%v", err)
	}
	_, damaged := c.Store.SkippedRecords()
	for _, what := range damaged {
		d.add("problem", "database", "%s", what)
	}
	rooms := c.Store.CorruptRooms()
	for _, id := range rooms {
		d.add("problem", "room "+cmp.Or(c.Service.RoomName(id), fmt.Sprintf("#%d", id)), "lines of it are damaged and left out; doctor --full says where, and roomd store restore puts a backup in place")
	}
	if n := c.Store.CorruptReads(); n > 0 && len(rooms) == 0 {
		d.add("problem", "database", "a record has become damaged since the start and is left out; doctor --full says which")
	}
	if c.Store.DiskFull() {
		d.add("problem", "disk", "it is full: lines and changes are refused; make room, the next line is tried")
	}
	if took := c.Store.SlowDisk(); took > 0 {
		d.add("problem", "disk", "it has not answered for %v; lines wait and none is lost; see the log of the kernel", took.Round(100*time.Millisecond))
	}
}

// checkResources says what may run out.
func (c *call) checkResources(d *diagnosis) error {
	if n, worst := c.Service.Lag(); n > 0 {
		d.add("risk", "members", "%s behind, the worst by %s", count(n, "member"), count(worst, "event"))
	}
	file, free, err := c.Store.Size()
	if err != nil {
		return err
	}
	if room, ok := disk.FreeBytes(c.Database); ok && room < uint64(max(file, 100<<20)) {
		d.add("risk", "disk", "%s are free, the database has %s; make room, or keep less: history.lines, history.bytes, history.age", cellText("bytes", room), cellText("bytes", file))
	}
	for _, name := range store.StaleTempFiles(c.Database) {
		d.add("risk", "disk", "%s was left behind by a process that was killed; the next start removes it, and you may", name)
	}
	if file > 100<<20 && free > file/2 {
		d.add("risk", "database", "%s of its %s are free: the file does not shrink by itself; roomd store compact, while the server is down", cellText("bytes", free), cellText("bytes", file))
	}
	if used, limit, ok := descriptors(); ok && used*10 > limit*8 {
		d.add("risk", "descriptors", "%s of %s are in use; raise the limit: LimitNOFILE= (systemd) or ulimit -n", thousands(used), thousands(limit))
	}
	if cert := c.certificate(); cert != nil {
		if cert.Warning != "" {
			level := "risk"
			if !cert.Valid {
				level = "problem"
			}
			d.add(level, "certificate", "%s: renew %s, which is then taken up by itself", cert.Warning, cert.File)
		}
		if cert.ReloadError != "" {
			d.add("problem", "certificate", "the old one stays in use: %s", cert.ReloadError)
		}
	}
	if c.LogDropped != nil {
		lines, waits := c.LogDropped()
		if waits >= logStallTime {
			d.add("problem", "log", "nothing has read it for %v: lines are kept up to a bound, and then dropped", waits.Round(time.Second))
		}
		if lines > 0 {
			d.add("risk", "log", "%s could not be written since the start: its reader was too slow, or gone, or the disk was full", count(lines, "line"))
		}
	}
	p := c.Service.Ports()
	if p.Free == 0 {
		d.add("risk", "ports", "all from %d to %d are in use: no room can be made; widen rooms.ports", p.First, p.Last)
	}
	for _, r := range c.Service.Rooms() {
		if r.Port != 0 && (r.Port < p.First || r.Port > p.Last) {
			d.add("risk", "room "+r.Name, "its port %d is not in rooms.ports: another program may take it while the server is down", r.Port)
		}
	}
	return nil
}

// checkConfig says what is risky in the configuration.
func (c *call) checkConfig(d *diagnosis) {
	set := make(map[string]string)
	for _, s := range c.Config() {
		set[s.Key] = s.Value
	}
	reachable := false
	for a := range strings.FieldsSeq(set["server.listen"]) {
		reachable = reachable || !strings.HasPrefix(a, "127.") && a != "::1"
	}
	if reachable && set["access.delete"] == "anyone" {
		d.add("risk", "access.delete", "anyone who can reach the server may delete rooms; \"creator\" is safer")
	}
	if reachable && set["limits.per_address"] == "0" {
		d.add("risk", "limits.per_address", "one address may take all %s connections; set a limit", set["limits.connections"])
	}
	if set["history.durability"] == "relaxed" {
		d.add("risk", "history.durability", "a crash can lose what was shown within history.flush_interval")
	}
	if set["history.lines"] == "0" && set["history.bytes"] == "0" && set["history.age"] == "0s" {
		d.add("risk", "history.lines", "nothing is ever removed: the database grows until the disk is full")
	}
	if set["rooms.trash"] == "0s" {
		d.add("risk", "rooms.trash", "a room that is deleted cannot be restored")
	}
	if host, _, err := net.SplitHostPort(set["metrics.listen"]); err == nil && host != "localhost" && !strings.HasPrefix(host, "127.") && host != "::1" {
		d.add("risk", "metrics.listen", "the metrics can be read from elsewhere, without a password")
		if set["metrics.profiles"] == "true" {
			d.add("risk", "metrics.profiles", "profiles can be taken from elsewhere, without a password: they cost processor time, and show what is in memory")
		}
	}
}
