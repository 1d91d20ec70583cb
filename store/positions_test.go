package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"roomd/store/wal"
)

// save saves positions of one reader.
func (tp *tap) save(reader string, p Positions) { tp.SavePositions(ReaderPositions{reader, p}) }

// wantPositions compares the positions of a reader.
func (tp *tap) wantPositions(reader string, want Positions) (at time.Time) {
	tp.t.Helper()
	got, at, err := tp.Positions(reader)
	if err != nil || !maps.Equal(got, want) {
		tp.t.Errorf("positions of %q: %v %v, not %v", reader, got, err, want)
	}
	if at.IsZero() != (len(want) == 0) {
		tp.t.Errorf("positions of %q were saved at %v", reader, at)
	}
	return at
}

// readersOnDisk counts the records in the file.
func (tp *tap) readersOnDisk() (n int) {
	tp.t.Helper()
	if err := tp.file.view(func(tx *bolt.Tx) error { n = countReaders(tx); return nil }); err != nil {
		tp.t.Fatal(err)
	}
	return n
}

func TestPositions(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Trash: time.Hour}})
		a, b := s.room("a", 9000), s.room("b", 9001)
		for range 5 {
			s.say(a, "x")
		}
		s.wantPositions("ann", nil)
		began := time.Now()
		s.save("ann", Positions{a: 3, b: 0})
		s.save("ann", Positions{a: 4})
		s.save("bob", Positions{a: 99, 77: 1}) // more than there is, and no such room
		s.save("", Positions{a: 1})
		s.save(strings.Repeat("x", MaxReaderBytes+1), Positions{a: 1})
		check := func(readers int) {
			t.Helper()
			if at := s.wantPositions("ann", Positions{a: 4, b: 0}); at.Before(began.Truncate(time.Microsecond)) || at.After(time.Now()) {
				t.Errorf("saved at %v", at)
			}
			s.wantPositions("bob", Positions{a: 5})
			s.wantPositions("", nil)
			s.wantPositions(strings.Repeat("x", MaxReaderBytes+1), nil)
			if n := s.readersOnDisk(); n != readers {
				t.Errorf("%d readers are in the file, not %d", n, readers)
			}
		}
		check(0)
		s.reopen() // a stop writes them
		check(2)
		if info, problems, err := inspectCopy(t, s); err != nil || len(problems) > 0 || info.Readers != 2 {
			t.Errorf("%+v %v %v", info, problems, err)
		}
		// A room that is left; a room in the trash keeps its positions; a purged one loses them.
		s.save("bob", Positions{a: NoPosition})
		s.wantPositions("bob", nil)
		s.checkpointNow()
		s.wantPositions("bob", nil)
		if n := s.readersOnDisk(); n != 1 {
			t.Errorf("%d readers are in the file, not 1", n)
		}
		if err := s.Delete(a); err != nil {
			t.Fatal(err)
		}
		s.save("ann", Positions{a: 2, b: 0})
		s.checkpointNow()
		s.wantPositions("ann", Positions{a: 4, b: 0})
		if err := s.Purge(a); err != nil {
			t.Fatal(err)
		}
		s.settled()
		s.wantPositions("ann", Positions{b: 0})
		s.save("ann", nil)
		s.checkpointNow()
		s.reopen()
		s.wantPositions("ann", Positions{b: 0})
	})
}

// inspectCopy inspects the file as it is.
func inspectCopy(t *testing.T, s *tap) (Info, []error, error) {
	t.Helper()
	s.checkpointNow()
	return Inspect(s.crashed(), true)
}

// Positions are written without a stop and without lines, together.
func TestPositionsAreWritten(t *testing.T) {
	commits := make(chan int, 1000)
	s := open(t, dbPath(t), Options{Events: Events{Committed: func(_ time.Duration, lines int) { commits <- lines }}})
	a := s.room("a", 9000)
	s.checkpointNow()
	for len(commits) > 0 {
		<-commits
	}
	for i := range 100 {
		s.save(fmt.Sprint("reader", i), Positions{a: 0})
	}
	if lines := <-commits; lines != 0 || s.readersOnDisk() != 100 {
		t.Errorf("a commit of %d lines, %d readers", lines, s.readersOnDisk())
	}
	if n := len(commits); n > 0 {
		t.Errorf("%d more commits", n)
	}
}

