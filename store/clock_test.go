package store

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"roomd/store/block"
	"roomd/store/wal"
)

func TestClock(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		looks [][3]time.Duration // both clocks since the start, and the trusted one
	}{
		{"well", [][3]time.Duration{{0, 0, 0}, {time.Minute, time.Minute, time.Minute}, {9 * day, 9 * day, 9 * day}}},
		{"drifts", [][3]time.Duration{{0, 0, 0}, {day, day - time.Minute, day}, {2 * day, 2*day - 5*time.Minute, 2 * day}}},
		{"ahead for good", [][3]time.Duration{
			{0, 0, 0}, {day + time.Minute, time.Minute, time.Minute}, {day + 59*time.Minute, 59 * time.Minute, 59 * time.Minute},
			{day + 62*time.Minute, 62 * time.Minute, day + 62*time.Minute},
		}},
		{"ahead and back", [][3]time.Duration{
			{0, 0, 0}, {day + time.Minute, time.Minute, time.Minute}, {2 * time.Minute, 2 * time.Minute, 2 * time.Minute}, {2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		}},
		{"ahead twice", [][3]time.Duration{
			{0, 0, 0}, {day + time.Minute, time.Minute, time.Minute}, {2*day + 50*time.Minute, 50 * time.Minute, 50 * time.Minute},
			{2*day + 100*time.Minute, 100 * time.Minute, 100 * time.Minute}, {2*day + 111*time.Minute, 111 * time.Minute, 2*day + 111*time.Minute},
		}},
		{"back a year, and right again", [][3]time.Duration{
			{0, 0, 0}, {-365 * day, time.Minute, -365 * day}, {3 * time.Minute, 2 * time.Minute, -365*day + time.Minute + time.Minute},
			{2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		}},
	} {
		var c clock
		for i, l := range test.looks {
			now, jumped := c.trusted(start.Add(l[0]), l[1])
			if off := now.Sub(start.Add(l[2])); off.Abs() > time.Minute {
				t.Errorf("%s, look %d: the clock shows %v, %v of that are trusted, %v should be", test.name, i, l[0], now.Sub(start), l[2])
			}
			if jumped > 0 && i == 0 {
				t.Errorf("%s: the first look is a jump of %v", test.name, jumped)
			}
		}
	}
}

// Nothing goes early because the clock has jumped: neither back, by 26 years, nor
// ahead, before there was an hour to set it right. Numbers and order do not care.
func TestClockJumps(t *testing.T) {
	path := dbPath(t)
	opts := Options{Retention: Retention{Age: time.Hour, Trash: time.Hour, Lines: 1000}}
	s := open(t, path, opts)
	lobby, old := s.room("lobby", 9000), s.room("old", 9001)
	s.say(lobby, "in our time")
	s.say(old, "in our time")
	if err := s.Delete(old); err != nil {
		t.Fatal(err)
	}
	s.stop()
	// In a bubble it is the year 2000, and an hour passes at once.
	synctest.Test(t, func(t *testing.T) {
		jumps := 0
		opts.Events.ClockJumped = func(time.Duration) { jumps++ }
		s := open(t, path, opts)
		expect := func(when string, lines int, trash bool) {
			t.Helper()
			synctest.Wait()
			all := s.all(lobby)
			if len(all) != lines {
				t.Errorf("%s: there are %d lines instead of %d", when, len(all), lines)
			}
			for i, l := range all {
				if i > 0 && l.Seq != all[i-1].Seq+1 {
					t.Errorf("%s: %d follows %d", when, l.Seq, all[i-1].Seq)
				}
			}
			if _, err := s.Lines(old, 0, 1, 1); errors.Is(err, ErrNoRoom) == trash {
				t.Errorf("%s: the room in the trash: %v", when, err)
			}
		}
		expect("back in 2000", 1, true)
		<-time.After(30 * time.Hour)
		if p := s.say(lobby, "long ago"); p.Line.Seq != 2 {
			t.Errorf("its number is %d", p.Line.Seq)
		}
		expect("a day later", 2, true)
		ports, err := s.ReleasedPorts()
		if err != nil || len(ports) != 1 || ports[0] != 9001 {
			t.Errorf("resting: %v %v", ports, err)
		}
		dev, bin := s.room("dev", 9002), s.room("bin", 9003)
		s.say(dev, "at midnight")
		if err := s.Delete(bin); err != nil {
			t.Fatal(err)
		}
		s.stop()

		// And ahead, by two days, with the server down meanwhile.
		closed := time.Now()
		if err := os.Chtimes(path, closed, closed); err != nil {
			t.Fatal(err)
		}
		<-time.After(48 * time.Hour)
		s.start()
		gone := func() bool {
			_, err := s.Lines(bin, 0, 1, 1)
			return errors.Is(err, ErrNoRoom) && len(s.all(dev)) == 0
		}
		<-time.After(59 * time.Minute)
		synctest.Wait()
		if _, err := s.Lines(bin, 0, 1, 1); err != nil || len(s.all(dev)) != 1 || jumps != 1 {
			t.Errorf("within the hour: %v, %d lines, %d jumps", err, len(s.all(dev)), jumps)
		}
		<-time.After(3 * time.Minute)
		synctest.Wait()
		if !gone() {
			t.Error("an hour later nothing has gone")
		}
		expect("long after", 2, true) // what was said in a future year stays until then
	})
}

// decreases returns the number of the first line whose time is before that of the line
// before it, or 0.
func decreases(lines []Line) uint64 {
	for i, l := range lines {
		if i > 0 && l.Time.Before(lines[i-1].Time) {
			return l.Seq
		}
	}
	return 0
}

// The times of a room never decrease when the clock is set back: not with the lines in
// memory, nor after a start, nor by an import. Another room has its own times.
func TestTimesNeverDecrease(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		path, crashed := dbPath(t), dbPath(t)
		opts := Options{Durability: d}
		s := open(t, path, opts)
		lobby := s.room("lobby", 9000)
		ahead := s.say(lobby, "in our time").Line.Time
		s.stop()
		// In a bubble it is the year 2000.
		synctest.Test(t, func(t *testing.T) {
			s := open(t, path, opts)
			if at := s.say(lobby, "after a start").Line.Time; !at.Equal(ahead) {
				t.Errorf("its time is %v, that of the line before it is %v", at, ahead)
			}
			other := s.room("other", 9001)
			if at := s.say(other, "in a new room").Line.Time; !at.Equal(time.Now()) {
				t.Errorf("the time in another room is %v, the clock shows %v", at, time.Now())
			}
			s.checkpointNow()
			s.say(lobby, "behind a checkpoint")
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			// What a crash would leave, with lines in the WAL only.
			for from, to := range map[string]string{path: crashed, wal.Path(path): wal.Path(crashed)} {
				b, err := os.ReadFile(from)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(to, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.say(lobby, "and one more")
			if at := decreases(s.all(lobby)); at > 0 {
				t.Errorf("the time of line %d is before that of the line before it", at)
			}
			again := open(t, crashed, opts)
			again.say(lobby, "after the crash")
			if at, n := decreases(again.all(lobby)), len(again.all(lobby)); at > 0 || n != 4 {
				t.Errorf("after a crash there are %d lines, line %d is before the one before it", n, at)
			}
			lines := `{"room":{"name":"lobby","key":"lobby","port":9000},"last":90}
{"seq":80,"time":"2001-01-01T00:00:00Z","kind":"message","text":"from another database"}
{"seq":81,"time":"2100-01-01T00:00:00Z","kind":"message","text":"from the future"}
{"seq":90,"time":"2002-01-01T00:00:00Z","kind":"message","text":"from that database too"}`
			if _, n, err := s.Import(strings.NewReader(lines), asIs, nil, nil); n != 3 || err != nil {
				t.Fatalf("%d lines, %v", n, err)
			}
			future := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
			s.reopen()
			if at := s.say(lobby, "after an import").Line.Time; !at.Equal(future) {
				t.Errorf("the time is %v, that of an imported line is %v", at, future)
			}
			if at, n := decreases(s.all(lobby)), len(s.all(lobby)); at > 0 || n != 8 {
				t.Errorf("after an import there are %d lines, line %d is before the one before it", n, at)
			}
		})
	})
}

// NewestBefore and LinesBackward against a room as a slice: with lines in the database, in memory, removed,
// in corrupt blocks, and with numbers that jump.
func TestNewestBefore(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(dir, strconv.Itoa(runs))
		st, err := Open(path, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		st.Start(Follower{})
		s := &tap{Store: st, t: t, path: path}
		defer s.Close()
		room := s.room("lobby", 9000)
		seq, micros := uint64(0), int64(1e15)
		var lines []Line
		times := []int64{0, micros - 1, micros, micros + 1}
		add := func(n int) []Line {
			from := len(lines)
			for range n {
				seq += rapid.SampledFrom([]uint64{1, 1, 1, 70_000}).Draw(rt, "step")
				micros += rapid.SampledFrom([]int64{0, 0, 1, 1000, 3e6}).Draw(rt, "later")
				lines = append(lines, Line{Seq: seq, Time: time.UnixMicro(micros).UTC(), Kind: Message, Text: strings.Repeat("x", 2000)})
				times = append(times, micros-1, micros, micros+1)
			}
			return lines[from:]
		}
		if _, err := s.importBatch(room, add(rapid.IntRange(0, 60).Draw(rt, "stored")), 0); err != nil {
			rt.Fatal(err)
		}
		var removed uint64
		err = s.OnCommitter(func() {
			h := s.heads[room]
			recent := add(rapid.IntRange(0, 20).Draw(rt, "recent"))
			s.mu.Lock()
			for i := range recent {
				s.checkpoint.tailBytes += h.add(room, &recent[i])
			}
			s.mu.Unlock()
			s.checkpoint.markDirty(h)
		})
		if err != nil {
			rt.Fatal(err)
		}
		if keep := rapid.IntRange(0, len(lines)).Draw(rt, "keep"); keep > 0 && rapid.Bool().Draw(rt, "retention") {
			s.SetRetention(Retention{Lines: uint64(keep)})
			s.OnCommitter(func() { s.retention.schedule(time.Now(), s.heads) })
			s.settled()
			stat, err := s.Stat(room)
			if err != nil {
				rt.Fatal(err)
			}
			removed = stat.Removed
		}
		corrupt := make(map[uint64]bool) // the lines of corrupt blocks
		if rapid.Bool().Draw(rt, "corruption") {
			err := s.update(func(tx *bolt.Tx) error {
				b := tx.Bucket(bucketLines).Bucket(u64(room))
				bad := make(map[string][]byte)
				for k, v := range records(b) {
					got, err := block.Decode(room, k, v)
					if err != nil || rapid.IntRange(0, 2).Draw(rt, "corrupt") > 0 {
						continue
					}
					for sc := got.Scan(); sc.Next(); {
						corrupt[sc.Seq] = true
					}
					v = bytes.Clone(v)
					v[len(v)-1] ^= 1
					bad[string(k)] = v
				}
				for k, v := range bad {
					if err := b.Put([]byte(k), v); err != nil {
						return err
					}
				}
				return nil
			}, nil)
			if err != nil {
				rt.Fatal(err)
			}
		}
		for range 30 {
			at := time.UnixMicro(rapid.SampledFrom(times).Draw(rt, "time")).Add(time.Duration(rapid.IntRange(0, 1).Draw(rt, "nanosecond")))
			want := uint64(0)
			for _, l := range lines {
				if l.Time.Before(at) && l.Seq > removed && !corrupt[l.Seq] {
					want = l.Seq
				}
			}
			if got, err := s.NewestBefore(room, at); got != want || err != nil {
				rt.Fatalf("the newest line before %v is %d, %v; want %d", at, got, err, want)
			}
		}
		var want []uint64
		for _, l := range slices.Backward(lines) {
			if l.Seq > removed && !corrupt[l.Seq] {
				want = append(want, l.Seq)
			}
		}
		var got []uint64
		for upto := uint64(math.MaxUint64); upto > 0; {
			page, after, _, err := s.LinesBackward(room, upto, rapid.SampledFrom([]int{1, 5000, 1 << 20}).Draw(rt, "maxBytes"))
			if err != nil || after >= upto {
				rt.Fatalf("backward from %d: then from %d, %v", upto, after, err)
			}
			for _, l := range page {
				got = append(got, l.Seq)
			}
			upto = after
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("backward there are %d, not %d", got, want)
		}
		if _, err := s.NewestBefore(room+1, time.Now()); !errors.Is(err, ErrNoRoom) {
			rt.Fatalf("in a room that does not exist: %v", err)
		}
	})
}

// A long room is not read as a whole.
func TestNewestBeforeReadsLittle(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("lobby", 9000)
	lines := make([]Line, 300_000)
	for i := range lines {
		lines[i] = Line{Seq: uint64(i + 1), Time: time.UnixMicro(int64(i) * 1000).UTC(), Kind: Message, From: "ann", Text: "one of very many lines"}
	}
	if _, err := s.importBatch(room, lines, 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	const searches = 1000
	for i := range searches {
		n := i * len(lines) / searches
		if got, err := s.NewestBefore(room, time.UnixMicro(int64(n)*1000+1)); got != uint64(n+1) || err != nil {
			t.Fatalf("%d, %v; want %d", got, err, n+1)
		}
	}
	if took := time.Since(began); took > searches*5*time.Millisecond {
		t.Errorf("%d searches took %v", searches, took)
	} else {
		t.Logf("%v a search", took/searches)
	}
}
