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

// finding is a problem or a risk.
type finding struct {
	Level   string `json:"level"` // problem, risk or ok
	About   string `json:"about"`
	Finding string `json:"finding"`
}

var doctorCommand = command{
	name: "doctor", short: "Check for problems and risks", example: "doctor --full",
	flags: []flag{{name: "full", short: "read the whole database too; lines wait meanwhile"}}, run: doctor,
}

// doctor reports inconsistencies, shortages and risky settings.
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
		d.add("ok", "everything", "no problems found")
	}
	return c.out.list([]finding(d))
}

type diagnosis []finding

func (d *diagnosis) add(level, about, format string, args ...any) {
	*d = append(*d, finding{level, about, fmt.Sprintf(format, args...)})
}

// checkConsistency reports what is inconsistent or unavailable.
func (c *call) checkConsistency(d *diagnosis) {
	for _, text := range c.Service.Inconsistencies() {
		d.add("problem", "memory", "%s; the numbers of the server cannot be trusted until it is restarted", text)
	}
	for _, w := range c.Service.Ports().Unbound {
		d.add("problem", "room "+w.Room, "%s; the server keeps trying, rebind %s tries at once", w.Cause, w.Room)
	}
	for _, door := range c.Service.Doors() {
		for _, m := range door.Missing() {
			d.add("problem", door.Name, "%s; the server keeps trying", m)
		}
	}
	if err := c.Store.ReadOnly(); err != nil {
		d.add("problem", "database", "%v; no lines are stored; the server tries again by itself, reopen tries at once", err)
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
		d.add("problem", "room "+cmp.Or(c.Service.RoomName(id), fmt.Sprintf("#%d", id)), "corrupt lines are skipped; doctor --full lists them, and roomd store restore replaces the database by a backup")
	}
	if n := c.Store.CorruptReads(); n > 0 && len(rooms) == 0 {
		d.add("problem", "database", "a record has become corrupt since the start and is skipped; doctor --full names it")
	}
	if c.Store.DiskFull() {
		d.add("problem", "disk", "it is full: lines and changes are refused; free some space, each new line tries again")
	}
	if took := c.Store.SlowDisk(); took > 0 {
		d.add("problem", "disk", "it has not answered for %v; lines wait and none is lost; see the log of the kernel", took.Round(100*time.Millisecond))
	}
}

// checkResources reports shortages.
func (c *call) checkResources(d *diagnosis) error {
	if n, worst := c.Service.Lag(); n > 0 {
		d.add("risk", "members", "%s behind, the slowest by %s", count(n, "member"), count(worst, "event"))
	}
	file, free, err := c.Store.Size()
	if err != nil {
		return err
	}
	if room, ok := disk.FreeBytes(c.Database); ok && room < uint64(max(file, 100<<20)) {
		d.add("risk", "disk", "%s are free, and the database has %s; free some space, or lower history.lines, history.bytes or history.age", cellText("bytes", room), cellText("bytes", file))
	}
	for _, name := range store.StaleTempFiles(c.Database) {
		d.add("risk", "disk", "%s is left over from a process that was killed; you can remove it, and the next start does", name)
	}
	if file > 100<<20 && free > file/2 {
		d.add("risk", "database", "%s of its %s are unused; to shrink the file, stop the server and run roomd store compact", cellText("bytes", free), cellText("bytes", file))
	}
	if used, limit, ok := descriptors(); ok && used*10 > limit*8 {
		d.add("risk", "descriptors", "%s of %s are in use; raise the limit: LimitNOFILE= (systemd) or ulimit -n", thousands(used), thousands(limit))
	}
	if cert := c.Certificate(); cert != nil {
		if cert.Warning != "" {
			level := "risk"
			if !cert.Valid {
				level = "problem"
			}
			d.add(level, "certificate", "%s; renew %s, which the server then loads by itself", cert.Warning, cert.File)
		}
		if cert.ReloadError != "" {
			d.add("problem", "certificate", "the new certificate cannot be loaded and the old one stays in use: %s", cert.ReloadError)
		}
	}
	lost, stalled := c.LogDropped()
	if stalled >= logStallTime {
		d.add("problem", "log", "its reader has read nothing for %v; once the buffer is full, log lines are dropped", stalled.Round(time.Second))
	}
	if lost > 0 {
		d.add("risk", "log", "%s could not be written since the start: its reader was too slow or has ended, or the disk was full", count(lost, "line"))
	}
	p := c.Service.Ports()
	if p.Free == 0 {
		d.add("risk", "ports", "all from %d to %d are in use, and no room can be created; widen rooms.ports", p.First, p.Last)
	}
	for _, r := range c.Service.Rooms() {
		if r.Port != 0 && (r.Port < p.First || r.Port > p.Last) {
			d.add("risk", "room "+r.Name, "its port %d is not in rooms.ports; another program may take it while the server is down", r.Port)
		}
	}
	return nil
}

// checkConfig reports risky settings.
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
		d.add("risk", "history.durability", "a crash can lose the lines of the last history.flush_interval")
	}
	if set["history.lines"] == "0" && set["history.bytes"] == "0" && set["history.age"] == "0s" {
		d.add("risk", "history.lines", "old lines are never removed; the database grows until the disk is full")
	}
	if set["rooms.trash"] == "0s" {
		d.add("risk", "rooms.trash", "a deleted room cannot be restored")
	}
	if host, _, err := net.SplitHostPort(set["metrics.listen"]); err == nil && host != "localhost" && !strings.HasPrefix(host, "127.") && host != "::1" {
		d.add("risk", "metrics.listen", "other machines can read the metrics without a password")
		if set["metrics.profiles"] == "true" {
			d.add("risk", "metrics.profiles", "other machines can take profiles without a password: profiles cost processor time and show the memory")
		}
	}
}
