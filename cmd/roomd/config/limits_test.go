package config

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
	"irc.resume":             "how long something is known: 0 is not at all",
	"irc.replay":             "how much is shown: 0 is none",
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
	text, err := os.ReadFile("../../../config.toml")
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
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		return keys[i].set(Default(), v) == nil
	}
	checked := 0
	for _, k := range keys {
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
		if _, err := Parse("f", k.name+" = "+beyond("0"+map[bool]string{true: "s"}[isTime], -1), 0); err == nil || noLimits[k.name] == "" && !strings.Contains(fmt.Sprint(err), "0") {
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
		cfg := Default()
		cfg.Limits.Connections, cfg.Rooms.Max = 0, c.rooms
		cfg.Server.Listen = append(cfg.Server.Listen, cfg.Server.Listen...)[:c.listen]
		if w := cfg.fitDescriptors(c.limit); w != "" || cfg.Limits.Connections != c.want {
			t.Errorf("%+v: %d %s", c, cfg.Limits.Connections, w)
		}
	}
}
