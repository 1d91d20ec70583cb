package store

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Changes are data: what JSON has made of them, applied to a copy of the database
// at another time, leaves the same bytes in the same buckets, gives the same
// answers, tells a follower the same and fails for the same reasons.
func TestChangesAreData(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	lines := uint64(50)
	operator := Audit{Time: at, UID: 1000, User: "ann", Door: DoorAdmin, Line: "create lobby", Result: "OK"}
	stranger := Audit{Time: at, UID: -1, From: "192.0.2.7:1", Door: DoorMaster, Line: "DELETE guests", Result: "OK"}
	changes := []change{
		createRooms{[]Room{{Name: "Lobby", Key: "lobby", Port: 9000, Created: at, KeyHash: []byte{1, 2}}, {Name: "dev", Key: "dev", Port: 9001, Created: at, Settings: Settings{Lines: &lines}}}, "ann", []Audit{operator}},
		createRooms{Rooms: []Room{{Name: "other", Key: "lobby", Port: 9002}}},
		createRooms{Rooms: []Room{{Name: "guests", Key: "guests", Port: 9002, Created: at}}},
		updateRoom{1, Edit{Name: new("Hall"), Key: new("hall"), Port: new(9005), Topic: new("be kind"), Password: new("hash"), Settings: &Settings{ReadOnly: true}}},
		updateRoom{1, Edit{Imported: true}},
		updateRoom{2, Edit{Key: new("hall"), Name: new("hall")}},
		updateRoom{99, Edit{}},
		setPlan{1, &Plan{Announced: at, Due: at.Add(time.Hour), Say: "soon", Line: "delete hall 1h", Epoch: "x"}},
		setPlan{0, &Plan{Announced: at, Due: at.Add(time.Minute), Line: "stop 1m", Epoch: "x"}},
		setPlan{2, nil},
		addBans{[]Ban{{Addr: "192.0.2.0/24", Created: at}, {Nick: "ann", Mute: true, Until: at.Add(time.Second)}}, at, nil},
		addBans{[]Ban{{Nick: "bob", Room: 1}}, at.Add(time.Minute), nil}, // the one of ann has expired
		removeBans{[]uint64{1}},
		removeBans{[]uint64{1}},
		addAudit{operator, 2},
		addAudit{operator, 2},
		addAudit{operator, 2},
		deleteRoom{3, at, "", false, []Audit{stranger}}, // it has no lines, and is not kept
		deleteRoom{2, at, "", false, []Audit{operator}},
		deleteRoom{2, at, "", false, nil},
		restoreRoom{2, 9001, at, nil}, // too late
		restoreRoom{2, 9005, at.Add(-time.Second), nil},
		restoreRoom{2, 9006, at.Add(-time.Second), nil},
		deleteRoom{1, at, "", false, nil},
		purgeDeleted{1},
		restoreRoom{1, 9007, at.Add(-time.Hour), nil},
		purgeDeleted{99},
	}
	contents := func(s *tap) map[string]string {
		t.Helper()
		all := make(map[string]string)
		if err := s.file.view(func(tx *bolt.Tx) error {
			for _, name := range buckets {
				b := tx.Bucket(name)
				all[string(name)] = string(u64(b.Sequence()))
				if err := b.ForEach(func(k, v []byte) error {
					if string(name) != string(bucketMeta) || string(k) == string(keyStop) { // each database has an identity
						all[string(name)+"/"+string(k)] = string(v)
					}
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	one, two := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}}), open(t, dbPath(t), Options{Retention: Retention{Trash: 1000 * time.Hour}})
	for i, c := range changes {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		read := reflect.New(reflect.TypeOf(c))
		if err := json.Unmarshal(text, read.Interface()); err != nil {
			t.Fatal(err)
		}
		var outs [2]outcome
		var errs [2]error
		var told [2]string
		for n, s := range []*tap{one, two} {
			made := c
			if n == 1 {
				made = read.Elem().Interface().(change)
			}
			// The transaction alone: purging what is deleted is each machine's own.
			errs[n] = s.update(func(tx *bolt.Tx) (err error) {
				outs[n], err = made.apply(state{tx, s.heads})
				return err
			}, func() error {
				switch made.(type) {
				case createRooms, updateRoom, restoreRoom:
					made.updateMemory(s.Store, outs[n])
				case deleteRoom:
					s.setHead(made.room(), nil)
				}
				made.notify(teller(t, &told[n]), outs[n])
				return nil
			})
		}
		if told[0] != told[1] {
			t.Errorf("change %d, %s: a follower is told %s, and read: %s", i, text, told[0], told[1])
		}
		switch c.(type) {
		case setPlan, addAudit: // of which nobody is told
		default:
			if (told[0] == "") != (errs[0] != nil) {
				t.Errorf("change %d, %s: %v, and a follower is told %q", i, text, errs[0], told[0])
			}
		}
		if (errs[0] == nil) != (errs[1] == nil) || errs[0] != nil && errs[0].Error() != errs[1].Error() {
			t.Errorf("change %d, %s: %v, and read: %v", i, text, errs[0], errs[1])
		}
		if errs[0] != nil && !errors.Is(errs[0], ErrExists) && !errors.Is(errs[0], ErrNoRoom) && !errors.Is(errs[0], ErrNoBan) {
			t.Errorf("change %d, %s: %v", i, text, errs[0])
		}
		if a, b := contents(one), contents(two); !reflect.DeepEqual(a, b) {
			t.Fatalf("change %d, %s: the databases differ:\n%q\n%q", i, text, a, b)
		}
	}
}

// teller is a follower that writes down, as JSON, what it is told.
func teller(t *testing.T, to *string) *Changes {
	tell := func(all ...any) {
		text, err := json.Marshal(all)
		if err != nil {
			t.Error(err)
		}
		*to += string(text)
	}
	return &Changes{
		Created:  func(rooms []Room, by string) { tell("created", rooms, by) },
		Deleted:  func(r Room, say, from string) { tell("deleted", r, say, from) },
		Updated:  func(r Room, e Edit) { tell("updated", r, e) },
		Restored: func(r Room, last uint64, _ any) { tell("restored", r, last) },
		Purged:   func(r Room) { tell("purged", r) },
		Banned:   func(bans []Ban, _ any) { tell("banned", bans) },
		Unbanned: func(ids []uint64) { tell("unbanned", ids) },
	}
}