// The readers that were saved first are removed when there are too many, those that
// are too old after a while.
func TestPositionsAreBounded(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	a := s.room("a", 9000)
	for n := 0; n < MaxReaders+100; n += 100 {
		var all []ReaderPositions
		for i := range 100 {
			all = append(all, ReaderPositions{fmt.Sprint("reader", n+i), Positions{a: 0}})
		}
		s.SavePositions(all...)
		if n%1000 == 0 {
			s.checkpointNow()
		}
	}
	s.checkpointNow()
	left := s.readersOnDisk()
	if left > MaxReaders || left < MaxReaders*9/10 {
		t.Errorf("%d readers", left)
	}
	s.wantPositions("reader0", nil)
	s.wantPositions(fmt.Sprint("reader", MaxReaders), Positions{a: 0})
	// In memory, too.
	s.positions.mu.Lock()
	for n := range MaxReaders + 1 {
		s.positions.add(fmt.Sprint("memory", n), int64(n), Positions{a: 0})
	}
	if n := len(s.positions.unsaved); n > MaxReaders || n < MaxReaders*9/10 || s.positions.n != n || s.positions.unsaved["memory0"] != nil {
		t.Errorf("%d readers in memory, %d positions", n, s.positions.n)
	}
	s.positions.unsaved, s.positions.n = nil, 0
	s.positions.mu.Unlock()

	many := make(Positions)
	for room := range uint64(MaxPositions + 10) {
		many[room+1] = room
	}
	r := reader{rooms: maps.Clone(many)}
	r.bound(Positions{1: 0, 2: 1})
	if _, ok := r.rooms[1]; len(r.rooms) != MaxPositions || !ok {
		t.Error(len(r.rooms))
	}
	r = reader{rooms: many}
	if r.bound(many); len(r.rooms) != MaxPositions {
		t.Error(len(r.rooms))
	}

	for _, after := range []time.Duration{PositionsKept - time.Hour, PositionsKept + time.Hour} {
		if err := s.applyRetentionAt(time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		s.settled()
		if n := s.readersOnDisk(); n != left && after < PositionsKept || n != 0 && after > PositionsKept {
			t.Errorf("%d readers after %v", n, after)
		}
	}
	if s.positions.readers != 0 {
		t.Error(s.positions.readers)
	}
}

// Corrupt records are skipped, named and removed; all others are there.
func TestCorruptPositions(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	a := s.room("a", 9000)
	s.say(a, "x")
	for _, name := range []string{"ann", "bob", "eve"} {
		s.save(name, Positions{a: 1})
	}
	s.stop()
	corrupt := func(names ...string) {
		t.Helper()
		db, err := bolt.Open(s.path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) (err error) {
			for _, name := range names {
				k := []byte(name)
				v := bytes.Clone(tx.Bucket(bucketPositions).Get(k))
				v[8] ^= 1
				err = errors.Join(err, tx.Bucket(bucketPositions).Put(k, v))
			}
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	corrupt("ann", "bob")
	if _, problems, err := Inspect(s.path, true); err != nil || !strings.Contains(fmt.Sprint(problems), fmt.Sprintf("%x", "ann")) {
		t.Errorf("%v %v", problems, err)
	}
	c, err := Open(s.path, s.opts) // not started: nothing is removed
	if err != nil {
		t.Fatal(err)
	}
	if n, said := c.SkippedRecords(); n != 2 || !strings.Contains(strings.Join(said, "\n"), "positions of readers") {
		t.Errorf("%d %v", n, said)
	}
	for name, want := range map[string]int{"ann": 0, "eve": 1} {
		if got, _, err := c.Positions(name); err != nil || len(got) != want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	if n := c.CorruptReads(); n != 0 { // it was known
		t.Error(n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.save("ann", Positions{a: 1})
	s.checkpointNow()
	s.settled()
	s.wantPositions("ann", Positions{a: 1})
	s.wantPositions("bob", nil)
	s.wantPositions("eve", Positions{a: 1})
	s.reopen() // which checks the file
	if n, said := s.SkippedRecords(); n != 0 {
		t.Error(said)
	}
}

// FuzzPositions decodes whatever is in a record.
func FuzzPositions(f *testing.F) {
	r := reader{7, Positions{1: 2, 300: 400}}
	f.Add([]byte("ann"), r.encode([]byte("ann")), false)
	f.Add([]byte("ann"), []byte("12345678\x02\x01"), true)
	f.Fuzz(func(t *testing.T, k, v []byte, whole bool) {
		if whole {
			v = seal(k, bytes.Clone(v))
		}
		r := reader{rooms: make(Positions)}
		if v == nil || r.decode(k, v) != nil {
			return
		}
		again := reader{rooms: make(Positions)}
		if err := again.decode(k, r.encode(k)); err != nil || again.at != r.at || !maps.Equal(again.rooms, r.rooms) {
			t.Errorf("%+v becomes %+v: %v", r, again, err)
		}
	})
}

// Whatever is saved, left, deleted, imported, restarted and crashed: a reader has the
// newest position that was saved, or after a crash an older one.
func TestPositionsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), fmt.Sprint(rand.Uint64()))
		s := open(t, path, Options{Durability: Durability(rapid.IntRange(0, 1).Draw(rt, "durability")), FlushInterval: time.Hour})
		want := make(map[string]Positions)
		last := make(map[uint64]uint64)
		var rooms []uint64
		for i := range 3 {
			rooms = append(rooms, s.room(fmt.Sprint("room", i), 9000+i))
		}
		room := rapid.SampledFrom(rooms)
		name := rapid.SampledFrom([]string{"ann", "bob", "eve", "\x00\xff"})
		rt.Repeat(map[string]func(*rapid.T){
			"say": func(rt *rapid.T) {
				id := room.Draw(rt, "room")
				last[id] = s.say(id, "x").Line.Seq
			},
			"save": func(rt *rapid.T) {
				who, id := name.Draw(rt, "name"), room.Draw(rt, "room")
				seq := rapid.Uint64Range(0, last[id]).Draw(rt, "seq")
				s.save(who, Positions{id: seq})
				if want[who] == nil {
					want[who] = make(Positions)
				}
				want[who][id] = seq
			},
			"leave": func(rt *rapid.T) {
				who, id := name.Draw(rt, "name"), room.Draw(rt, "room")
				s.save(who, Positions{id: NoPosition})
				delete(want[who], id)
			},
			"write":  func(rt *rapid.T) { s.checkpointNow() },
			"reopen": func(rt *rapid.T) { s.reopen() },
			"suspend": func(rt *rapid.T) {
				if err := errors.Join(s.Suspend(), s.Resume()); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				for _, who := range []string{"ann", "bob", "eve", "\x00\xff"} {
					s.wantPositions(who, want[who])
				}
			},
		})
	})
}

// If the WAL is lost new lines may get the numbers of lost ones: nobody misses them.
func TestPositionsAfterTheLastLine(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	a := s.room("a", 9000)
	s.say(a, "x")
	s.checkpointNow()
	for range 5 {
		s.say(a, "in the WAL")
	}
	s.save("ann", Positions{a: 6})
	if err := s.OnCommitter(s.writePositions); err != nil {
		t.Fatal(err)
	}
	path := s.crashed()
	if err := os.Truncate(wal.Path(path), walHead); err != nil {
		t.Fatal(err)
	}
	c := open(t, path, Options{})
	p := c.say(a, "new")
	if at := c.wantPositions("ann", Positions{a: 1}); p.Line.Seq <= 1 || at.IsZero() {
		t.Error(p.Line.Seq)
	}
	// With the WAL nothing changes.
	c = open(t, s.crashed(), Options{})
	c.wantPositions("ann", Positions{a: 6})
}

// A backup has the positions; an import ends those of its room.
func TestPositionsInABackup(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	a, b := s.room("a", 9000), s.room("b", 9001)
	s.say(a, "x")
	s.say(b, "x")
	s.save("ann", Positions{a: 1, b: 1})
	s.save("bob", Positions{b: 1})
	var out bytes.Buffer
	if _, err := s.Snapshot(t.Context(), &out, 1<<40, nil); err != nil {
		t.Fatal(err)
	}
	s.say(a, "later")
	s.save("ann", Positions{a: 2})
	path := dbPath(t)
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, path, Options{})
	c.wantPositions("ann", Positions{a: 1, b: 1})
	lines := `{"room":{"name":"b","port":9001},"last":5}
{"seq":3,"time":"2026-01-01T00:00:00Z","kind":"message","from":"eve","text":"imported"}
`
	if _, n, err := c.Import(strings.NewReader(lines), func(name string) (string, error) { return name, nil }, nil, nil); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	c.wantPositions("ann", Positions{a: 1})
	c.wantPositions("bob", nil)
	c.stop()
	if _, _, err := Compact(path, Options{}); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.wantPositions("ann", Positions{a: 1})
}

