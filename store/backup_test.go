package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Backup is a backup as a client makes it.
func (tp *tap) Backup(ctx context.Context, path string, keep int, rate int64, progress func(done, total int64)) (int64, error) {
	return WriteBackup(ctx, path, keep, func(w io.Writer) error {
		_, err := tp.Snapshot(ctx, w, rate, progress)
		return err
	})
}

// A backup under load is everything up to some line of each room, with nothing
// missing; it has no WAL, and a mode of its own.
func TestBackup(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d})
		rooms := []uint64{s.room("lobby", 9000), s.room("dev", 9001)}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, room := range rooms {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						s.say(room, strings.Repeat("x", i%500))
					}
				}
			})
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "backup.db")
		said := make(map[uint64]uint64)
		for n := range 3 {
			for _, room := range rooms {
				st, err := s.Stat(room)
				if err != nil {
					t.Error(err)
				}
				said[room] = st.Last
			}
			progress := 0
			size, err := s.Backup(t.Context(), path, 2, 0, func(done, total int64) {
				if progress++; done > total {
					t.Errorf("%d of %d", done, total)
				}
			})
			if err != nil || size == 0 {
				t.Errorf("backup %d: %d bytes, %v", n, size, err)
			}
		}
		if _, err := s.Backup(t.Context(), path, 0, 0, nil); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		close(stop)
		wg.Wait()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || !slices.Equal(files, []string{path, path + ".1"}) {
			t.Errorf("%v %v", files, err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
			t.Errorf("%v %v", st, err)
		}
		if _, problems, err := Inspect(path, true); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		b, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for _, room := range rooms {
			whole := s.all(room)
			lines, err := readAll(b, room)
			if err != nil || len(lines) > len(whole) || !slices.Equal(lines, whole[:len(lines)]) || lines[len(lines)-1].Seq < said[room] {
				t.Errorf("room %d: %d lines of %d, %d were said before the backup; %v", room, len(lines), len(whole), said[room], err)
			}
		}
		if len(b.Warnings()) > 0 {
			t.Error(b.Warnings())
		}
	})
}

// A slow backup ends when the store closes, or when who wanted it gives up, and
// leaves no file.
func TestBackupEnds(t *testing.T) {
	for _, how := range []string{"close", "suspend", "cancel"} {
		s := open(t, dbPath(t), Options{})
		room := s.room("lobby", 9000)
		for range 100 {
			s.say(room, strings.Repeat("x", 1000))
		}
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		begun, ended := make(chan struct{}), make(chan error)
		var once sync.Once
		go func() {
			_, err := s.Backup(ctx, filepath.Join(dir, "b"), 0, 1, func(int64, int64) { once.Do(func() { close(begun) }) })
			ended <- err
		}()
		<-begun
		s.say(room, "beside it")
		switch how {
		case "close":
			s.reopen()
		case "suspend":
			if err := errors.Join(s.Suspend(), s.Resume()); err != nil {
				t.Error(err)
			}
		case "cancel":
			cancel()
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: the backup went on", how)
		}
		cancel()
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: stale files: %v %v", how, left, err)
		}
	}
}

func TestRestoreFile(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("lobby", 9000)
	s.say(room, "one")
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := s.Backup(t.Context(), backup, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	s.say(room, "two")
	var inUse *InUseError
	if _, err := RestoreFile(t.Context(), backup, s.path, true, nil); !errors.As(err, &inUse) {
		t.Error("a database in use:", err)
	}
	path := s.crashed() // its WAL must not be read
	if _, err := RestoreFile(t.Context(), backup, path, false, nil); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	copied, whole := int64(0), int64(0)
	kept, err := RestoreFile(t.Context(), backup, path, true, func(done, total int64) { copied, whole = done, total })
	if copied == 0 || copied != whole {
		t.Errorf("%d of %d bytes are said to be copied", copied, whole)
	}
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int{path: 1, kept: 2} {
		st, err := Open(file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if lines, err := readAll(st, room); err != nil || len(lines) != want || len(st.Warnings()) > 0 {
			t.Errorf("%s: %d lines, want %d; %v %q", file, len(lines), want, err, st.Warnings())
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(backup, []byte("not a backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := sum(t, path)
	if _, err := RestoreFile(t.Context(), backup, path, true, nil); err == nil || sum(t, path) != before {
		t.Error("a bad backup:", err)
	}
	if left, err := filepath.Glob(path + ".new*"); err != nil || len(left) > 0 {
		t.Error("stale files:", left, err)
	}
}

// What is gone is gone from the disk after a compaction.
func TestCompact(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Lines: 50, Trash: time.Hour}})
	room, old := s.room("lobby", 9000), s.room("old", 9001)
	for text, room := range map[string]uint64{"a secret that is not kept": room, "a secret that is thrown away": old} {
		for range 2000 {
			if err := s.Submit(t.Context(), &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: text + strings.Repeat("x", 200)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 200 {
		s.say(room, "no matter")
	}
	if err := errors.Join(s.Delete(old), s.Purge(old)); err != nil {
		t.Fatal(err)
	}
	s.settled()
	whole := s.all(room)
	path := s.crashed()
	told, back := int64(0), false
	s.opts.Progress = func(done, total int64) { told, back = done, back || done < told || done > total }
	before, after, err := Compact(path, s.opts)
	if told == 0 || back {
		t.Errorf("%d bytes are said to be done, in order: %v", told, !back)
	}
	if err != nil || after >= before/2 {
		t.Errorf("%d bytes became %d, %v", before, after, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "secret") {
		t.Error("what retention and a purge have removed is in the file still")
	}
	if files, err := filepath.Glob(path + "*"); err != nil || len(files) != 1 {
		t.Error("stale files:", files, err)
	}
	c := open(t, path, s.opts)
	if lines := c.all(room); len(lines) < 50 || !slices.Equal(lines, whole[len(whole)-len(lines):]) {
		t.Errorf("%d lines, were %d", len(lines), len(whole))
	}
	if p := c.say(room, "next"); p.Line.Seq != whole[len(whole)-1].Seq+1 {
		t.Errorf("%+v", p)
	}
	if _, _, err := Compact(path, s.opts); err == nil {
		t.Error("a database in use was compacted")
	}
	if _, _, err := Compact(path+".not", s.opts); err == nil {
		t.Error("a database that is not there was compacted")
	}
}

// A file that is mostly free is compacted at start, whatever crashed before.
func TestCompactAtStart(t *testing.T) {
	s := open(t, dbPath(t), Options{CompactAbove: 1 << 20})
	lobby, old := s.room("lobby", 9000), s.room("old", 9001)
	s.say(lobby, "stays")
	for range 3000 {
		if err := s.Submit(t.Context(), &Post{Room: old, Line: Line{Kind: Message, Text: strings.Repeat("x", 1000)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Delete(old), s.applyRetentionAt(time.Now())); err != nil {
		t.Fatal(err)
	}
	s.settled()
	s.say(lobby, "in the WAL")
	c := open(t, s.crashed(), s.opts)
	if w := c.Warnings(); len(w) != 1 {
		t.Errorf("%q", w)
	}
	if file, _, err := c.Size(); err != nil || file > 1<<20 {
		t.Errorf("%d bytes, %v", file, err)
	}
	if lines := c.all(lobby); len(lines) != 2 {
		t.Errorf("%+v", lines)
	}
	c.reopen()
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("again: %q", w)
	}
}
