package admin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/admin"
)

// Every command that changes something only says so with --dry-run.
func TestDryRun(t *testing.T) {
	s := startShell(t)
	for _, line := range []string{"create lobby", "create dev", "create old", "delete old --yes", "ban 192.0.2.1"} {
		s.ok(line)
	}
	s.speak("lobby", "one", "two")
	s.join("lobby")
	s.join("lobby")
	lines := map[string]string{
		"create": "create new --port 1", "delete": "delete dev --in 1s", "restore": "restore old", "purge": "purge old", "rename": "rename dev ops",
		"topic": "topic lobby something", "set": "set lobby read-only on", "port": "port dev 1", "rebind": "", "say": "say lobby hi",
		"announce": "announce hi", "kick": "kick guest-2", "ban": "ban 127.0.0.1", "unban": "unban 1", "mute": "mute guest-2",
		"unmute": "unmute guest-2", "loglevel": "loglevel error", "stop": "stop", "reload": "", "upgrade": "", "backup": "backup " + filepath.Join(s.dir, "x.db"), "reopen": "reopen",
	}
	state := func() (all string) {
		for _, line := range []string{"rooms", "members", "trash", "bans", "audit", "ports", "set lobby", "loglevel", "read lobby"} {
			all += s.ok(line + " --json")
		}
		return all
	}
	var commands []struct {
		Command string `json:"command"`
	}
	if err := json.Unmarshal([]byte(s.ok("help --json")), &commands); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first member is gone, and the others have all that there is", func() bool {
		there := s.Service.FindMembers("127.0.0.1")
		return len(there) == 2 && there[0].Behind+there[1].Behind == 0
	})
	s.ok("mute guest-2")
	before := state()
	for _, c := range commands {
		name, _, _ := strings.Cut(c.Command, " ")
		if !strings.Contains(s.ok("help "+name), "--dry-run") {
			continue
		}
		line, ok := lines[name]
		if !ok {
			t.Errorf("no line for %s", name)
		}
		if line == "" {
			continue // has a test of its own
		}
		if out := s.ok(line + " --dry-run"); len(strings.TrimSpace(out)) < 10 {
			t.Errorf("%s says %q", line, out)
		}
		delete(lines, name)
	}
	delete(lines, "rebind")
	delete(lines, "reload")
	delete(lines, "upgrade")
	if len(lines) > 0 {
		t.Error("without --dry-run:", lines)
	}
	// Rates and ages go on by themselves.
	if after := state(); strip(after) != strip(before) {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// strip takes out what changes with the time.
func strip(text string) string {
	var all []string
	for f := range strings.SplitSeq(text, ",") {
		if !strings.HasPrefix(f, `"rate"`) {
			all = append(all, f)
		}
	}
	return strings.Join(all, ",")
}

// A deletion in some time is announced, shown, cancelled, and carried out.
func TestPlannedDeletion(t *testing.T) {
	s := startShell(t)
	s.ok("create dev")
	ann := s.join("dev")
	if _, errs, status := s.do("delete", "dev", "--in", "1h"); status != admin.ExitUsage || !strings.Contains(errs, "deletes dev in 1 hour: 1 member, ") {
		t.Error(status, errs)
	}
	if out := s.ok("delete dev --in 1h --say moving --yes"); !strings.Contains(out, "dev is to be deleted in 1 hour; delete dev --cancel cancels it") {
		t.Error(out)
	}
	until(t, ann, "* operator: this room is to be deleted in 1 hour: moving")
	for _, line := range []string{"rooms --relative", "room dev --relative"} {
		if out := s.ok(line); !strings.Contains(out, "in 59m") {
			t.Error(out)
		}
	}
	if out := s.ok("delete dev --cancel"); out != "the deletion of dev is cancelled\n" {
		t.Errorf("%q", out)
	}
	until(t, ann, "* operator: the deletion of this room is cancelled")
	if out := s.ok("rooms"); strings.Contains(out, "DELETION") {
		t.Error(out)
	}
	if verdict := s.verdict("delete dev --cancel"); verdict != "ERR no-plan" {
		t.Error(verdict)
	}
	s.ok("delete dev --in 2s --yes")
	until(t, ann, "* operator: this room is to be deleted in 2 seconds")
	s.ok("rename dev ops") // it is the room that goes, whatever it is called
	until(t, ann, "* operator: this room is to be deleted in 1 second")
	until(t, ann, "* ops: chat room being deleted")
	eventually(t, "the audit has it", func() bool { return strings.Contains(s.ok("audit"), "(when it was due)") })
	if out := s.ok("trash"); !strings.Contains(out, "ops") {
		t.Error(out)
	}
}

func TestPlannedStop(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	ann := s.join("lobby")
	s.ok("stop --in 1h --yes")
	until(t, ann, "* operator: the server is to stop in 1 hour")
	if out := s.ok("status --relative"); !strings.Contains(out, "in 59m") {
		t.Error(out)
	}
	s.ok("stop --in 1s --say upgrade --yes") // instead
	until(t, ann, "* operator: the server is to stop in 1 second: upgrade")
	<-s.halted
	if _, errs, status := s.do("stop", "--cancel"); status != admin.ExitRefused {
		t.Error(status, errs)
	}
}

// What is set for one room is shown, kept and taken back, and mistakes say what
// would be right.
func TestSet(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.speak("lobby", strings.Split(strings.Repeat("line\n", 150), "\n")...)
	for line, want := range map[string]string{
		"set lobby members x":   "write 1 to 1000000, or 0 for no limit",
		"set lobby replay -1":   "write 0 to 10000",
		"set lobby lines -5":    "1 or more, or 0 for no limit",
		"set lobby age soon":    "30d",
		"set lobby read-only x": "neither on nor off",
		"set lobby quiet x":     "neither on, off nor a number",
		"set lobby colour red":  "the settings are members, replay, lines, age, read-only, quiet",
		"set lobby re on":       "there is no setting", // read-only or replay
	} {
		if out, errs, status := s.do(strings.Fields(line)...); status != admin.ExitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %q %q", line, status, out, errs)
		}
	}
	if _, errs, status := s.do("set", "lobby", "lines", "100"); status != admin.ExitUsage || !strings.Contains(errs, "removes 50 lines of the 150 lines of lobby for good") {
		t.Error(status, errs)
	}
	s.ok("set lobby li 100 --yes")
	eventually(t, "the lines are gone", func() bool { r, err := s.Service.Room("lobby"); return err == nil && r.Lines == 100 })
	s.ok("set lobby read-only on")
	s.ok("set lobby quiet on")
	out := s.ok("set lobby")
	for _, want := range []string{"lines      100    yes", "read-only  on     yes", "quiet      on     yes", "members    256    no"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	s.ok("set lobby read-only default")
	if out := s.ok("set lobby read"); !strings.Contains(out, "off    no") {
		t.Error(out)
	}
	if out := s.ok("audit --match read-only"); !strings.Contains(out, "set lobby read-only on") || strings.Contains(out, "colour") {
		t.Error(out)
	}
}

// A command that looks is watched: for people as frames, for programs an object
// a line.
func TestWatchCommand(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create members") // a room that is called like a command
	open := func(line string) *bufio.Reader {
		c, err := net.Dial("unix", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, line+"\n")
		return bufio.NewReader(c)
	}
	in := open("watch rooms lob* --every 100ms --sort members")
	for range 2 {
		if l := until(t, in, ""); l != " \n" {
			t.Errorf("a frame begins with %q", l)
		}
		until(t, in, "watch rooms lob*")
		until(t, in, "NAME")
		until(t, in, "lobby")
	}
	in = open("watch members --json --every 100ms")
	for range 2 {
		var frame struct {
			Time  time.Time
			Value []struct{ Nick string }
		}
		if l := until(t, in, ""); json.Unmarshal([]byte(l), &frame) != nil || frame.Time.IsZero() || frame.Value == nil {
			t.Fatalf("%q", l)
		}
	}
	in = open("watch lines --room members --json")
	stop := make(chan bool)
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				s.speak("members", "here")
			}
		}
	}()
	until(t, in, `"room":"members"`)
	close(stop)
	<-done
	for line, want := range map[string]string{
		"watch rooms --every 1ms": "ERR usage", "watch rooms --match x": "ERR usage", "watch delete lobby": "ERR no-room",
		"watch doctor --full": "ERR usage", "watch members a b": "ERR usage", "watch nothing": "ERR no-room",
	} {
		if got := s.verdict(line); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
	in = open("top --json --every 100ms")
	if l := until(t, in, `"lagging"`); !json.Valid([]byte(l)) {
		t.Errorf("%q", l)
	}
}