// A file of a roomd that knows no positions gets them; such a roomd, which writes the
// file meanwhile, leaves them alone or drops them all.
func TestPositionsInAnOlderFile(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	a := s.room("a", 9000)
	s.say(a, "x")
	s.save("ann", Positions{a: 1})
	s.stop()
	db, err := bolt.Open(s.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketPositions) }), db.Close()); err != nil {
		t.Fatal(err)
	}
	if info, problems, err := Inspect(s.path, true); err != nil || len(problems) > 0 || info.Readers != 0 || info.Rooms != 1 {
		t.Errorf("%+v %v %v", info, problems, err)
	}
	s.start()
	s.wantPositions("ann", nil)
	s.save("ann", Positions{a: 1})
	s.reopen()
	s.wantPositions("ann", Positions{a: 1})
}

// While the disk takes nothing positions are kept in memory, and are written later.
func TestPositionsReadOnly(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	a := s.room("a", 9000)
	s.say(a, "x")
	s.save("ann", Positions{a: 1})
	if err := s.OnCommitter(func() { s.health.setReason(ErrReadOnly); s.writePositions() }); err != nil {
		t.Fatal(err)
	}
	s.save("bob", Positions{a: 1})
	s.wantPositions("ann", Positions{a: 1})
	s.wantPositions("bob", Positions{a: 1})
	if n := s.readersOnDisk(); n != 0 {
		t.Error(n)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	s.wantPositions("ann", Positions{a: 1})
	s.wantPositions("bob", Positions{a: 1})
}

// positionsUntilKilled is a child: it says lines, and saves each as a position when it is
// delivered. Now and then it writes that at once. It prints both.
func positionsUntilKilled(path string, relaxed bool) error {
	opts := Options{FlushInterval: crashInterval}
	if relaxed {
		opts.Durability = Relaxed
	}
	s, err := Open(path, opts)
	if err != nil {
		return err
	}
	room, delivered := uint64(1), make(chan struct{})
	s.Start(Follower{Lines: func(posts []*Post) {
		seq, written := posts[0].Line.Seq, 0
		s.SavePositions(ReaderPositions{"ann", Positions{room: seq}})
		if seq%7 == 0 { // a relaxed line is not on disk yet
			written = 1
			s.writePositions()
		}
		fmt.Println(seq, written)
		delivered <- struct{}{}
	}})
	if empty, err := s.Empty(); err != nil {
		return err
	} else if empty {
		if _, err := s.Create(Room{Name: "a", Key: "a", Port: 9000}); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		if _, err := s.TrySubmit(&Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: fmt.Sprint(i)}}); err != nil {
			return err
		}
		<-delivered
	}
}

