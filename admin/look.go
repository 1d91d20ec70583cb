package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/wire"
	"roomd/store"
	"roomd/store/disk"
)

var lookCommands = []command{
	{name: "status", short: "Show the server's version, addresses and totals", example: "status", run: status},
	{name: "health", short: "Show whether the server is ready", about: "It is not ready while it starts or stops, the database is read-only, or the disk does not answer. With --live any answer is enough.", example: "health",
		flags: []flag{{name: "live", short: "only whether the server answers"}}, run: health},
	{name: "load", short: "Show the load of the server in numbers", about: "LINES, DELIVERIES, WRITTEN BYTES, COMMITS and COMMIT SECONDS count from the start; WORST counts the pending events of the slowest member. watch load repeats it.", example: "load", run: load},
	{name: "rooms", args: []param{{name: "PATTERN", optional: true}}, short: "List the rooms", about: "PATTERN is a name in which * stands for any characters. SPOKE is the time of the newest line, RATE is in lines a minute.", example: "rooms 'dev*' --sort members",
		flags: []flag{sortFlag("members|rate|bytes|last"), {"state", oneOf("open|unbound|opening|closing"), "only rooms in this state"}}, run: rooms},
	{name: "room", args: []param{roomArg}, short: "Show one room", about: "lagging counts the members with pending events, worst the pending events of the slowest of them; rate is in lines a minute.", example: "room lobby", run: func(c *call) error {
		return c.out.value(struct {
			netsvc.RoomDetail
			Deletion time.Time `json:"deletion,omitzero" table:"maybe"`
		}{c.target, c.plans.due(c.target.ID)})
	}},
	{name: "members", args: []param{roomNameArg.asOptional()}, short: "List the members of one room or of all rooms", about: "A member that has left and still has to read its pending lines is leaving. BEHIND counts its pending events.", example: "members lobby --sort lag",
		flags: []flag{sortFlag("lag|idle|since")}, run: func(c *call) error {
			all, err := c.Service.Members(c.arg())
			if err != nil {
				return err
			}
			if err := sortBy(all, c.flags["sort"]); err != nil {
				return err
			}
			return c.out.list(all)
		}},
	{name: "who", args: []param{memberArg}, short: "Find a member in any room", example: "who ann", run: func(c *call) error {
		return c.out.list(c.Service.FindMembers(c.args[0]))
	}},
	{name: "connections", args: []param{addrArg.asOptional()}, short: "List the connections of clients", about: "Each has a kind: member, leaving, closing, master (the master port), password (a password check) or handshake (of TLS). With ADDR: only those from this address.", example: "connections 192.0.2.7",
		run: func(c *call) error { return c.out.list(c.Service.Conns(c.arg())) }},
	{name: "ports", short: "Show which ports rooms use and which are free", about: "It also lists the rooms that wait for their port, with the reason.", example: "ports", run: ports},
	{name: "read", args: []param{roomArg}, short: "Show the newest lines of a room", example: "read lobby -n 50",
		flags: []flag{limitFlag("20"), {"since", sinceValue, "only lines after this sequence number, or from this time ago until now, like 1h"}}, run: read},
	{name: "search", args: []param{{name: "ROOM|*", complete: openRooms}, textArg}, short: "Find lines by their text", about: "* searches all rooms. The newest matches are shown.", example: "search '*' disk full --since 24h",
		flags: []flag{limitFlag("100"), sinceFlag, {name: "count", short: "show only the number of matches"}}, run: search},
}

// sortFlag is the flag that sorts, with the columns of most use.
func sortFlag(columns string) flag {
	return flag{"sort", param{name: columns}, "by a column, largest or latest first"}
}

