package netsvc

import (
	"errors"
	"reflect"
	"testing"

	"roomd/netsvc/passwd"
	"roomd/store"
)

// Nothing that the store tells a follower is left out.
func TestFollowsEverything(t *testing.T) {
	f := reflect.ValueOf(*new(Service).follower().Changes)
	for i := range f.NumField() {
		if f.Field(i).IsNil() {
			t.Errorf("nothing follows %s", f.Type().Field(i).Name)
		}
	}
}

// A name and a port that are reserved here are lost to a room from elsewhere that has
// been faster, and to it alone.
func TestReservedAndTaken(t *testing.T) {
	s, _ := startBare(t, store.Options{}, 0)
	for i, f := range []struct {
		name string
		port func(reserved int) int
	}{
		{"hall", func(reserved int) int { return reserved + 10 }},
		{"attic", func(reserved int) int { return reserved }},
	} {
		p, err := s.reserve("hall", Creation{})
		if err != nil {
			t.Fatal(err)
		}
		port := f.port(p.ln.Port)
		made, err := s.store.Create(store.Room{Name: f.name, Key: f.name, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.CreateAll([]store.Room{p.record}, ""); !errors.Is(err, store.ErrExists) {
			t.Fatal(err)
		}
		p.release()
		r := s.byID(made.ID)
		r.work.wait()
		if state := r.currentState(); state != open || r.port() != port {
			t.Errorf("%d: %s, on port %d", i, stateNames[state], r.port())
		}
		if got := s.Inconsistencies(); got != nil {
			t.Errorf("%d: %q", i, got)
		}
		if err := s.store.Delete(made.ID, ""); err != nil {
			t.Fatal(err)
		}
		r.work.wait()
		if got := s.Inconsistencies(); got != nil {
			t.Errorf("%d: %q", i, got)
		}
		first, last := s.ports.Range()
		if n := len(s.ports.Free()); n != last-first {
			t.Errorf("%d: %d ports are free", i, n)
		}
	}
}

// Of a password from elsewhere there is the hash.
func TestPasswordFromElsewhere(t *testing.T) {
	s, r := startBare(t, store.Options{}, 0)
	if err := s.SetPassword("lobby", "secret"); err != nil {
		t.Fatal(err)
	}
	known := r.password.Load()
	hash := known.Hash()
	if _, err := s.store.Update(r.id, store.Edit{Password: &hash}); err != nil {
		t.Fatal(err)
	}
	if now := r.password.Load(); now == known || now.Hash() != hash {
		t.Error("the password from elsewhere is not there")
	}
	if err := r.update(store.Edit{Password: new(string), Owner: (*passwd.Password)(nil)}); err != nil || r.password.Load() != nil {
		t.Error("it has one still", err)
	}
}
