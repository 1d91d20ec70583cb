package admin_test

import (
	"encoding/json"
	"errors"
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
	// elsewhere changes the database while the server is not looking.
	elsewhere := func(change func(*store.Store) error) {
		t.Helper()
		if err := s.Store.Suspend(); err != nil {
			t.Fatal(err)
		}
		other, err := store.Open(s.Path, s.StoreOptions)
		if err != nil {
			t.Fatal(err)
		}
		other.Start(store.Follower{})
		if err := errors.Join(change(other), other.Close(), s.Store.Resume()); err != nil {
			t.Fatal(err)
		}
	}
	var hall uint64
	elsewhere(func(st *store.Store) error {
		k, err := st.Create(store.Room{Name: "hall", Key: "hall", Port: s.Options.Ports[1]})
		hall = k.ID
		return err
	})
	if got := problems(); len(got) != 1 || !strings.HasPrefix(got[0], "memory: the room hall is on disk, but not in memory") {
		t.Error(got)
	}
	elsewhere(func(st *store.Store) error { return st.Delete(hall, "") })
	if got := problems(); got != nil {
		t.Error(got)
	}
}