func status(c *call) error {
	v := struct {
		Version   string `json:"version"`
		PID       int    `json:"pid"`
		Config    string `json:"config,omitempty"`
		Database  string `json:"database"`
		Addresses string `json:"addresses,omitempty"` // of the master port
		Advertise string `json:"advertise,omitempty"` // the address that clients are told
		netsvc.Status
		Stop       time.Time `json:"stop,omitzero" table:"maybe"`
		LogDropped uint64    `json:"log_dropped" table:"maybe"` // lines that could not be written
		LogWaits   string    `json:"log_waits,omitempty"`       // how long the reader of the log has read nothing

		CertificateExpires time.Time `json:"certificate_expires,omitzero"`
		CertificateRenewed time.Time `json:"certificate_renewed,omitzero"` // when the server loaded it
	}{Version: c.Version, PID: os.Getpid(), Config: c.ConfigFile, Database: c.Database, Status: c.Service.Status(), Stop: c.plans.due(0)}
	v.Addresses, v.Advertise = c.Server.Addresses()
	var stalled time.Duration
	if v.LogDropped, stalled = c.Server.LogDropped(); stalled >= logStallTime {
		v.LogWaits = stalled.Round(time.Second).String()
	}
	if cert := c.Certificate(); cert != nil {
		v.CertificateExpires, v.CertificateRenewed = cert.Expires, cert.Loaded
	}
	return c.out.value(v)
}

// load shows numbers of which two readings give a rate. None of them needs a transaction that waits.
func load(c *call) error {
	v := struct {
		Started     time.Time `json:"started"` // another one means that the counters began again
		Rooms       int       `json:"rooms"`
		Members     int       `json:"members"`
		Connections int       `json:"connections"`
		Lagging     int       `json:"lagging"`
		Worst       uint64    `json:"worst"`
		Lines       uint64    `json:"lines"`
		Deliveries  uint64    `json:"deliveries"`
		Written     uint64    `json:"written_bytes"`
		Commits     uint64    `json:"commits"`
		Committing  float64   `json:"commit_seconds"`
		Database    int64     `json:"database_bytes"`
		Unused      int64     `json:"unused_bytes"` // of the database
		Disk        uint64    `json:"disk_free_bytes"`
	}{Started: c.Service.Status().Started}
	for _, r := range c.Service.Rooms() {
		v.Rooms++
		v.Members += r.Members
		v.Lagging += r.Lagging
		v.Worst = max(v.Worst, r.Worst)
	}
	n := c.Service.Counters()
	v.Connections, v.Lines, v.Deliveries, v.Written = c.Service.Connections(), n.Lines, n.Deliveries, n.Bytes
	commits, took := c.Store.Commits()
	v.Commits, v.Committing = commits, took.Seconds()
	v.Disk, _ = disk.FreeBytes(c.Database)
	var err error
	v.Database, v.Unused, err = c.Store.Size()
	return cmp.Or(err, c.out.value(v))
}

// logStallTime is how long a log line may be pending before status and doctor report it.
const logStallTime = time.Second

func health(c *call) error {
	if c.has("live") {
		return c.out.text("live")
	}
	if c.NotReady != nil {
		if err := c.NotReady(); err != nil {
			return refuse("not-ready", "%v", err)
		}
	}
	return c.out.text("ready")
}

func rooms(c *call) error {
	all := c.Service.Rooms()
	if len(c.args) == 1 {
		pattern := wire.NewPattern(c.args[0])
		all = slices.DeleteFunc(all, func(r netsvc.RoomDetail) bool { return !pattern.Match(wire.Fold(r.Name)) })
	}
	if state := strings.ToLower(c.flags["state"]); state != "" {
		all = slices.DeleteFunc(all, func(r netsvc.RoomDetail) bool { return r.State != state })
	}
	if err := sortBy(all, c.flags["sort"]); err != nil {
		return err
	}
	type row struct {
		Name     string    `json:"name"`
		Port     int       `json:"port"`
		State    string    `json:"state"`
		Cause    string    `json:"cause" table:"maybe"`
		ReadOnly bool      `json:"read_only" table:"maybe"`
		Deletion time.Time `json:"deletion,omitzero" table:"maybe"`
		Members  int       `json:"members"`
		Lines    uint64    `json:"lines"`
		Bytes    uint64    `json:"bytes"`
		Rate     float64   `json:"rate"`
		Spoke    time.Time `json:"spoke,omitzero"`
		Topic    string    `json:"topic"`
	}
	return c.out.list(mapSlice(all, func(r netsvc.RoomDetail) row {
		return row{r.Name, r.Port, r.State, r.Cause, r.ReadOnly, c.plans.due(r.ID), r.Members, r.Lines, r.Bytes, r.Rate, r.Spoke, r.Topic}
	}))
}

