package admin_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"roomd/admin"
)

// The same names, as keyboards and file systems write them.
const (
	composed   = "Café-ops"
	decomposed = "cafe\u0301-OPS"
	wide       = "ｃａｆé-ｏｐｓ"
)

// A name finds its room however it is written, and no other room: to destroy
// one, to look at it, and in completion.
func TestOneRuleOfNames(t *testing.T) {
	s := startShell(t)
	// Without case ας and ασ are the same by Unicode's folding, and two names here.
	for _, name := range []string{"ας", "ασ", composed, "lobby"} {
		s.ok("create " + name)
	}
	s.ok("delete ας --yes")
	s.ok("delete ασ --yes") // the last deleted comes first
	if _, errs, status := s.do("purge", "ας"); status != admin.ExitUsage || !strings.Contains(errs, "removes ας for good") {
		t.Errorf("%d %s", status, errs)
	}
	if out := s.ok("purge ας --yes"); !strings.Contains(out, "the room ας is removed for good") {
		t.Error(out)
	}
	if _, errs, status := s.do("purge", "ας", "--yes"); status != admin.ExitRefused || !strings.Contains(errs, "no room ας in the trash") {
		t.Errorf("%d %s", status, errs)
	}
	var trash []struct{ Name string }
	if err := json.Unmarshal([]byte(s.ok("trash --json")), &trash); err != nil || fmt.Sprint(trash) != "[{ασ}]" {
		t.Error(trash, err)
	}
	if out := s.ok("rooms Ας"); !strings.Contains(out, "none") {
		t.Error(out)
	}
	p := s.talk("lobby")
	p.says("/nick " + composed)
	s.speak(composed, "needle")
	for _, name := range []string{composed, decomposed, wide} {
		prefix := []rune(name)
		prefix = prefix[:len(prefix)-3]
		for line, want := range map[string]string{
			"rooms " + name: composed, "rooms " + string(prefix) + "*": composed, "room " + name: composed, "read --json " + name: composed,
			"search --json " + name + " needle": composed, "members " + name: "none", "who " + name: composed, "complete 'room " + string(prefix) + "'": composed,
			"complete 'kick " + string(prefix) + "'": composed, "set " + name + " replay": "replay", "topic " + name: composed + " has no topic",
			"say " + name + " hi": "notice sent to", "rename " + name + " x --dry-run": composed, "delete --dry-run " + name: composed,
			"ban lobbyist --room " + name + " --dry-run": "kicks 0", "mute --dry-run " + name: "1 member",
		} {
			out, errs, status := s.do(strings.Fields(line)...)
			if first, rest, ok := strings.Cut(line, " '"); ok {
				out, errs, status = s.do(first, strings.TrimSuffix(rest, "'"))
			}
			if status != admin.ExitDone || !strings.Contains(out, want) {
				t.Errorf("%s: %d %q %q", line, status, out, errs)
			}
		}
		s.ok("delete --yes " + name)
		s.ok("restore " + name)
	}
	// Sorted as everywhere.
	for _, name := range []string{"Beta", "alpha", "ＧＡＭＭＡ"} {
		s.ok("create " + name)
	}
	var all []struct{ Name string }
	if err := json.Unmarshal([]byte(s.ok("rooms --sort name --json")), &all); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Name)
	}
	if want := []string{"alpha", "Beta", composed, "ＧＡＭＭＡ", "lobby"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
