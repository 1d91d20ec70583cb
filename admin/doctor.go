package admin

import (
	"fmt"
	"strings"
)

// finding is something that the operator should know.
type finding struct {
	Level   string `json:"level"` // problem, risk or ok
	About   string `json:"about"`
	Finding string `json:"finding"`
}

var doctorCommand = command{
	name: "doctor", short: "look for problems and risks", example: "doctor --full",
	flags: []flag{{"full", "", "read the whole database too; lines wait meanwhile"}}, run: doctor,
}

// doctor compares what is kept twice, and looks at what may run out.
func doctor(c *call) error {
	var all []finding
	say := func(level, about, format string, args ...any) {
		all = append(all, finding{level, about, fmt.Sprintf(format, args...)})
	}
	for _, text := range c.Service.Inconsistencies() {
		say("problem", "members", "%s", text)
	}
	if err := c.Store.Broken(); err != nil {
		say("problem", "database", "%v; nothing is kept until the server is started anew", err)
	}
	for _, r := range c.Service.Rooms() {
		if r.State != "open" {
			say("problem", "room "+r.Name, "%s; the server keeps trying", r.Cause)
		}
	}
	if n, worst := c.Service.Lag(); n > 0 {
		say("risk", "members", "%s behind, the worst by %s", count(n, "member"), count(worst, "event"))
	}
	file, free, err := c.Store.Size()
	if err != nil {
		return err
	}
	if room, ok := diskFree(c.Data); ok && room < uint64(max(file, 100<<20)) {
		say("risk", "disk", "%s are free, the database has %s", cell("bytes", room), cell("bytes", file))
	}
	if file > 100<<20 && free > file/2 {
		say("risk", "database", "%s of its %s are free: the file does not shrink by itself", cell("bytes", free), cell("bytes", file))
	}
	if used, limit, ok := descriptors(); ok && used*10 > limit*8 {
		say("risk", "descriptors", "%d of %d are in use", used, limit)
	}
	open := false
	set := make(map[string]string)
	for _, s := range c.Config() {
		set[s.Key] = s.Value
	}
	for a := range strings.FieldsSeq(set["server.listen"]) {
		open = open || !strings.HasPrefix(a, "127.") && a != "::1"
	}
	if open && set["access.delete"] == "anyone" {
		say("risk", "access", "anyone who can reach the server may delete rooms; access.delete = \"creator\" is safer")
	}
	if set["history.durability"] == "relaxed" {
		say("risk", "history", "a crash can lose what was shown within history.flush_interval")
	}
	if _, full := c.flags["full"]; full {
		if err := c.Store.Check(); err != nil {
			say("problem", "database", "%v", err)
		}
	}
	if len(all) == 0 {
		say("ok", "everything", "nothing to complain about")
	}
	return c.out.list(all)
}