// ports shows one object in JSON, and for people a summary and the unbound rooms.
func ports(c *call) error {
	p := c.Service.Ports()
	if c.out.json {
		return c.out.value(p)
	}
	quarantine := strings.Trim(fmt.Sprint(p.Resting[:min(10, len(p.Resting))]), "[]")
	if n := len(p.Resting) - 10; n > 0 {
		quarantine += fmt.Sprintf(" and %s more", thousands(uint64(n)))
	}
	err := c.out.value(struct {
		Range      string `json:"range"`
		Bound      int    `json:"bound"`
		Unbound    int    `json:"unbound"`
		Free       int    `json:"free"`
		Next       []int  `json:"next"`
		Quarantine string `json:"quarantine"`
	}{fmt.Sprintf("%d-%d", p.First, p.Last), p.Bound, len(p.Unbound), p.Free, p.Next, quarantine})
	if err != nil || len(p.Unbound) == 0 {
		return err
	}
	return c.out.list(p.Unbound)
}

// sortBy sorts structs by the field with this JSON name, which may be abbreviated. The largest
// or the latest value comes first; idle is the opposite of spoke. Without a column the order
// stays.
func sortBy[T any](all []T, column string) error {
	if column == "" {
		return nil
	}
	aliases := map[string]string{"lag": "behind", "idle": "spoke", "last": "spoke"}
	fields := slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[T]()), func(f reflect.StructField) bool { return fieldName(f) == "" })
	names := mapSlice(fields, fieldName)
	found := matchPrefix(cmp.Or(aliases[column], column), names)
	if len(found) != 1 {
		return refuse("usage", "there is no column %q; sort by one of %s", column, strings.Join(names, ", "))
	}
	index := fields[slices.Index(names, found[0])].Index
	slices.SortStableFunc(all, func(a, b T) int {
		x, y := reflect.ValueOf(a).FieldByIndex(index).Interface(), reflect.ValueOf(b).FieldByIndex(index).Interface()
		if column == "idle" {
			return compare(x, y)
		}
		return compare(y, x)
	})
	return nil
}