// A port that another program has is shown with its reason, and those that rest.
func TestPorts(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create dev")
	s.ok(fmt.Sprintf("port dev %d", s.Options.Ports[1]))
	s.Stop()
	thief, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.Options.Ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	out := s.ok("ports")
	for _, want := range []string{"bound       1", "unbound     1", fmt.Sprintf("quarantine  %d", s.Options.Ports[0]+1), fmt.Sprintf("lobby  %d  port %d is in use by another program", s.Options.Ports[0], s.Options.Ports[0])} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if out := s.ok("rooms --state unbound"); !strings.Contains(out, "lobby") || !strings.Contains(out, "another program") || strings.Contains(out, "dev") {
		t.Error(out)
	}
	if out := s.ok("doctor"); !strings.Contains(out, "rebind lobby tries at once") {
		t.Error(out)
	}
	if out := s.ok("rebind lobby --dry-run"); !strings.Contains(out, "would try to listen") {
		t.Error(out)
	}
	if _, errs, status := s.do("rebind", "lobby"); status != admin.ExitRefused || !strings.Contains(errs, "another program") {
		t.Error(status, errs)
	}
	thief.Close()
	eventually(t, "it is bound", func() bool {
		s.do("rebind", "lobby")
		return strings.Contains(s.ok("ports"), "bound       2")
	})
	if out := s.ok("doctor"); !strings.Contains(out, "no problems found") {
		t.Error(out)
	}
}

