package admin_test

import (
	"bytes"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/admin"
)

// What nobody can carry out is answered in our words: with what may have been
// meant, or with how it is used.
func TestConsoleUsage(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	for line, want := range map[string]string{
		"staus": "did you mean status", "memberz": "did you mean members", "xyzzy": `no command "xyzzy"; help`, "loglevel foo": "debug, info, warn, error",
		"watch log --level foo": "debug, info, warn, error", "create x y": "usage: create ROOM [--port N]", "room": "usage: room ROOM", "rooms --srot members": "did you mean --sort",
		"set lobby replya 3": "did you mean replay", "ban 192.0.2.1 --for 30": "30d",
	} {
		_, errs, status := s.do(strings.Fields(line)...)
		if status == admin.ExitDone || !strings.Contains(errs, want) || strings.Contains(errs, "slog") {
			t.Errorf("%s: status %d, %q has no %q", line, status, errs, want)
		}
	}
	s.ok("ban 192.0.2.1 --for 30d --yes")
	var bans []struct{ Created, Until time.Time }
	if err := json.Unmarshal([]byte(s.ok("bans --json")), &bans); err != nil || len(bans) != 1 || bans[0].Until.Sub(bans[0].Created).Round(time.Hour) != 720*time.Hour {
		t.Error(bans, err)
	}
	s.ok("set lobby age 30d --yes")
	if out := s.ok("set lobby age --json"); !strings.Contains(out, `"720h0m0s"`) {
		t.Error(out)
	}
}

// The help of each command has an example, and no flag twice.
func TestHelpOfEachCommand(t *testing.T) {
	s := startShell(t)
	for _, c := range admin.Summary() {
		name, _, _ := strings.Cut(c, " ")
		var about struct {
			Example string
			Flags   []struct{ Flag string }
		}
		if err := json.Unmarshal([]byte(s.ok("help "+name+" --json")), &about); err != nil || about.Example == "" {
			t.Errorf("%s has no example, %v", name, err)
		}
		seen := make(map[string]bool)
		for _, f := range about.Flags {
			flag, _, _ := strings.Cut(f.Flag, " ")
			if seen[flag] {
				t.Errorf("%s has %s twice", name, flag)
			}
			seen[flag] = true
		}
		want := s.ok("help " + name)
		for _, flag := range []string{" --help", " -h"} {
			if got := s.ok(name + flag); got != want {
				t.Errorf("%s%s: %q, not %q", name, flag, got, want)
			}
		}
	}
	// A flag of one letter has one dash.
	for line, want := range map[string]string{"read lobby -n x": "-n: ", "read lobby -n": "-n needs a value: -n N", "search lobby": "[-n N]"} {
		if _, errs, status := s.do(strings.Fields(line)...); status != admin.ExitUsage || !strings.Contains(errs, want) || strings.Contains(errs, "--n") && !strings.Contains(errs, "--nick") {
			t.Errorf("%s: %d %q", line, status, errs)
		}
	}
	// It is help whatever else is there, and nothing is done; but not as the value
	// of a flag or behind "--".
	s.ok("create lobby")
	if got := s.ok("delete lobby --yes --help"); got != s.ok("help delete") {
		t.Error(got)
	}
	for _, port := range []string{"0", "65536", "-1", "x"} {
		if _, errs, status := s.do("port", "lobby", port); status != admin.ExitUsage || !strings.Contains(errs, "is not a port") {
			t.Errorf("port %s: %d %q", port, status, errs)
		}
	}
	s.ok("topic lobby -- --help")
	if got := s.ok("topic lobby"); !strings.Contains(got, "--help") {
		t.Error(got)
	}
}

// A list in a record is its values, and a dash if there are none.
func TestListsInRecords(t *testing.T) {
	s := startShell(t)
	for _, line := range []string{"status", "ports"} {
		if out := s.ok(line); strings.ContainsAny(out, "[]{}") {
			t.Errorf("%s: %s", line, out)
		}
	}
	if out := s.ok("status"); strings.Contains(out, "missing") {
		t.Error(out) // as in JSON, it is there only if an address is missing
	}
}

// An operator who cannot reach the server is told what to do.
func TestUnreachableRemedy(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	for _, socket := range []string{stale, filepath.Join(dir, "none.sock")} {
		var out, errs bytes.Buffer
		if status := admin.Once(socket, []string{"status"}, nil, &out, &errs, nil); status != admin.ExitUnreachable || !strings.Contains(errs.String(), "--socket FILE\n") || out.Len() > 0 {
			t.Errorf("%s: %d %q", socket, status, &errs)
		}
	}
}