func compare(a, b any) int {
	switch a := a.(type) {
	case int:
		return cmp.Compare(a, b.(int))
	case uint64:
		return cmp.Compare(a, b.(uint64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case string:
		return cmp.Compare(wire.Fold(b.(string)), wire.Fold(a)) // from a to z
	}
	return 0
}

// historyLine is a stored line as operators see it.
type historyLine struct {
	Room   string    `json:"room"`
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Notice bool      `json:"notice,omitempty"` // of a message
	From   string    `json:"from"`
	Text   string    `json:"text"`
}

func historyLineOf(room string, l store.Line) historyLine {
	return historyLine{room, l.Seq, l.Time, l.Kind.String(), l.Kind == store.Notice, l.From, l.Text}
}

// String is the line for people.
func (l historyLine) String() string {
	return l.Time.Local().Format(timeFormat) + " " + formatLine(l.Type, l.From, l.Text, func(nick string) string { return nick })
}

// formatLine formats a line for people; draw draws the nick.
func formatLine(kind, from, text string, draw func(nick string) string) string {
	ev := wire.Event{Type: cmp.Or(wire.Type(kind), wire.TypeMessage), From: from, Text: text}
	if ev.Type == wire.TypeTopic && text == "" { // the console removed the topic
		return "* " + from + " set the topic: "
	}
	line, who := ev.Line(), "<"+from+">"
	if rest, ok := strings.CutPrefix(line, who); ok {
		return draw(who) + rest
	}
	return line
}

func read(c *call) error {
	r, from := c.target, c.sinceTime()
	lines, damaged, err := c.Service.Lines(c.ctx, r.Name, c.afterSeq, c.numbers["n"])
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if err != nil && len(lines) == 0 {
		return err
	}
	var all []historyLine
	for _, l := range lines {
		if !l.Time.Before(from) {
			all = append(all, historyLineOf(r.Name, l))
		}
	}
	if e := c.lines(all, false); e != nil || err == nil && damaged == 0 {
		return e
	}
	return incompleteError(describeUnread(r.Name, damaged, err))
}

// describeUnread describes the part of a history that could not be read.
func describeUnread(room string, blocks int, err error) string {
	if err != nil {
		return fmt.Sprintf("only a part of %s could be read: %v", room, err)
	}
	return fmt.Sprintf("%s of %s skipped", count(blocks, "corrupt block"), room)
}

// incompleteError is the verdict of an incomplete answer.
func incompleteError(what ...string) error {
	return refuse("damaged", "the answer is incomplete: %s; doctor --full lists the corrupt records", strings.Join(what, "; "))
}

// lines writes lines of a history; several says that they are of several rooms.
func (c *call) lines(all []historyLine, several bool) error {
	if c.out.json || len(all) == 0 {
		return c.out.list(all)
	}
	for _, l := range all {
		text := l.String()
		if several {
			text = l.Room + " " + text
		}
		if err := c.out.text("%s", text); err != nil {
			return err
		}
	}
	return nil
}

func search(c *call) error {
	n, since := c.numbers["n"], c.sinceTime()
	names := openRooms(c.Server, nil)
	if c.args[0] != "*" {
		r, err := c.Service.Room(c.args[0])
		if err != nil {
			return err
		}
		names = []string{r.Name}
	}
	var hits []historyLine
	var missing []string
	total := 0
	for _, name := range names {
		found, err := c.Service.Search(c.ctx, name, strings.Join(c.args[1:], " "), since, n)
		total += found.Count
		hits = append(hits, mapSlice(found.Lines, func(l store.Line) historyLine { return historyLineOf(name, l) })...)
		switch code, _, _ := netsvc.ClientError(err); {
		case code == "no-room" && c.args[0] == "*": // the room was deleted meanwhile
		case code != "":
			return err
		case c.ctx.Err() != nil:
			return context.Cause(c.ctx)
		case err != nil || found.Damaged > 0:
			missing = append(missing, describeUnread(name, found.Damaged, err))
		}
	}
	if c.args[0] == "*" {
		missing = append(missing, c.Store.SkippedRooms()...)
	}
	var err error
	if c.has("count") {
		err = c.out.value(struct {
			Hits int `json:"hits"`
		}{total})
	} else {
		slices.SortStableFunc(hits, func(a, b historyLine) int { return a.Time.Compare(b.Time) })
		hits = hits[max(0, len(hits)-n):]
		if err = c.lines(hits, c.args[0] == "*"); err == nil && !c.out.json && len(hits) > 0 {
			err = c.out.text("%s", hitSummary(len(hits), total))
		}
	}
	if err != nil || len(missing) == 0 {
		return err
	}
	return incompleteError(missing...)
}

// hitSummary says how many of the hits are shown.
func hitSummary(shown, total int) string {
	if shown == total {
		return "(" + count(total, "hit") + ")"
	}
	return fmt.Sprintf("(the newest %s of %s; -n %d shows all)", thousands(uint64(shown)), count(total, "hit"), total)
}

// auditOf writes the audit of a store, whose server need not be running.
func auditOf(ctx context.Context, st *store.Store, out *output, since time.Time, by, match string, n int) error {
	all, damaged, err := st.Audits(ctx, since, n, func(a *store.Audit) bool {
		host := ""
		if addr, err := netip.ParseAddrPort(a.From); err == nil {
			host = addr.Addr().String()
		}
		return (by == "" || a.User == by || strconv.Itoa(a.UID) == by || a.From == by || host == by && host != "") && strings.Contains(a.Line, match)
	})
	if err != nil {
		return err
	}
	type row struct {
		Time   time.Time `json:"time"`
		UID    int       `json:"uid"` // -1: unknown, or not a user of this machine
		User   string    `json:"user"`
		From   string    `json:"from"`
		Door   string    `json:"door"`
		Line   string    `json:"line"`
		Result string    `json:"result"`
	}
	rows := mapSlice(all, func(a store.Audit) row {
		return row{a.Time, a.UID, a.User, a.From, cmp.Or(a.Door, store.DoorAdmin), a.Line, a.Result}
	})
	if err := out.list(rows); err != nil || damaged == 0 {
		return err
	}
	return refuse("damaged", "the answer is incomplete: %s of the audit skipped", count(damaged, "corrupt record"))
}

// PrintAudit prints the audit of a store that no server has open.
func PrintAudit(st *store.Store, w io.Writer, asJSON bool) error {
	var unwritten error
	damage := renderLines(asJSON, func(l string) {
		if unwritten == nil {
			_, unwritten = fmt.Fprintln(w, l)
		}
	}, func(out *output) error { return auditOf(context.Background(), st, out, time.Time{}, "", "", 1<<30) })
	return cmp.Or(unwritten, damage)
}
