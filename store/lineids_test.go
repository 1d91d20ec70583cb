package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"roomd/store/lineid"
)

// sayAs submits lines with IDs together and returns what became of them.
func (tp *tap) sayAs(room uint64, all ...*LineID) []*Post {
	tp.t.Helper()
	back := make(chan *Post, len(all))
	for _, id := range all {
		p := &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: id.ID}, Owner: back, ID: id}
		if err := tp.Submit(context.Background(), p); err != nil {
			tp.t.Fatal(err)
		}
	}
	posts := make([]*Post, len(all))
	for i := range posts {
		posts[i] = <-back
	}
	return posts
}

func annID(id string) *LineID { return &LineID{By: "ann", ID: id} }

func TestLineIDs(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Trash: time.Hour}})
		a, b := s.room("a", 9000), s.room("b", 9001)
		first := s.sayAs(a, annID("1"))[0]
		if first.Err != nil || first.Line.Seq != 1 {
			t.Fatalf("%+v", first)
		}
		again := func(id *LineID) {
			t.Helper()
			if p := s.sayAs(a, id)[0]; !errors.Is(p.Err, ErrStored) || p.Line.Seq != first.Line.Seq || !p.Line.Time.Equal(first.Line.Time) {
				t.Errorf("%+v, want the line %+v", p, first.Line)
			}
		}
		again(annID("1"))
		again(&LineID{By: "ann", ID: "1", Refused: ErrUsed})
		s.checkpointNow()
		again(annID("1"))
		s.reopen()
		again(annID("1"))
		if err := s.Delete(a); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Restore(a, 9002, nil); err != nil {
			t.Fatal(err)
		}
		name := "renamed"
		if _, err := s.Update(a, Edit{Name: &name, Key: &name}); err != nil {
			t.Fatal(err)
		}
		again(annID("1"))

		for _, id := range []*LineID{{By: "bob", ID: "1"}, {By: "ann", ID: "2"}, {By: "", ID: "ann1"}, {By: "a", ID: "nn1"}} {
			if p := s.sayAs(a, id)[0]; p.Err != nil {
				t.Errorf("%+v: %v", id, p.Err)
			}
		}
		if p := s.sayAs(b, annID("1"))[0]; p.Err != nil || p.Line.Seq != 1 {
			t.Errorf("in another room: %+v", p)
		}
		if p := s.sayAs(a, &LineID{By: "ann", ID: "3", Refused: ErrUsed})[0]; !errors.Is(p.Err, ErrUsed) {
			t.Errorf("%+v", p)
		}
		if p := s.sayAs(a, annID("3"))[0]; p.Err != nil {
			t.Errorf("a refused line counts: %+v", p)
		}
		if p := s.sayAs(77, annID("1"))[0]; !errors.Is(p.Err, ErrNoRoom) {
			t.Errorf("%+v", p)
		}
		many := s.sayAs(a, annID("x"), annID("y"), annID("x"), annID("x"))
		stored := 0
		for _, p := range many {
			if p.Err == nil {
				stored++
			} else if !errors.Is(p.Err, ErrStored) || p.Line.Seq != many[0].Line.Seq {
				t.Errorf("%+v", p)
			}
		}
		if stored != 2 {
			t.Errorf("%d lines of 2 IDs are stored", stored)
		}
		if n := len(s.all(a)); n != 8 {
			t.Errorf("%d lines", n)
		}
	})
}

// Lines without an ID take what they took before there were IDs.
func TestPostSize(t *testing.T) {
	if n := unsafe.Sizeof(Post{}); n > 128 {
		t.Errorf("a Post has %d bytes, which the allocator rounds up", n)
	}
}

