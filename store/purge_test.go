package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

// network is the entry of the audit of a deletion over the network.
func network(line string) Audit {
	return Audit{Time: time.Now(), UID: -1, From: "192.0.2.7:1", Door: DoorMaster, Line: line, Result: "done"}
}

// keys counts the keys of some buckets, and the blocks of all rooms.
func (tp *tap) keys() map[string]int {
	tp.t.Helper()
	n := make(map[string]int)
	if err := tp.file.view(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bucketRooms, bucketHeads, bucketNames} {
			n[string(b)] = tx.Bucket(b).Stats().KeyN
		}
		lines := tx.Bucket(bucketLines).Stats()
		n["lines"] = lines.BucketN - 1 // itself
		n["blocks"] = lines.KeyN - n["lines"]
		return nil
	}); err != nil {
		tp.t.Fatal(err)
	}
	return n
}

// fill says so many lines of a kilobyte.
func (tp *tap) fill(room uint64, lines int) {
	tp.t.Helper()
	text := strings.Repeat("x", 1<<10)
	for range lines {
		if err := tp.Submit(context.Background(), &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: text}}); err != nil {
			tp.t.Fatal(err)
		}
	}
	if err := tp.Flush(); err != nil {
		tp.t.Fatal(err)
	}
}

func (tp *tap) fileSize() int64 {
	tp.t.Helper()
	size, _, err := tp.Size()
	if err != nil {
		tp.t.Fatal(err)
	}
	return size
}

// trashNames are the rooms that can be restored, the one that was deleted last
// first.
func (tp *tap) trashNames() (names []string) {
	tp.t.Helper()
	rooms, err := tp.Trash()
	if err != nil {
		tp.t.Fatal(err)
	}
	for _, r := range rooms {
		names = append(names, r.Name)
	}
	return names
}

