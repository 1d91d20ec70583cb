package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"roomd/store/wal"
)

// crashed copies the files as they are and returns where: what a crash of the
// machine would leave if it came now. Nothing is being written.
func (tp *tap) crashed() (path string) {
	tp.t.Helper()
	path = dbPath(tp.t)
	for _, name := range []func(string) string{func(p string) string { return p }, wal.Path} {
		b, err := os.ReadFile(name(tp.path))
		if err != nil {
			tp.t.Fatal(err)
		}
		if err := os.WriteFile(name(path), b, 0o600); err != nil {
			tp.t.Fatal(err)
		}
	}
	return path
}

// talk is a store with some commits in the WAL, behind an earlier round,
// and the lines of each room.
func talk(t *testing.T) (s *tap, lines map[uint64][]Line) {
	t.Helper()
	s = open(t, dbPath(t), Options{})
	rooms := []uint64{s.room("a", 9000), s.room("b", 9001), s.room("c", 9002)}
	say := func(n int) {
		for i := range n {
			s.say(rooms[i%3], fmt.Sprintf("line %d %s", i, strings.Repeat("x", i)))
		}
	}
	say(100)
	s.checkpointNow()
	say(50)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	lines = make(map[uint64][]Line)
	for _, r := range rooms {
		lines[r] = s.all(r)
	}
	return s, lines
}

// TestWALCorrupt flips bits: whatever comes of it, lines are lost only with
// a warning, none is made up, and no number is given twice.
func TestWALCorrupt(t *testing.T) {
	s, want := talk(t)
	whole, err := os.ReadFile(wal.Path(s.path))
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(whole, "\x00"))
	path := s.crashed()
	warned := make(map[string]int)
	for range 120 {
		at, bit := walHead+rand.IntN(used-walHead), rand.IntN(8)
		b := bytes.Clone(whole)
		b[at] ^= 1 << bit
		if err := os.WriteFile(wal.Path(path), b, 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := Open(path, Options{}) // not started: nothing is written
		if err != nil {
			t.Fatal(err)
		}
		c := &tap{Store: st, t: t}
		missing := 0
		for room, lines := range want {
			have := c.all(room)
			for _, l := range have {
				if !slices.Contains(lines, l) {
					t.Fatalf("bit %d of byte %d: room %d has %+v", bit, at, room, l)
				}
			}
			missing += len(lines) - len(have)
		}
		if missing > 0 && len(c.Warnings()) == 0 {
			t.Errorf("bit %d of byte %d: %d lines are missing without a word", bit, at, missing)
		}
		for _, w := range c.Warnings() {
			for _, kind := range []string{"are corrupt", "does not decode", "incomplete", "does not exist"} {
				if strings.Contains(w, kind) {
					warned[kind]++
				}
			}
		}
		if err := errors.Join(st.file.view(checkTx), st.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Log(warned)
}

// TestWALTorn cuts the last commit off where power may fail: everything
// before it is there.
func TestWALTorn(t *testing.T) {
	s, want := talk(t)
	before, err := os.ReadFile(wal.Path(s.path))
	if err != nil {
		t.Fatal(err)
	}
	last := s.say(1, strings.Repeat("y", 3000))
	after, err := os.ReadFile(wal.Path(s.path))
	if err != nil || len(before) != len(after) {
		t.Fatal(err)
	}
	from := 0
	for before[from] == after[from] {
		from++
	}
	to := len(after)
	for before[to-1] == after[to-1] {
		to--
	}
	for cut := from; ; cut = min(cut+512-cut%512, to) {
		path := s.crashed()
		if err := os.WriteFile(wal.Path(path), append(bytes.Clone(after[:cut]), before[cut:]...), 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, path, Options{})
		expect := maps.Clone(want)
		if cut == to {
			expect[1] = append(slices.Clone(want[1]), last.Line)
		}
		for room, lines := range expect {
			if have := c.all(room); !slices.Equal(have, lines) {
				t.Errorf("cut at %d of %d to %d: room %d has %d lines, want %d", cut, from, to, room, len(have), len(lines))
			}
		}
		if p := c.say(1, "on"); p.Err != nil {
			t.Error(p.Err)
		}
		c.reopen()
		c.stop()
		if cut == to {
			return
		}
	}
}

// A database without its WAL says so, and gives no number twice.
func TestWALMissing(t *testing.T) {
	s, want := talk(t)
	path := s.crashed()
	if err := os.Remove(wal.Path(path)); err != nil {
		t.Fatal(err)
	}
	c := open(t, path, Options{})
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], wal.Path(path)) {
		t.Errorf("%q", w)
	}
	for room, lines := range want {
		last := lines[len(lines)-1].Seq
		if p := c.say(room, "next"); p.Err != nil || p.Line.Seq <= last {
			t.Errorf("room %d: %d %v after %d", room, p.Line.Seq, p.Err, last)
		}
	}
	c.reopen()
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("again: %q", w)
	}
}

