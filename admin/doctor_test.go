package admin_test

import (
	"encoding/json"
	"strings"
	"testing"

	"roomd/store"
)

// doctor says what is on disk and not in the server.
func TestDoctorComparesWithTheDisk(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	problems := func() (found []string) {
		t.Helper()
		var all []struct{ Level, About, Finding string }
		if err := json.Unmarshal([]byte(s.ok("doctor --json")), &all); err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Level == "problem" {
				found = append(found, f.About+": "+f.Finding)
			}
		}
		return found
	}
	if got := problems(); got != nil {
		t.Error(got)
	}
	k, err := s.Store.Create(store.Room{Name: "hall", Key: "hall", Port: s.Options.Ports[1]})
	if err != nil {
		t.Fatal(err)
	}
	if got := problems(); len(got) != 1 || !strings.HasPrefix(got[0], "memory: the room hall is on disk and not here") {
		t.Error(got)
	}
	if err := s.Store.Delete(k.ID); err != nil {
		t.Fatal(err)
	}
	if got := problems(); got != nil {
		t.Error(got)
	}
}