// Rooms without a line that come and go over the network leave nothing, however
// many there are; what the operator deletes can be restored.
func TestEmptyRoomsLeaveNothing(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}})
	was := s.keys()
	for i := range 200 {
		r, err := s.Create(Room{Name: fmt.Sprint("r", i), Key: fmt.Sprint("r", i), Port: 9000 + i%50}, network("CREATE"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(r.ID, network("DELETE")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.TrashStat(r.ID); err != ErrNoRoom {
			t.Fatalf("room %d: %v", i, err)
		}
	}
	if now := s.keys(); !maps.Equal(was, now) || s.jobsLeft() != 0 || len(s.trashNames()) != 0 {
		t.Errorf("before %v, after %v, in the trash %v", was, now, s.trashNames())
	}
	// Also one of which nothing is kept any more.
	emptied := s.room("emptied", 9000)
	s.fill(emptied, 10*jobBlocks)
	s.checkpointNow()
	if err := s.OnCommitter(func() {
		s.retention.addJob(job{room: emptied, kind: jobAge, before: time.Now().Add(time.Hour).UnixMicro()})
	}); err != nil {
		t.Fatal(err)
	}
	for st, err := s.Stat(emptied); st.Lines > 0; st, err = s.Stat(emptied) {
		if s.jobsLeft(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(emptied, network("DELETE")); err != nil {
		t.Fatal(err)
	}
	if names := s.trashNames(); len(names) != 0 {
		t.Errorf("in the trash: %v", names)
	}
	s.settled()
	if now := s.keys(); !maps.Equal(was, now) {
		t.Errorf("before %v, after %v", was, now)
	}
	operators := s.room("operators", 9000)
	if err := s.Delete(operators); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(operators, 9001, nil); err != nil {
		t.Error(err)
	}
}

// The trash is bounded in rooms and in bytes, also over a restart: the room that
// was deleted first is purged first.
func TestTrashBounds(t *testing.T) {
	for name, try := range map[string]struct {
		opts Options
		want []string
	}{
		"rooms": {Options{TrashRooms: 3, Retention: Retention{Trash: time.Hour}}, []string{"r7", "r6", "r5"}},
		"bytes": {Options{Retention: Retention{Trash: time.Hour, TrashBytes: 50 << 10}}, []string{"r7", "r6", "r5", "r4"}}, // each has about 11 KiB
		"both":  {Options{TrashRooms: 2, Retention: Retention{Trash: time.Hour, TrashBytes: 50 << 10}}, []string{"r7", "r6"}},
		"none":  {Options{Retention: Retention{Trash: time.Hour}}, []string{"r7", "r6", "r5", "r4", "r3", "r2", "r1", "r0"}},
	} {
		t.Run(name, func(t *testing.T) {
			early := 0
			try.opts.Events.Evicted = func(rooms int) { early += rooms }
			s := open(t, dbPath(t), try.opts)
			for i := range 8 {
				room := s.room(fmt.Sprint("r", i), 9000+i)
				s.fill(room, 10)
				if err := s.Delete(room); err != nil {
					t.Fatal(err)
				}
				if i == 3 {
					s.reopen()
				}
			}
			s.settled()
			if names := s.trashNames(); !slices.Equal(names, try.want) {
				t.Errorf("%v, want %v", names, try.want)
			}
			if n := s.keys(); n["rooms"] != len(try.want) || n["heads"] != len(try.want) || n["lines"] != len(try.want) {
				t.Errorf("%v", n)
			}
			if early != 8-len(try.want) {
				t.Errorf("%d are said to have gone early, of 8, and %d are left", early, len(try.want))
			}
			s.reopen()
			// One that comes back and goes again was deleted last.
			oldest := try.want[len(try.want)-1]
			rooms, err := s.Trash()
			if err != nil {
				t.Fatal(err)
			}
			back := rooms[len(rooms)-1]
			if _, err := s.Restore(back.ID, back.Port, nil); err != nil || back.Name != oldest {
				t.Fatal(back.Name, err)
			}
			if err := s.Delete(back.ID); err != nil {
				t.Fatal(err)
			}
			s.settled()
			if names := s.trashNames(); len(names) != len(try.want) || names[0] != oldest {
				t.Errorf("%v after the oldest of %v was back", names, try.want)
			}
			s.SetRetention(Retention{Trash: time.Hour, TrashBytes: 2 * trashRoomBytes})
			s.jobsLeft()
			s.settled()
			if names := s.trashNames(); len(names) != 0 {
				t.Errorf("with hardly any bytes: %v", names)
			}
		})
	}
}

// A room that members still read is not removed, though the trash is full.
func TestTrashSparesWhatIsRead(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour, TrashBytes: 1}})
	room := s.room("lobby", 9000)
	s.fill(room, 10)
	if err := s.Store.Delete(room, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.applyRetentionAt(time.Now().Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.settled()
	if lines := s.all(room); len(lines) != 10 {
		t.Errorf("%d lines", len(lines))
	}
	if err := s.ReleaseDeleted(room); err != nil {
		t.Fatal(err)
	}
	s.settled()
	if _, err := s.Lines(room, 0, 1, 1); err != ErrNoRoom {
		t.Errorf("it is there: %v", err)
	}
}

// Whoever creates, fills and deletes rooms does not fill the disk.
func TestFillAndDelete(t *testing.T) {
	const most = 1 << 20
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Trash: time.Hour, TrashBytes: most}})
		for i := range 60 { // 0.5 MiB each
			room := s.room(fmt.Sprint("r", i), 9000+i)
			s.fill(room, 512)
			if err := s.Delete(room, network("DELETE")); err != nil {
				t.Fatal(err)
			}
		}
		// What is in the trash, one room that is not yet, and one that is being removed;
		// and as bbolt keeps what a transaction frees for the next but one.
		if size := s.fileSize(); size > 4*most {
			t.Errorf("the file has %d bytes, and the trash may have %d", size, most)
		}
		s.settled()
		if st := s.keys(); st["rooms"] != 1 {
			t.Errorf("%v", st)
		}
	})
}

