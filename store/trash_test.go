package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func TestRestore(t *testing.T) {
	path := dbPath(t)
	s := open(t, path, Options{Retention: Retention{Trash: time.Hour}})
	lobby := s.room("lobby", 9000)
	s.say(lobby, "one")
	s.say(lobby, "two")
	before, err := s.Stat(lobby)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(lobby, 9000, nil); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a room that is not deleted: %v", err)
	}
	if err := s.Delete(lobby); err != nil {
		t.Fatal(err)
	}
	if trash, err := s.Trash(); err != nil || len(trash) != 1 || trash[0].ID != lobby || trash[0].Deleted.IsZero() {
		t.Errorf("%+v, %v", trash, err)
	}
	if st, err := s.TrashStat(lobby); err != nil || st != before {
		t.Errorf("%+v, %v", st, err)
	}
	other := s.room("lobby", 9000)
	if _, err := s.Restore(lobby, 9001, nil); !errors.Is(err, ErrExists) {
		t.Errorf("its name is taken: %v", err)
	}
	if _, err := s.Update(other, Edit{Name: new("other"), Key: new("other")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(lobby, 9000, nil); !errors.Is(err, ErrExists) {
		t.Errorf("its port is taken: %v", err)
	}
	if r, err := s.Restore(lobby, 9001, nil); err != nil || r.Port != 9001 || r.Name != "lobby" {
		t.Errorf("%+v, %v", r, err)
	}
	s.say(lobby, "three")
	after, err := s.Stat(lobby)
	if err != nil || after.Last <= before.Last || after.Lines != 3 {
		t.Errorf("%+v after %+v, %v", after, before, err)
	}
	lines, err := s.Lines(lobby, 0, after.Last, 1<<20)
	if err != nil || len(lines) != 3 || lines[0].Text != "one" || lines[2].Text != "three" {
		t.Errorf("%+v, %v", lines, err)
	}
}

func TestPurge(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}})
	lobby := s.room("lobby", 9000)
	for i := range 2500 {
		s.say(lobby, fmt.Sprint(i))
	}
	if err := s.Purge(lobby); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a room that is not deleted: %v", err)
	}
	if err := s.Delete(lobby); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(lobby); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(lobby, 9000, nil); !errors.Is(err, ErrNoRoom) {
		t.Errorf("restored after a purge: %v", err)
	}
	if trash, err := s.Trash(); err != nil || len(trash) != 0 {
		t.Errorf("%+v, %v", trash, err)
	}
	// Each change waits for a step of the housekeeping at most.
	for range 10 {
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Lines(lobby, 0, 1, 1); !errors.Is(err, ErrNoRoom) {
		t.Errorf("its lines are there: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}})
	a, b := s.room("a", 9000), s.room("b", 9001)
	for _, e := range []Edit{
		{Name: new("b"), Key: new("b")},
		{Port: new(9001)},
	} {
		if _, err := s.Update(a, e); !errors.Is(err, ErrExists) {
			t.Errorf("what another room has: %v", err)
		}
	}
	r, err := s.Update(a, Edit{Name: new("C"), Key: new("c"), Port: new(9002), Topic: new("be kind")})
	if err != nil || r.ID != a || r.Key != "c" || r.Topic != "be kind" {
		t.Errorf("%+v, %v", r, err)
	}
	if ports, err := s.ReleasedPorts(); err != nil || len(ports) != 1 || ports[0] != 9000 {
		t.Errorf("%v, %v", ports, err)
	}
	if s.room("a", 9000) == b {
		t.Error("the old name and port are not free")
	}
}

func TestBans(t *testing.T) {
	path := dbPath(t)
	s := open(t, path, Options{})
	now := time.Now()
	one, err := s.AddBans(nil, Ban{Addr: "192.0.2.0/24", Reason: "x", Created: now.UTC()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.AddBans(nil, Ban{Nick: "ann", Mute: true, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if bans, err := s.Bans(now); err != nil || len(bans) != 2 || bans[0].ID != one[0].ID || bans[1].Nick != "ann" {
		t.Errorf("%+v, %v", bans, err)
	}
	if bans, err := s.Bans(now.Add(2 * time.Hour)); err != nil || len(bans) != 1 {
		t.Errorf("an expired one: %+v, %v", bans, err)
	}
	if err := s.RemoveBans(99); !errors.Is(err, ErrNoBan) {
		t.Error(err)
	}
	if err := s.RemoveBans(one[0].ID); err != nil {
		t.Error(err)
	}
	if bans, err := s.Bans(now); err != nil || len(bans) != 1 || !bans[0].Mute {
		t.Errorf("%+v, %v", bans, err)
	}
}

func TestAudit(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	start := time.Now()
	for i := range 10 {
		if _, err := s.change(addAudit{Audit{Time: start.Add(time.Duration(i) * time.Second), Line: fmt.Sprint(i)}, 5}); err != nil {
			t.Fatal(err)
		}
	}
	all, _, err := s.Audits(t.Context(), time.Time{}, 100, nil)
	if err != nil || len(all) != 5 || all[0].Line != "5" || all[4].Line != "9" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, _, err = s.Audits(t.Context(), start.Add(8*time.Second), 100, nil); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if all, _, err = s.Audits(t.Context(), time.Time{}, 1, nil); err != nil || len(all) != 1 || all[0].Line != "9" {
		t.Errorf("%+v, %v", all, err)
	}
	// What comes over the network is bounded as well, and pushes nothing else out.
	doors := []string{DoorMaster, DoorIRC, DoorWeb}
	for i := range 12 {
		a := Audit{Time: start.Add(time.Duration(i)*time.Second + time.Millisecond), UID: -1, From: "192.0.2.7:1", Door: doors[i%len(doors)], Line: fmt.Sprint("n", i)}
		if _, err := s.change(addAudit{a, 5}); err != nil {
			t.Fatal(err)
		}
	}
	lines := func(since time.Time, most int) string {
		all, _, err := s.Audits(t.Context(), since, most, nil)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, a := range all {
			text += a.Line + " "
		}
		return text
	}
	for _, try := range []struct {
		since time.Time
		most  int
		want  string
	}{
		{time.Time{}, 100, "5 6 7 n7 8 n8 9 n9 n10 n11 "},
		{start.Add(9 * time.Second), 100, "9 n9 n10 n11 "},
		{time.Time{}, 4, "9 n9 n10 n11 "},
	} {
		if got := lines(try.since, try.most); got != try.want {
			t.Errorf("since %v, at most %d: %q, want %q", try.since, try.most, got, try.want)
		}
	}
}

// What an entry takes is bounded, and so is the audit.
func TestAuditBytes(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	long := strings.Repeat("é", 1<<20)
	if err := s.AddAudit(Audit{Time: time.Now(), User: long, Door: DoorAdmin, Line: long, Result: long}); err != nil {
		t.Fatal(err)
	}
	all, _, err := s.Audits(t.Context(), time.Time{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{all[0].User, all[0].Line, all[0].Result} {
		if len(text) > auditText || len(text) < auditText-4 || !strings.HasSuffix(text, "é…") {
			t.Errorf("%d bytes are kept, and end in %q", len(text), text[len(text)-8:])
		}
	}
	// The longest that anybody on the network can have written.
	if err := s.AddAudit(Audit{
		Time: time.Now(), UID: -1, From: "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", Door: DoorMaster,
		Line: "DELETE " + strings.Repeat("𐌰", 32), Result: "done",
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.file.view(func(tx *bolt.Tx) error {
		if _, v := tx.Bucket(bucketAudit).Cursor().Last(); len(v) > 400 {
			t.Errorf("it takes %d bytes: %s", len(v), v)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A room and the entry of the audit about it are on disk together.
func TestAuditWithTheRoom(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	r, err := s.Create(Room{Name: "dev", Key: "dev", Port: 9000}, Audit{Time: time.Now(), Door: DoorMaster, Line: "CREATE dev"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(Room{Name: "dev", Key: "dev", Port: 9001}, Audit{Time: time.Now(), Door: DoorMaster, Line: "CREATE dev again"}); err == nil {
		t.Error("it is there twice")
	}
	if err := s.Delete(r.ID, Audit{Time: time.Now(), Door: DoorMaster, Line: "DELETE dev"}); err != nil {
		t.Fatal(err)
	}
	all, _, err := s.Audits(t.Context(), time.Time{}, 10, nil)
	if err != nil || len(all) != 2 || all[0].Line != "CREATE dev" || all[1].Line != "DELETE dev" {
		t.Errorf("%+v, %v", all, err)
	}
}