// A WAL of another database is renamed.
func TestWALForeign(t *testing.T) {
	s, want := talk(t)
	path := s.crashed()
	c := open(t, path, Options{})
	c.stop()
	foreign, err := os.ReadFile(wal.Path(s.path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wal.Path(path), foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	for room, lines := range want {
		if have := c.all(room); !slices.Equal(have, lines) {
			t.Errorf("room %d: %d lines, want %d", room, len(have), len(lines))
		}
		c.say(room, "next")
	}
	if b, err := os.ReadFile(wal.Path(path) + ".orphan"); err != nil || !bytes.Equal(b, foreign) {
		t.Error("it is not kept:", err)
	}
	c.stop()
	if _, err := os.Stat(wal.Path(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("its own is there after close:", err)
	}
}

// A room that turns over many times its retention keeps its place on disk, and
// what is hidden goes from it.
func TestTurnover(t *testing.T) {
	for _, keep := range []uint64{100, 5000} {
		s := open(t, dbPath(t), Options{Retention: Retention{Lines: keep}})
		room := s.room("lobby", 9000)
		text := strings.Repeat("some words ", 9)
		size := func() int64 {
			s.checkpointNow()
			s.settled()
			s.checkpointNow()
			file, free, err := s.Size()
			if err != nil {
				t.Fatal(err)
			}
			return file - free
		}
		var first int64
		for turn := range 10 {
			for range keep {
				if err := s.Submit(t.Context(), &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: text}}); err != nil {
					t.Fatal(err)
				}
			}
			now := size()
			if turn == 2 {
				first = now
			}
			if turn > 2 && now > first+first/4+64<<10 {
				t.Errorf("%d lines kept: %d bytes in turn %d, %d in turn 2", keep, now, turn, first)
			}
			st, err := s.Stat(room)
			if err != nil || st.Lines > keep+keep/50+limitMargin || turn > 0 && st.Lines < keep {
				t.Errorf("%+v %v", st, err)
			}
			if n := s.onDisk(room); uint64(n) != st.Lines {
				t.Errorf("%d lines in blocks, %d are kept", n, st.Lines)
			}
		}
	}
}

// A room that keeps few lines has few in memory, however many are in the WAL:
// that has a bound of its own.
func TestWALOfFewLines(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Lines: 10}})
	room := s.room("a", 9000)
	text := strings.Repeat("x", 64<<10)
	for range 2*maxWALBytes/len(text) + 1 {
		if p := s.say(room, text); p.Err != nil {
			t.Fatal(p.Err)
		}
	}
	info, err := os.Stat(wal.Path(s.path))
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(maxWALBytes + 2*wal.GrowBytes + len(text)); info.Size() > most {
		t.Errorf("the WAL has %d bytes, and %d at most", info.Size(), most)
	}
}

// A checkpoint that removes all that the database has of a room, in many pages, and
// adds what is new comes to its end.
func TestCheckpointReplacesAll(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Lines: 10}})
	room := s.room("a", 9000)
	for round := range 3 {
		for range 150 {
			if p := s.say(room, fmt.Sprint(round, strings.Repeat("x", 8<<10))); p.Err != nil {
				t.Fatal(p.Err)
			}
		}
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := s.Stat(room); err != nil || st.Lines > 10+limitMargin {
		t.Errorf("%+v, %v", st, err)
	}
}

// What retention has hidden is not there again after a crash, from the beginning.
func TestHiddenAfterCrash(t *testing.T) {
	path := dbPath(t)
	s := open(t, path, Options{Retention: Retention{Lines: 10}})
	room := s.room("a", 9000)
	for i := range 50 {
		s.say(room, fmt.Sprint("in the database ", i))
	}
	s.checkpointNow()
	for i := range 200 {
		s.say(room, fmt.Sprint("in the WAL ", i))
	}
	s.settled()
	before, err := s.Stat(room)
	if err != nil || before.Removed < 50 {
		t.Fatalf("%+v, %v", before, err)
	}
	if err := s.Suspend(); err != nil { // leaves the WAL as a crash does
		t.Fatal(err)
	}
	found, err := Open(path, Options{Retention: Retention{Lines: 10}})
	if err != nil {
		t.Fatal(err)
	}
	after, err := found.Stat(room)
	if err != nil || after.Removed < before.Removed || after.Lines != 10 {
		t.Errorf("%+v, %v; before it was %+v", after, err, before)
	}
	lines, err := found.Lines(room, 0, after.Last, 1<<20)
	if err != nil || len(lines) != 10 || lines[0].Seq <= before.Removed {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	if err := errors.Join(found.writer.wal.Close(), found.file.db.Close(), s.Resume()); err != nil {
		t.Fatal(err)
	}
}

// After a crash the records in the WAL count for its bound, as if nothing had
// happened.
func TestWALCounts(t *testing.T) {
	path := dbPath(t)
	s := open(t, path, Options{})
	room := s.room("a", 9000)
	for range 10 {
		s.say(room, "a line")
	}
	if err := s.Suspend(); err != nil { // leaves the WAL as a crash does
		t.Fatal(err)
	}
	found, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := found.writer.wal.RecordBytes(); want <= 0 || found.writer.walBytes != want {
		t.Errorf("%d bytes count, and %d are in the WAL", found.writer.walBytes, want)
	}
	if err := errors.Join(found.writer.wal.Close(), found.file.db.Close(), s.Resume()); err != nil {
		t.Fatal(err)
	}
}
