package admin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"roomd/admin"
)

// A search gives the newest lines, says of how many, and counts all.
func TestSearch(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create dev")
	for i := range 4 {
		s.speak("lobby", fmt.Sprint("Needle ", 2*i), "hay")
		s.speak("dev", fmt.Sprint("needle ", 2*i+1), "hay")
	}
	texts := func(line string) string {
		var all []struct{ Text string }
		if err := json.Unmarshal([]byte(s.ok(line+" --json")), &all); err != nil {
			t.Fatal(line, err)
		}
		return fmt.Sprint(all)
	}
	for line, want := range map[string]string{
		"search lobby needle -n 2": "[{Needle 4} {Needle 6}]", "search lobby needle": "[{Needle 0} {Needle 2} {Needle 4} {Needle 6}]",
		"search * NEEDLE -n 3": "[{needle 5} {Needle 6} {needle 7}]", "search * nothing": "[]", "search dev needle -n 1": "[{needle 7}]",
	} {
		if got := texts(line); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	for line, want := range map[string]string{
		"search * needle -n 3": "the newest 3 of 8 hits", "search lobby needle -n 4": "(4 hits)", "search lobby needle -n 1": "the newest 1 of 4 hits", "search lobby nothing": "none",
		"search * needle --count": "hits  8",
	} {
		if out := s.ok(line); !strings.Contains(out, want) {
			t.Errorf("%s: %s", line, out)
		}
	}
	if out := s.ok("search * needle --count --json"); strings.TrimSpace(out) != `{"hits":8}` {
		t.Error(out)
	}
	if _, errs, status := s.do("search", "nowhere", "x"); status != admin.ExitRefused || errs == "" {
		t.Error(status, errs)
	}
}