// After kill -9 a position is what was written, or newer, and never beyond the lines
// on disk: no number above it was given before.
func TestPositionsKilled(t *testing.T) {
	for _, what := range []string{"positions", "positions relaxed"} {
		path := dbPath(t)
		for round := range 6 {
			cmd, out, _ := startChild(t, what, path)
			written, n := uint64(0), 1+rand.IntN(200)
			sc := bufio.NewScanner(out)
			for i := 0; sc.Scan(); i++ {
				var seq uint64
				saved := 0
				if _, err := fmt.Sscan(sc.Text(), &seq, &saved); err != nil {
					break // it was being written
				}
				if saved == 1 {
					written = seq
				}
				if i == n {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
			cmd.Wait()
			s, err := Open(path, Options{Durability: Relaxed})
			if err != nil {
				t.Fatal(err)
			}
			p, _, err := s.Positions("ann")
			lines, e := s.Lines(1, 0, 1<<63, 1<<30)
			if err := errors.Join(err, e, s.Close()); err != nil {
				t.Fatal(err)
			}
			newest := uint64(0)
			if len(lines) > 0 {
				newest = lines[len(lines)-1].Seq
			}
			if p[1] < written || p[1] > newest {
				t.Errorf("%s, round %d: the position is %d; %d was written, and the newest line is %d", what, round, p[1], written, newest)
			}
		}
	}
}

// The cost of a save of readers with 8 rooms each, all of which moved: the caller's
// part, and the committer's, which is in steps.
func BenchmarkSavePositions(b *testing.B) {
	for _, readers := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprint("readers=", readers), func(b *testing.B) {
			s := open(b, dbPath(b), Options{})
			var rooms []uint64
			for i := range 8 {
				rooms = append(rooms, s.room(fmt.Sprint("room", i), 9000+i))
				s.say(rooms[i], "x")
				s.say(rooms[i], "x")
			}
			all := make([]ReaderPositions, readers)
			for i := range all {
				all[i] = ReaderPositions{fmt.Sprintf("%032x", rand.Uint64()), make(Positions)}
			}
			var saving, longest time.Duration
			steps := 0
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				for _, r := range all {
					for _, room := range rooms {
						r.Positions[room] = uint64(n % 3)
					}
				}
				start := time.Now()
				s.SavePositions(all...)
				saving += time.Since(start)
				for more := true; more; steps++ {
					if err := s.OnCommitter(func() {
						start := time.Now()
						var err error
						if more, err = s.positionsStep(positionsStep); err != nil {
							b.Error(err)
						}
						longest = max(longest, time.Since(start))
					}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(saving.Seconds()*1000/float64(b.N), "caller-ms/op")
			b.ReportMetric(float64(steps)/float64(b.N), "steps/op")
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(steps), "ms/step")
			b.ReportMetric(longest.Seconds()*1000, "longest-ms")
			file, free, err := s.Size()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(file-free)/float64(readers), "B/reader")
		})
	}
}