// bin makes a database with so many rooms in the trash, each with a line.
func bin(t testing.TB, rooms int) string {
	t.Helper()
	path := dbPath(t)
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Hour).UTC()
	if err := db.Update(func(tx *bolt.Tx) error {
		for i := range uint64(rooms) {
			r := Room{ID: i + 1, Name: fmt.Sprint("room-", i), Key: fmt.Sprint("room-", i), Port: 9000, Creator: "192.0.2.7:1234", KeyHash: make([]byte, 32), Created: began, Deleted: began.Add(time.Duration(i) * time.Millisecond)}
			b, err := tx.Bucket(bucketLines).CreateBucket(u64(r.ID))
			if err != nil {
				return err
			}
			lines := block.Block{Room: r.ID}
			lines.Add(1, began.UnixMicro(), Message, "ann", "hello")
			if err := b.Put(u64(1), lines.Encode()); err != nil {
				return err
			}
			if err := putRoom(tx, r); err != nil {
				return err
			}
			if err := putHead(tx, r.ID, &head{Stat: Stat{Last: 1, Lines: 1, Bytes: uint64(lines.Size)}}); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketRooms).SetSequence(uint64(rooms))
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// What lines wait for while the trash is looked at, and emptied, does not depend on
// how much is in it: looking reads no record, and a step removes as many rooms as it
// may.
func TestJobsInSteps(t *testing.T) {
	const rooms, most = 41_282, 40_000
	few, s := rest(t, bin(t, 10), Options{Retention: Retention{Trash: 24 * time.Hour}}), rest(t, bin(t, rooms), Options{TrashRooms: rooms, Retention: Retention{Trash: 24 * time.Hour}})
	now := time.Now()
	look := func(s *tap) float64 { return testing.AllocsPerRun(5, func() { s.retention.schedule(now, s.heads) }) }
	if few, many := look(few), look(s); many > 2*few+100 {
		t.Errorf("a look at a trash of %d rooms makes %v allocations, at one of 10 rooms %v", rooms, many, few)
	}
	s.Store.opts.TrashRooms = most
	s.retention.schedule(now, s.heads)
	s.inSteps(s.runJobs)
	if left := s.keys(); left["rooms"] != most || left["heads"] != most || left["lines"] != most {
		t.Errorf("left are %v, want %d", left, most)
	}
	if trash, err := s.Trash(); err != nil || trash[len(trash)-1].ID != rooms-most+1 {
		t.Errorf("the oldest is %d, %v", trash[len(trash)-1].ID, err)
	}
}

// rest opens a store whose committer does not run: the test does its steps.
func rest(t testing.TB, path string, opts Options) *tap {
	t.Helper()
	s, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	tp := &tap{t: t, path: path, opts: opts, Store: s}
	t.Cleanup(tp.dies)
	return tp
}

// dies closes a store whose committer does not run: the file is as after a crash.
func (tp *tap) dies() {
	if tp.Store == nil {
		return
	}
	if err := errors.Join(tp.file.view(checkTx), tp.Close()); err != nil {
		tp.t.Error(err)
	}
	tp.Store = nil
}

// inSteps does steps until there is no more to do, and looks what each of them takes
// out of the database.
func (tp *tap) inSteps(step func() (more bool)) {
	tp.t.Helper()
	for before, more, n := tp.keys(), true, 0; more; n++ {
		more = step()
		now := tp.keys()
		if rooms, blocks := before["rooms"]-now["rooms"], before["blocks"]-now["blocks"]; rooms > jobBlocks || blocks > jobBlocks {
			tp.t.Fatalf("step %d removes %d rooms and %d blocks", n, rooms, blocks)
		}
		before = now
	}
}

// Rooms with much in them that are purged together go in steps of so many blocks;
// a checkpoint removes as many of all rooms together.
func TestRoomsGoInSteps(t *testing.T) {
	opts := Options{Retention: Retention{Trash: time.Hour}}
	made := open(t, dbPath(t), opts)
	var rooms []uint64
	for i := range 6 {
		room := made.room(fmt.Sprint("r", i), 9000+i)
		made.fill(room, 8*200) // 200 blocks
		rooms = append(rooms, room)
	}
	for _, room := range rooms[3:] {
		if err := made.Delete(room); err != nil {
			t.Fatal(err)
		}
	}
	made.stop()
	s := rest(t, made.path, opts)
	full := s.keys()["blocks"]
	for _, room := range rooms[:3] { // all lines are hidden
		for more := true; more; {
			more, _, _ = s.applyRetention(job{room: room, kind: jobAge, before: time.Now().Add(time.Hour).UnixMicro()}, s.file.view)
		}
	}
	s.inSteps(func() bool {
		if err := s.checkpointDirty(); err != nil {
			t.Fatal(err)
		}
		return false
	})
	s.inSteps(s.runJobs)
	if half := s.keys()["blocks"]; half < full/2 || half > full/2+3 { // rooms may differ by a block
		t.Errorf("%d of %d blocks are left", half, full)
	}
	s.retention.schedule(time.Now().Add(2*time.Hour), s.heads)
	s.inSteps(s.runJobs)
	if now := s.keys(); now["blocks"] != 0 || now["rooms"] != 3 {
		t.Errorf("%v", now)
	}
}

// A room that is removed in part when the process dies is removed after the start,
// and cannot be restored in between.
func TestPurgeGoesOn(t *testing.T) {
	made := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}})
	room := made.room("lobby", 9000)
	made.fill(room, 8*3*jobBlocks)
	if err := made.Delete(room); err != nil {
		t.Fatal(err)
	}
	made.stop()
	half := rest(t, made.path, Options{Retention: Retention{Trash: time.Hour, TrashBytes: 1}})
	half.retention.schedulePurge()
	if !half.runJobs() {
		t.Fatal("it is gone in one step")
	}
	half.dies()
	s := open(t, made.path, Options{Retention: Retention{Trash: time.Hour}})
	if _, err := s.Restore(room, 9000, nil); !errors.Is(err, ErrNoRoom) {
		t.Errorf("restored: %v", err)
	}
	if names := s.trashNames(); len(names) != 0 {
		t.Errorf("in the trash: %v", names)
	}
	s.settled()
	if now := s.keys(); now["rooms"] != 0 || now["blocks"] != 0 {
		t.Errorf("%v", now)
	}
}

