package store

import (
	"errors"
	"path/filepath"
	"slices"
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

// A provisional room without a line is removed for good, and its port is as before. A line that was
// submitted before counts, and so does a change by the operator.
func TestDeleteUnused(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	made := func(name string, port int) Room {
		t.Helper()
		r, err := s.Create(Room{Name: name, Key: name, Port: port, Provisional: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ports := func(want ...int) {
		t.Helper()
		if got, err := s.ReleasedPorts(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
	}
	r := made("a", 9000)
	if err := s.DeleteUnused(r.ID); err != nil {
		t.Fatal(err)
	}
	ports()
	if err := s.DeleteUnused(r.ID); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
	if all, err := s.Trash(); err != nil || len(all) > 0 {
		t.Error(all, err)
	}
	r = made("a", 9000)
	if err := s.Submit(t.Context(), &Post{Room: r.ID, Line: Line{From: "ann", Text: "hello"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUnused(r.ID); !errors.Is(err, ErrUsed) {
		t.Error(err)
	}
	r = made("b", 9001)
	name, key := "B", "b"
	if _, err := s.Update(r.ID, Edit{Name: &name, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUnused(r.ID); !errors.Is(err, ErrUsed) {
		t.Error(err)
	}
	if err := s.Delete(r.ID); err != nil {
		t.Fatal(err)
	}
	ports(9001)
	if err := s.ReleaseDeleted(r.ID); err != nil {
		t.Fatal(err)
	}
	r = made("c", 9001)
	if err := s.DeleteUnused(r.ID); err != nil { // its port is another room's old one again
		t.Fatal(err)
	}
	ports(9001)
}