// Who gave a command is found by name and by uid.
func TestAuditBy(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	var all []struct {
		UID  int
		User string
		Line string
	}
	if err := json.Unmarshal([]byte(s.ok("audit --json")), &all); err != nil || len(all) != 1 || all[0].Line != "create lobby" {
		t.Fatal(all, err)
	}
	for by, want := range map[string]bool{all[0].User: true, fmt.Sprint(all[0].UID): true, "nobody-else": false} {
		if out := s.ok("audit --by " + by); strings.Contains(out, "create lobby") != want {
			t.Errorf("%s: %s", by, out)
		}
	}
}

// What our own clients ask for in front of a line is no part of it.
func TestPainted(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.speak("lobby", "/topic "+nasty)
	out := s.ok("--color rooms")
	if !strings.Contains(out, "\x1b[1mNAME\x1b[0m") || strings.Contains(out, "\x1b[31m\x07") || strings.Contains(out, "\u202e") {
		t.Errorf("%q", out)
	}
	if out := s.ok("rooms"); strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	s.ok("--color say lobby -- --yes")
	if out := s.ok("audit"); !strings.Contains(out, "say lobby -- --yes") || strings.Contains(out, "--color") {
		t.Error(out)
	}
}

// A dry run is refused where the run would be, for the same reason.
func TestDryRunIsRefusedAsTheRun(t *testing.T) {
	s := startShell(t)
	for _, line := range []string{"create lobby", "create dev", "create gone", "delete gone --yes", "create gone"} {
		s.ok(line)
	}
	for _, line := range []string{
		"create LOBBY", "create a/b", "restore nothing", "restore gone", "rename dev lobby", "rename dev a/b", "rename nowhere x", "topic nowhere text",
		"port dev 0", "port dev 70000", fmt.Sprint("port dev ", s.Service.Port()), fmt.Sprint("port dev ", s.Options.Ports[0]+1), "port dev x", "rebind nowhere", "rebind dev", "say nowhere hi", "unban 9", "unban x",
		"kick nobody", "mute nobody", "unmute nobody", "purge nothing", "delete nowhere --yes", "set nowhere lines 5", "set dev lines x", "loglevel loud", "ban 127.1", "ban x --room nowhere", "ban x --for y", "stop --cancel",
	} {
		_, dry, status := s.do(append(strings.Fields(line), "--dry-run")...)
		_, run, want := s.do(strings.Fields(line)...)
		if status != want || dry != run || status == admin.ExitDone {
			t.Errorf("%s: dry %d %q, run %d %q", line, status, dry, want, run)
		}
	}
}
