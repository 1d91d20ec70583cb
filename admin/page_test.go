package admin_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"roomd/admin"
)

// Two readings of load give rates: its counters grow with what members say.
func TestLoad(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	type load struct {
		Started                           string
		Rooms, Members, Lines, Deliveries uint64
		Commits                           uint64
		CommitSeconds                     float64 `json:"commit_seconds"`
		Database                          uint64  `json:"database_bytes"`
	}
	read := func() (l load) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.ok("load --json")), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	before := read()
	s.join("lobby")
	s.speak("lobby", "one", "two", "three")
	after := read()
	if after.Lines != before.Lines+3 || after.Deliveries < before.Deliveries+3 || after.Members != 1 || after.Rooms != 1 {
		t.Errorf("%+v, then %+v", before, after)
	}
	if after.Commits <= before.Commits || after.CommitSeconds <= before.CommitSeconds || after.Database == 0 || after.Started != before.Started {
		t.Errorf("%+v, then %+v", before, after)
	}
}

// help describes every command so that a program can make a form of it.
func TestHelpDescribesForms(t *testing.T) {
	s := startShell(t)
	type described struct {
		Name, Does, Example string
		Args                []struct {
			Name              string
			Optional, Several bool
		}
		Flags                    []struct{ Flag, Name, Value, Default string }
		Changes, Stream, Console bool
	}
	var all []described
	if err := json.Unmarshal([]byte(s.ok("help --json")), &all); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]described)
	for _, c := range all {
		byName[c.Name] = c
		if c.Does == "" || c.Example == "" || len(c.Flags) == 0 {
			t.Errorf("%+v", c)
		}
	}
	set := byName["set"]
	if len(set.Args) != 3 || set.Args[0].Name != "ROOM" || set.Args[0].Optional || !set.Args[2].Optional || !set.Changes {
		t.Errorf("%+v", set)
	}
	if search := byName["search"]; !search.Args[1].Several || search.Flags[0].Name != "-n" || search.Flags[0].Value != "N" || search.Flags[0].Default != "100" {
		t.Errorf("%+v", search)
	}
	if !byName["top"].Stream || !byName["quit"].Console {
		t.Errorf("%+v", byName)
	}
	var one described
	if err := json.Unmarshal([]byte(s.ok("help set --json")), &one); err != nil || one.Name != "set" || len(one.Args) != 3 {
		t.Errorf("%+v %v", one, err)
	}
}

func TestInspect(t *testing.T) {
	for line, want := range map[string]admin.Effect{
		"rooms": {}, "topic lobby": {}, "set lobby": {}, "loglevel": {}, "watch log": {Stream: true}, "top": {Stream: true},
		"topic lobby x": {Changes: true}, "set lobby replay": {Changes: true}, "set lobby --remove": {Changes: true}, "del lobby --dry-run": {Changes: true}, "--page kick ann": {Changes: true},
	} {
		if got, err := admin.Inspect(line); err != nil || got != want {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "nothing", "delete", "rooms --nothing"} {
		if _, err := admin.Inspect(line); err == nil {
			t.Errorf("%q has an effect", line)
		}
	}
}

// The page gives commands as the console does, with questions and secrets, and the audit has its
// door.
func TestPageCommands(t *testing.T) {
	s := startShell(t)
	page := admin.Page{Socket: s.socket}
	run := func(line, token, secret, word string) (admin.Verdict, string) {
		t.Helper()
		var out strings.Builder
		v, err := page.Run(context.Background(), line, token, secret, func(l string) { out.WriteString(l + "\n") })
		if err != nil || v.Word != word {
			t.Fatalf("%s: %+v %v", line, v, err)
		}
		return v, out.String()
	}
	run("create lobby\n--port=x", "", "", "ERR") // one line
	run("create lobby", "", "", "OK")
	ask, _ := run("delete lobby", "", "", "ASK")
	run("delete lobby", "00000000", "", "ERR")
	run("delete lobby", ask.Code, "", "OK")
	run("restore lobby", "", "", "OK")
	run("set lobby password", "", "", "SECRET")
	if _, out := run("set lobby password --json", "", "correct-horse", "OK"); !strings.Contains(out, `"own":true`) {
		t.Error(out)
	}
	run("backup "+s.dir+"/copy.db", "", "", "OK")
	s.ok("create other")
	var audit []struct{ Door, Line string }
	if err := json.Unmarshal([]byte(s.ok("audit --json")), &audit); err != nil {
		t.Fatal(err)
	}
	doors := make(map[string]string)
	for _, a := range audit {
		if strings.HasPrefix(a.Line, "-") || strings.Contains(a.Line, "--page") {
			t.Error(a.Line)
		}
		name, _, _ := strings.Cut(a.Line, " ")
		doors[name] = a.Door
	}
	for _, name := range []string{"delete", "restore", "set", "backup"} {
		if doors[name] != "admin web" {
			t.Errorf("%s: %q", name, doors[name])
		}
	}
	if last := audit[len(audit)-1].Door; last != "admin socket" && audit[0].Door != "admin socket" {
		t.Error(audit)
	}
}