// IDs that are kept are those of a map, whatever happens to the store.
func TestLineIDModel(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		dir := t.TempDir()
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			s := &tap{t: t, path: filepath.Join(dir, fmt.Sprint(n)), opts: Options{Durability: d, Retention: Retention{Trash: time.Hour, Lines: 10}}}
			s.start()
			defer func() { s.Close() }()
			rooms := []uint64{s.room("a", 9000), s.room("b", 9001)}
			type key struct {
				room   uint64
				by, id string
			}
			known, last := make(map[key]uint64), make(map[uint64]uint64)
			trash := make(map[uint64]bool)
			rt.Repeat(map[string]func(*rapid.T){
				"say": func(rt *rapid.T) {
					room := rapid.SampledFrom(rooms).Draw(rt, "room")
					ids := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *LineID {
						return &LineID{By: rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(rt, "by"), ID: fmt.Sprint(rapid.IntRange(0, 30).Draw(rt, "id"))}
					}), 1, 5).Draw(rt, "ids")
					for _, p := range s.sayAs(room, ids...) {
						k := key{room, p.ID.By, p.ID.ID}
						switch seq, ok := known[k]; {
						case ok && (!errors.Is(p.Err, ErrStored) || p.Line.Seq != seq):
							rt.Fatalf("%+v again: %d, %v, want %d", k, p.Line.Seq, p.Err, seq)
						case ok:
						case trash[room] && errors.Is(p.Err, ErrNoRoom):
						case trash[room], p.Err != nil, p.Line.Seq <= last[room]:
							rt.Fatalf("%+v: %d, %v", k, p.Line.Seq, p.Err)
						default:
							known[k], last[room] = p.Line.Seq, p.Line.Seq
						}
					}
				},
				"plain": func(rt *rapid.T) {
					room := rapid.SampledFrom(rooms).Draw(rt, "room")
					if p := s.say(room, "plain"); p.Err == nil {
						last[room] = p.Line.Seq
					}
				},
				"checkpoint": func(*rapid.T) { s.checkpointNow() },
				"reopen":     func(*rapid.T) { s.reopen() },
				"resume": func(*rapid.T) {
					if err := errors.Join(s.Suspend(), s.Resume()); err != nil {
						rt.Fatal(err)
					}
				},
				"crash": func(*rapid.T) {
					if d == Relaxed { // nothing is unwritten in what is copied
						if err := s.Flush(); err != nil {
							rt.Fatal(err)
						}
					}
					path := s.crashed()
					s.stop()
					s.path = path
					s.start()
				},
				"compact": func(*rapid.T) {
					s.stop()
					if _, _, err := Compact(s.path, s.opts); err != nil {
						rt.Fatal(err)
					}
					s.start()
				},
				"backup": func(rt *rapid.T) {
					path := dbPath(t) // another one each time
					f, err := os.Create(path)
					if err == nil {
						_, err = s.Snapshot(t.Context(), f, 1<<30, nil)
						err = errors.Join(err, f.Close())
					}
					if err != nil {
						rt.Fatal(err)
					}
					s.stop()
					s.path = path
					s.start()
				},
				"delete": func(rt *rapid.T) {
					room := rapid.SampledFrom(rooms).Draw(rt, "room")
					if err := s.Delete(room); err == nil {
						trash[room] = true
					}
				},
				"restore": func(rt *rapid.T) {
					for _, room := range slices.Sorted(maps.Keys(trash)) {
						if _, err := s.Restore(room, 8999+int(room), nil); err != nil {
							rt.Fatal(err)
						}
					}
					clear(trash)
				},
			})
			if err := s.Check(); err != nil {
				rt.Fatal(err)
			}
		})
	})
}

// An ID is kept for a day. Then housekeeping removes it, and stops looking.
func TestLineIDsExpire(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("a", 9000)
	s.sayAs(room, annID("1"))
	s.checkpointNow()
	count := func() (n uint64) {
		t.Helper()
		if err := s.file.view(func(tx *bolt.Tx) error { n = lineid.Count(tx.Bucket(bucketIDs)); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	housekeeping := func(after time.Duration) {
		t.Helper()
		if err := s.applyRetentionAt(time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		s.settled()
	}
	housekeeping(lineid.Kept)
	if count() != 1 {
		t.Fatal("the ID is not kept for a day")
	}
	housekeeping(lineid.Kept + 5*time.Hour)
	if n := count(); n != 0 {
		t.Fatalf("%d IDs are left", n)
	}
	if p := s.sayAs(room, annID("1"))[0]; p.Err != nil || p.Line.Seq != 2 {
		t.Errorf("%+v", p)
	}
}

// A flood of IDs runs checkpoints: memory has a bounded number of them.
func TestLineIDsFlood(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("a", 9000)
	const n = 3 * lineid.MaxFresh
	for i := range n {
		if err := s.Submit(context.Background(), &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: "x"}, ID: annID(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	fresh := 0
	if err := s.OnCommitter(func() { fresh = s.ids.Fresh() }); err != nil {
		t.Fatal(err)
	}
	if fresh > lineid.MaxFresh+batchLines {
		t.Errorf("%d IDs are in memory", fresh)
	}
	if st, err := s.Stat(room); err != nil || st.Lines != n {
		t.Errorf("%+v %v", st, err)
	}
	if p := s.sayAs(room, annID("0"))[0]; !errors.Is(p.Err, ErrStored) || p.Line.Seq != 1 {
		t.Errorf("%+v", p)
	}
}

// Files of older versions take IDs.
func TestLineIDsInOldFiles(t *testing.T) {
	for version := 1; version <= Schema; version++ {
		s := open(t, old(t, version), Options{})
		first := s.sayAs(1, annID("1"))[0]
		s.reopen()
		if p := s.sayAs(1, annID("1"))[0]; first.Err != nil || !errors.Is(p.Err, ErrStored) || p.Line.Seq != first.Line.Seq {
			t.Errorf("version %d: %+v, then %+v", version, first, p)
		}
	}
}

// A line whose write fails is not remembered, and neither is its twin in the batch. One that is on
// disk is remembered also while no line can be kept.
func TestLineIDsReadOnly(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("a", 9000)
	first := s.sayAs(room, annID("1"))[0]
	if err := s.OnCommitter(func() { s.health.setReadOnly(errors.New("a test")) }); err != nil {
		t.Fatal(err)
	}
	for _, p := range s.sayAs(room, annID("2"), annID("2")) {
		if !errors.Is(p.Err, ErrReadOnly) {
			t.Errorf("%+v", p)
		}
	}
	if p := s.sayAs(room, annID("1"))[0]; !errors.Is(p.Err, ErrStored) || p.Line.Seq != first.Line.Seq {
		t.Errorf("%+v", p)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if p := s.sayAs(room, annID("1"))[0]; !errors.Is(p.Err, ErrStored) || p.Line.Seq != first.Line.Seq {
		t.Errorf("after the recovery: %+v", p)
	}
	if p := s.sayAs(room, annID("2"))[0]; p.Err != nil {
		t.Errorf("%+v", p)
	}
}
