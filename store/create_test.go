package store

import (
	"errors"
	"path/filepath"
	"testing"
)

// Several rooms are made together: all of them, or none, and then the database has
// never had a room.
func TestCreateAll(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	if _, err := s.CreateAll([]Room{{Name: "a", Key: "a", Port: 9000}, {Name: "b", Key: "b", Port: 9001}, {Name: "A", Key: "a", Port: 9002}}, ""); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	if empty, err := s.Empty(); err != nil || !empty {
		t.Errorf("%v, %v", empty, err)
	}
	if rooms, err := s.Rooms(); err != nil || len(rooms) != 0 {
		t.Error(rooms, err)
	}
	made, err := s.CreateAll([]Room{{Name: "a", Key: "a", Port: 9000}, {Name: "b", Key: "b", Port: 9001}}, "")
	if err != nil || len(made) != 2 || made[0].ID == made[1].ID {
		t.Fatal(made, err)
	}
	for _, r := range made {
		if _, err := s.Stat(r.ID); err != nil {
			t.Error(err)
		}
	}
}