// Rooms are looked at in steps, too, and each of them is.
func TestScanInSteps(t *testing.T) {
	const rooms = 1000
	made := open(t, dbPath(t), Options{})
	var records []Room
	for i := range rooms {
		records = append(records, Room{Name: fmt.Sprint("r", i), Key: fmt.Sprint("r", i), Port: 9000 + i})
	}
	all, err := made.CreateAll(records, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		made.fill(r.ID, 1)
	}
	made.stop()
	s := rest(t, made.path, Options{Retention: Retention{Age: time.Minute}})
	s.retention.schedule(time.Now().Add(time.Hour), s.heads)
	for left, more := len(s.retention.unscanned), true; more; {
		more = s.runJobs()
		if looked := left - len(s.retention.unscanned); looked > jobBlocks {
			t.Fatalf("a step looks at %d rooms", looked)
		}
		left = len(s.retention.unscanned)
	}
	for _, r := range all {
		if st, err := s.Stat(r.ID); err != nil || st.Lines != 0 {
			t.Fatalf("room %d: %+v, %v", r.ID, st, err)
		}
	}
}

// A room keeps so many bytes, and so many lines: the oldest go first.
func TestBytesKept(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		const most = 256 << 10
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Lines: 1000, Bytes: most}})
		room := s.room("lobby", 9000)
		s.fill(room, 2000)
		s.settled()
		st, err := s.Stat(room)
		if err != nil || st.Bytes > most+most/50 || st.Bytes < most-2*block.TargetBytes {
			t.Errorf("%+v, %v", st, err)
		}
		if lines := s.all(room); uint64(len(lines)) != st.Lines || lines[len(lines)-1].Seq != 2000 {
			t.Errorf("%d lines", len(lines))
		}
		for range 2000 {
			if err := s.Submit(context.Background(), &Post{Room: room, Line: Line{Kind: Message, Text: "x"}}); err != nil {
				t.Fatal(err)
			}
		}
		s.settled()
		if st, err = s.Stat(room); err != nil || st.Lines < 1000 || st.Lines > 1000+1000/50+limitMargin {
			t.Errorf("%+v, %v", st, err)
		}
		s.SetRetention(Retention{Bytes: 64 << 10})
		s.jobsLeft()
		s.settled()
		if st, err = s.Stat(room); err != nil || st.Bytes > 64<<10+64<<10/50 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// While lines flood in, what retention hides makes space as fast as they need it.
func TestFloodOfBytes(t *testing.T) {
	const most = 16 << 20
	s := open(t, dbPath(t), Options{Durability: Relaxed, Retention: Retention{Bytes: most}})
	s.fill(s.room("lobby", 9000), 4*most>>10)
	if size := s.fileSize(); size > 5*most/2 {
		t.Errorf("the file has %d bytes, and the room may have %d", size, most) // 4.3 times as much if it fell behind
	}
}
