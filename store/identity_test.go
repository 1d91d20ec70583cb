package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func (s *tap) identity(name string) Identity {
	s.t.Helper()
	rooms, err := s.Rooms()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range rooms {
		if r.Name == name {
			return s.Identity(r)
		}
	}
	s.t.Fatal("there is no room", name)
	return Identity{}
}

// A history has a name of its own, which it keeps through everything but what
// may have put it back.
func TestIdentity(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}})
	lobby := s.room("lobby", 9000)
	s.room("dev", 9001)
	s.say(lobby, "one")
	was, other := s.identity("lobby"), s.identity("dev")
	if was.Room == "" || was.Epoch == "" || other.Room == was.Room || other.Epoch != was.Epoch {
		t.Fatal(was, other)
	}
	same := func(when string) {
		t.Helper()
		if now := s.identity("lobby"); now != was {
			t.Errorf("%s: %v, not %v", when, now, was)
		}
	}
	s.reopen()
	same("after a restart")
	if _, err := s.Update(lobby, Edit{Name: new("hall"), Key: new("hall"), Port: new(9005)}); err != nil {
		t.Fatal(err)
	}
	if now := s.identity("hall"); now != was {
		t.Errorf("after a rename: %v, not %v", now, was)
	}
	if _, err := s.Update(lobby, Edit{Name: new("lobby"), Key: new("lobby"), Port: new(9000)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(lobby); err != nil {
		t.Fatal(err)
	}
	again := s.room("lobby", 9003)
	if now := s.identity("lobby"); now.Room == was.Room {
		t.Error("another room of the same name has the same identity")
	}
	if err := s.Delete(again); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(lobby, 9000, nil); err != nil {
		t.Fatal(err)
	}
	same("back from the trash")
	s.stop()
	if _, _, err := Compact(s.path, Options{Retention: Retention{Trash: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	s.start()
	same("compacted")
	if elsewhere := open(t, dbPath(t), Options{}); elsewhere.room("lobby", 9000) != 0 && elsewhere.identity("lobby").Room == was.Room {
		t.Error("a room of another database has the same identity")
	}
}

// A backup is of another epoch each time that it is put in place, by restore or
// by hand; the room is the same.
func TestIdentityOfABackup(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	lobby := s.room("lobby", 9000)
	s.say(lobby, "one")
	was := s.identity("lobby")
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := s.Backup(context.Background(), backup, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	if now := s.identity("lobby"); now != was {
		t.Error("a backup changes the database:", now, was)
	}
	seen := map[string]bool{was.Epoch: true}
	for range 2 {
		s.stop()
		kept, err := RestoreFile(t.Context(), backup, s.path, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(kept); err != nil { // its name is of the second
			t.Fatal(err)
		}
		s.start()
		now := s.identity("lobby")
		if now.Room != was.Room || seen[now.Epoch] {
			t.Error("restored:", now, was)
		}
		seen[now.Epoch] = true
		s.reopen()
		if then := s.identity("lobby"); then != now {
			t.Error("it does not keep its epoch:", then, now)
		}
		s.say(lobby, "more")
	}
	s.stop()
	b, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	if now := s.identity("lobby"); now.Room != was.Room || seen[now.Epoch] {
		t.Error("copied into place:", now, was)
	}
}

// Lines that are imported into a room that was there begin an epoch of that room
// alone; an import that adds none changes nothing.
func TestIdentityOfAnImport(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	lobby := s.room("lobby", 9000)
	s.room("dev", 9001)
	s.say(lobby, "one")
	was, dev := s.identity("lobby"), s.identity("dev")
	var out bytes.Buffer
	if err := s.Export(&out, func(r Room) bool { return r.Name == "lobby" }, 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, n, err := s.Import(bytes.NewReader(out.Bytes()), asIs, nil, nil); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	if now := s.identity("lobby"); now != was {
		t.Error("it has all of them:", now, was)
	}
	longer := open(t, dbPath(t), Options{})
	same := longer.room("lobby", 9000)
	longer.say(same, "one")
	longer.say(same, "two")
	var more bytes.Buffer
	if err := longer.Export(&more, func(Room) bool { return true }, 0, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := s.Import(bytes.NewReader(more.Bytes()), asIs, nil, nil); err != nil {
			t.Fatal(err)
		}
		if now := s.identity("lobby"); now.Room != was.Room || now.Epoch != was.Epoch+".1" {
			t.Error(now, was)
		}
	}
	if now := s.identity("dev"); now != dev {
		t.Error(now, dev)
	}
	into := open(t, dbPath(t), Options{})
	if _, _, err := into.Import(bytes.NewReader(out.Bytes()), asIs, nil, nil); err != nil {
		t.Fatal(err)
	}
	if now := into.identity("lobby"); now.Room == was.Room {
		t.Error("a room that was imported elsewhere has the identity of the one it is from")
	}
}

// A database without names, as an older roomd made it, gets them and keeps them.
func TestIdentityOfAnOldDatabase(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	s.room("lobby", 9000)
	s.stop()
	db, err := bolt.Open(s.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if err := meta.Delete(keyIdentity); err != nil {
			return err
		}
		return meta.Delete(keyEpoch)
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	was := s.identity("lobby")
	s.reopen()
	if now := s.identity("lobby"); was.Room == "." || was.Epoch == "" || now != was {
		t.Error(now, was)
	}
}
