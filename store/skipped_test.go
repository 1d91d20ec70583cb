package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/wal"
)

// flip corrupts the record of a number in a bucket.
func flip(tx *bolt.Tx, bucket []byte, id uint64) error {
	b := tx.Bucket(bucket)
	v := bytes.Clone(b.Get(u64(id)))
	v[len(v)/2] ^= 1
	return b.Put(u64(id), v)
}

// raw is what a file has of rooms, as bytes.
func raw(t *testing.T, path string, ids ...uint64) (all []string) {
	t.Helper()
	db, err := openToCheck(path)
	if err != nil {
		t.Fatal(err)
	}
	err = viewDB(db, func(tx *bolt.Tx) error {
		for _, id := range ids {
			all = append(all, fmt.Sprintf("%x %x", tx.Bucket(bucketRooms).Get(u64(id)), tx.Bucket(bucketHeads).Get(u64(id))))
			if err := tx.Bucket(bucketLines).Bucket(u64(id)).ForEach(func(k, v []byte) error {
				all = append(all, fmt.Sprintf("%x %x", k, v))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

// Corrupt records are skipped and named, and stay as they are; all
// others are there.
func TestCorruptRecords(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	var rooms []uint64
	for i, name := range []string{"lobby", "dev", "gone", "ops"} {
		rooms = append(rooms, s.room(name, 9000+i))
		s.say(rooms[i], "folded")
	}
	lobby, dev, gone, ops := rooms[0], rooms[1], rooms[2], rooms[3]
	err := s.Delete(gone)
	for i := range 3 {
		_, e := s.AddBans(nil, Ban{Nick: fmt.Sprint("eve", i)})
		err = errors.Join(err, e, s.AddAudit(Audit{Time: time.Now(), Line: fmt.Sprint("line ", i)}))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.checkpointNow()
	s.say(dev, "in the WAL")
	s.say(ops, "in the WAL")

	// As after a crash.
	path := dbPath(t)
	for from, to := range map[string]string{s.path: path, wal.Path(s.path): wal.Path(path)} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return errors.Join(flip(tx, bucketRooms, lobby), flip(tx, bucketHeads, dev), flip(tx, bucketRooms, gone), flip(tx, bucketBans, 1), flip(tx, bucketAudit, 2))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before := raw(t, path, lobby, dev, gone)

	c := &tap{t: t, path: path, opts: Options{Retention: Retention{Trash: time.Nanosecond, Lines: 3}}}
	c.start()
	n, _ := c.SkippedRecords()
	if n != 5 || len(c.SkippedPorts()) != 2 || !slices.Equal(c.SkippedPorts(), []int{9000, 9001}) {
		t.Errorf("%d records are skipped, and the ports %v reserved", n, c.SkippedPorts())
	}
	said := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{
		`room 1, "lobby", on port 9000: the record of room 1: `, `room 2, "dev", on port 9001: the head of room 2`,
		"room 3: ", "the record of ban #1", "`unban #1`", "1 record of the audit",
		"`roomd store check`", "`roomd store restore`",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	if n := strings.Count(said, `room 2, "dev", on port 9001: `); n != 2 {
		t.Errorf("%d warnings of room 2 and of its lines in the WAL, not 2:\n%s", n, said)
	}
	if got, err := c.Rooms(); err != nil || len(got) != 1 || got[0].ID != ops {
		t.Errorf("%+v %v", got, err)
	}
	if got := c.all(ops); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	if got, err := c.Trash(); err != nil || len(got) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Bans(time.Now()); err != nil || len(got) != 2 || got[0].ID != 2 {
		t.Errorf("%+v %v", got, err)
	}
	if got, _, err := c.Audits(t.Context(), time.Time{}, 10, nil); err != nil || len(got) != 2 || got[1].Line != "line 2" {
		t.Errorf("%+v %v", got, err)
	}
	if n := c.CorruptReads(); n != 0 {
		t.Errorf("%d more are corrupt", n)
	}
	for _, r := range []Room{{Name: "Lobby", Key: "lobby", Port: 9005}, {Name: "dev", Key: "dev", Port: 9005}, {Name: "new", Key: "new", Port: 9001}} {
		if _, err := c.Create(r); !errors.Is(err, ErrExists) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	c.room("new", 9005)
	if err := c.Submit(t.Context(), &Post{Room: dev, Line: Line{Kind: Message, Text: "x"}}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.applyRetentionAt(time.Now().Add(time.Hour)), c.Purge(gone)); err == nil {
		t.Error("a room with a corrupt record was purged")
	}
	c.settled()
	c.checkpointNow()

	// The store recovers, as nothing has become corrupt since.
	ill := func() {
		if err := c.OnCommitter(func() { c.health.setReadOnly(errors.New("as after a failed write")) }); err != nil {
			t.Fatal(err)
		}
	}
	ill()
	if err := c.Reopen(); err != nil {
		t.Error(err)
	}
	found := c.Check()
	for _, want := range []string{"the record of room 1", `room "dev": the head of room 2`, "the record of room 3", "the record of ban #1", "the record 2 of the audit", `the name "lobby"`} {
		if found == nil || !strings.Contains(found.Error(), want) {
			t.Errorf("%q is not in %v", want, found)
		}
	}
	// A record that becomes corrupt while the store runs does not block lines.
	if err := c.update(func(tx *bolt.Tx) error { return flip(tx, bucketRooms, ops) }, nil); err != nil {
		t.Fatal(err)
	}
	back := make(chan *Post, 1)
	if err := c.Submit(t.Context(), &Post{Room: ops, Line: Line{Kind: Topic, From: "ann", Text: "topic"}, Owner: back}); err != nil {
		t.Fatal(err)
	}
	<-back
	c.checkpointNow()
	if got := c.all(ops); len(got) != 3 {
		t.Errorf("%+v", got)
	}
	ill()
	if err := c.Reopen(); err == nil || !strings.Contains(err.Error(), "the record of room 4") {
		t.Errorf("the store recovered, and a room was lost: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if after := raw(t, path, lobby, dev, gone); !slices.Equal(before, after) {
		t.Errorf("%q\nwas\n%q", after, before)
	}
	if _, _, err := Compact(path, Options{}); !errors.Is(err, errNotCompacted) {
		t.Error(err)
	}
	info, problems, err := Inspect(path, false)
	if err != nil || info.Rooms != 1 || len(problems) != 6 {
		t.Errorf("%+v %v %v", info, problems, err)
	}
	if _, problems, err = Inspect(path, true); err != nil || !strings.Contains(errors.Join(problems...).Error(), "the record of room 4") {
		t.Errorf("%v %v", problems, err)
	}
	if after := raw(t, path, lobby, dev, gone); !slices.Equal(before, after) {
		t.Errorf("%q\nwas\n%q", after, before)
	}
}
