package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

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
	if out, errs, status := p.admin("reload"); status != exitOK {
		t.Fatal(out, errs)
	}
	for i := range 35 { // rooms.max is 30 otherwise
		if _, errs, status := p.admin("create", fmt.Sprint("room", i)); status != exitOK {
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
		if out, errs, status := p.admin(words...); status != exitOK {
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
