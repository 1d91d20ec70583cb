package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// noLimits are the numbers and times that are no limits, where 0 is refused or is
// nothing but 0, with the reason. Of every other 0 is "no limit".
var noLimits = map[string]string{
	"server.port":            "a port",
	"rooms.replay":           "how much is shown: 0 is none",
	"rooms.quiet_above":      "a number of members: 0 is always",
	"rooms.trash":            "how long something is kept: 0 is not at all",
	"limits.dead_peer":       "within which something is noticed",
	"history.flush_interval": "how often something is done",
}

var (
	numbers   = regexp.MustCompile(`"?(\d+[a-z]*)"? (?:to "?(\d+[a-z]*)"?|or (more))`)
	zeroIs    = regexp.MustCompile(`"?0s?"?: ([^.\[]+)`)
	effects   = regexp.MustCompile(`\[(reload|upgrade|restart|first start)\]`)
	valueLine = regexp.MustCompile(`^(\w+) = (.*)$`)
)

// For every key that is a number or a time: the range that config.toml states is
// the one of the schema, to the last number on each side, 0 is what it says it is,
// and of a limit it is "no limit".
func TestSchemaIsAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	values := make(map[string]string)
	section, comment := "", ""
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		switch m := valueLine.FindStringSubmatch(l); {
		case strings.HasPrefix(l, "["):
			section, comment = strings.Trim(l, "[]"), ""
		case strings.HasPrefix(l, "#"):
			comment += strings.TrimPrefix(l, "#")
		case m != nil:
			comments[section+"."+m[1]], values[section+"."+m[1]] = comment, m[2]
			comment = ""
		}
	}
	takes := func(name, value string) bool {
		var v any = strings.Trim(value, `"`)
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			v = n
		}
		i := slices.IndexFunc(schema, func(k key) bool { return k.name == name })
		return schema[i].set(defaults(), v) == nil
	}
	checked := 0
	for _, k := range schema {
		comment, value := comments[k.name], values[k.name]
		isTime := strings.HasPrefix(value, `"`) && regexp.MustCompile(`^"\d+[a-z]+"$`).MatchString(value)
		if _, err := strconv.ParseFloat(value, 64); err != nil && !isTime {
			continue
		}
		checked++
		if !effects.MatchString(comment) {
			t.Errorf("%s: it is not said when a new value counts", k.name)
		}
		m := numbers.FindStringSubmatch(comment)
		if m == nil {
			t.Errorf("%s: no range in %q", k.name, comment)
			continue
		}
		least, most := m[1], m[2]
		isRate := strings.Contains(value, ".")
		// what the value on the other side of a bound is
		beyond := func(bound string, by int) string {
			if isTime {
				d, err := time.ParseDuration(bound)
				if err != nil {
					t.Fatalf("%s: %v", k.name, err)
				}
				return strconv.Quote((d + time.Duration(by)).String())
			}
			n, err := strconv.Atoi(bound)
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			return strconv.Itoa(n + by)
		}
		if !takes(k.name, beyond(least, 0)) {
			t.Errorf("%s: %s is refused, and in the range", k.name, least)
		}
		if b := beyond(least, -1); b != "0" && b != `"0s"` && !isRate && takes(k.name, b) {
			t.Errorf("%s: %s is taken, and out of the range", k.name, b)
		}
		if takes(k.name, beyond("0"+map[bool]string{true: "s"}[isTime], -1)) {
			t.Errorf("%s: it takes less than nothing", k.name)
		}
		if most == "" {
			most = map[bool]string{true: "87600h", false: "1000000000"}[isTime]
		} else if takes(k.name, beyond(most, 1)) {
			t.Errorf("%s: more than %s is taken", k.name, most)
		}
		if !takes(k.name, beyond(most, 0)) {
			t.Errorf("%s: %s is refused, and in the range", k.name, most)
		}
		zero := "0"
		if isTime {
			zero = `"0s"`
		}
		is := zeroIs.FindStringSubmatch(comment)
		inRange := least == "0" || least == "0s"
		if takes(k.name, zero) != (is != nil || inRange) {
			t.Errorf("%s: 0 is taken: %v, and the comment says of it %q", k.name, takes(k.name, zero), is)
		}
		if noLimits[k.name] == "" && (is == nil || !takes(k.name, zero)) {
			t.Errorf("%s is a limit, and 0 is not said to be none: %q", k.name, comment)
		}
		if strings.Contains(comment, "above 0") {
			t.Errorf("%s: 0 is allowed, and the comment says above it", k.name)
		}
		// And so it is shown by the error.
		if _, err := parseConfig("f", k.name+" = "+beyond("0"+map[bool]string{true: "s"}[isTime], -1), 0); err == nil || noLimits[k.name] == "" && !strings.Contains(fmt.Sprint(err), "0") {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	if checked < 18 {
		t.Error("only", checked, "keys are numbers or times")
	}
	for name := range noLimits {
		if comments[name] == "" {
			t.Errorf("%s is no key", name)
		}
	}
}

// Without a limit on connections there are as many as the descriptors leave.
func TestConnectionsWithoutLimit(t *testing.T) {
	for _, c := range []struct {
		rooms, listen int
		limit         uint64
		want          int
	}{{64, 1, 20000, 20000 - 64 - 64}, {64, 2, 20000, 20000 - 128 - 64}, {0, 1, 20000, 20000 - 1000 - 64}, {64, 1, 100, 16}, {64, 1, 1<<64 - 1, 1 << 30}} {
		cfg := defaults()
		cfg.Limits.Connections, cfg.Rooms.Max = 0, c.rooms
		cfg.Server.Listen = append(cfg.Server.Listen, cfg.Server.Listen...)[:c.listen]
		if w := fitDescriptors(cfg, c.limit); w != "" || cfg.Limits.Connections != c.want {
			t.Errorf("%+v: %d %s", c, cfg.Limits.Connections, w)
		}
	}
}

// With 0 for every limit nothing is limited: members, rooms and lines go beyond
// what the limits are by default, and a reload brings them.
func TestWithoutLimits(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.configure("rooms.max = 1", "limits.members = 1", "limits.connections = 60", "limits.lines_per_second = 1", "limits.burst = 1", "limits.line_bytes = 64", "history.lines = 1", "limits.max_lag = 1")
	p.start()
	if _, errs, status := p.admin("create", "dev"); status != exitFailed || !strings.Contains(errs, "the limit") {
		t.Error(status, errs)
	}
	p.configure("rooms.max = 0", "limits.members = 0", "limits.connections = 0", "limits.per_address = 0", "limits.connects_per_second = 0",
		"limits.requests_per_second = 0", "limits.lines_per_second = 0", "limits.burst = 0", "limits.line_bytes = 0", "limits.max_lag = 0", "history.lines = 0", "history.bytes = 0", "rooms.trash_bytes = 0", `history.age = "0s"`, `limits.master_idle = "0s"`)
	if out, errs, status := p.admin("reload"); status != exitDone {
		t.Fatal(out, errs)
	}
	for i := range 35 { // rooms.max is 30 otherwise
		if _, errs, status := p.admin("create", fmt.Sprint("room", i)); status != exitDone {
			t.Fatal(i, errs)
		}
	}
	var all []*member
	for i := range 70 {
		m := p.come(p.first)
		m.hear("you are guest-")
		all = append(all, m)
		if i > 0 {
			continue
		}
		var text strings.Builder
		for n := range 2000 {
			fmt.Fprintf(&text, "%d\n", n)
		}
		m.say(text.String() + strings.Repeat("x", 60000) + "\n")
		began := time.Now()
		m.hear("> 1999")
		m.hear("> " + strings.Repeat("x", 60000))
		if took := time.Since(began); took > 15*time.Second { // with a line a second it is half an hour
			t.Errorf("2,000 lines took %v", took)
		}
	}
	all[69].say("at last\n")
	all[0].hear("> at last")
	for _, words := range [][]string{{"set", "lobby", "members", "0"}, {"set", "lobby", "lines", "0"}, {"set", "lobby", "lines", "1", "--yes"}} {
		if out, errs, status := p.admin(words...); status != exitDone {
			t.Error(words, out, errs)
		}
	}
	p.come(p.first).hear("you are guest-")
	eventually(t, "the history has one line", func() bool {
		out, _, _ := p.admin("room", "lobby", "--json")
		return strings.Contains(out, `"lines":1,`)
	})
}

// Each of the two alone lets a flood through.
func TestEitherRateWithoutLimit(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"limits.lines_per_second = 0\nlimits.burst = 1", "limits.lines_per_second = 1\nlimits.burst = 0"} {
		p := newProcess(t, line)
		p.start()
		m := p.come(p.first)
		m.say(strings.Repeat("flood\n", 500) + "end\n")
		began := time.Now()
		m.hear("> end")
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%s: %v", line, took)
		}
	}
}
