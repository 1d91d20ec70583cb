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
	"syscall"
	"testing"
	"testing/synctest"

	"roomd/store/disk"
	"roomd/store/wal"
)

// names are the files of a folder.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.Symlink(to, at)); err != nil {
		t.Fatal(err)
	}
}

// linked is a database that a chain of links leads to, absolute and relative,
// through a folder that is a link itself, to a file that may be there or not.
func linked(t *testing.T) (at, real string) {
	dir := t.TempDir()
	real = filepath.Join(dir, "disk", "deep", "real.db")
	if err := os.MkdirAll(filepath.Dir(real), 0o700); err != nil {
		t.Fatal(err)
	}
	at = filepath.Join(dir, "etc", "roomd.db")
	link(t, filepath.Join(dir, "srv", "second.db"), at)
	if err := os.MkdirAll(filepath.Join(dir, "disk", "other"), 0o700); err != nil {
		t.Fatal(err)
	}
	link(t, "disk/other", filepath.Join(dir, "srv"))
	link(t, "../deep/real.db", filepath.Join(dir, "disk", "other", "second.db"))
	return at, real
}

// Everything lies beside the real file, whichever way it is reached, and a link
// stays one.
func TestLinkToTheDatabase(t *testing.T) {
	at, real := linked(t)
	stays := func(when string, want ...string) {
		t.Helper()
		if to, err := os.Readlink(at); err != nil || filepath.Base(to) != "second.db" {
			t.Errorf("%s: the link is %q, %v", when, to, err)
		}
		got := names(t, filepath.Dir(real))
		for i := range got {
			if strings.HasPrefix(got[i], "real.db.before-") {
				got[i] = "real.db.before" + strings.TrimLeft(got[i][len("real.db.before-"):], "0123456789-")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the folder has %q, want %q", when, got, want)
		}
		if got := names(t, filepath.Dir(at)); len(got) != 1 {
			t.Errorf("%s: beside the link is %q", when, got)
		}
		if got := names(t, filepath.Join(filepath.Dir(real), "..", "other")); len(got) != 1 {
			t.Errorf("%s: beside the second link is %q", when, got)
		}
	}
	s := open(t, at, Options{}) // the links lead to nothing yet
	room := s.room("lobby", 9000)
	stays("a new database", "real.db", "real.db.journal")
	var inUse *InUseError
	if _, err := Open(real, Options{}); !errors.As(err, &inUse) {
		t.Errorf("the same database by its own name: %v", err)
	}
	s.say(room, "one")
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := s.Backup(t.Context(), backup, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	// The process dies, and the next one goes by the real name.
	if s, err := Open((&tap{t: t, path: real}).crashed(), Options{}); err != nil {
		t.Error(err)
	} else if lines, err := readAll(s, room); err != nil || len(lines) != 1 || s.Close() != nil {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	s.stop()
	if _, _, err := Compact(at, Options{}); err != nil {
		t.Error(err)
	}
	stays("compacted", "real.db")
	if _, err := RestoreFile(t.Context(), backup, at, true, nil); err != nil {
		t.Error(err)
	}
	stays("restored", "real.db", "real.db.before")
	if info, problems, err := Inspect(at, true); err != nil || len(problems) > 0 || info.Lines != 1 {
		t.Errorf("%+v %v %v", info, problems, err)
	}
	s.start()
	if s.say(room, "two"); len(s.all(room)) != 2 {
		t.Errorf("%+v", s.all(room))
	}
}

func TestLinkToAnOlderDatabase(t *testing.T) {
	real := old(t, 1)
	at := filepath.Join(t.TempDir(), "roomd.db")
	link(t, real, at)
	open(t, at, Options{}).stop()
	if got := names(t, filepath.Dir(at)); !slices.Equal(got, []string{"roomd.db"}) {
		t.Errorf("beside the link: %q", got)
	}
	if got := names(t, filepath.Dir(real)); !slices.Equal(got, []string{"roomd.db", "roomd.db.schema1"}) {
		t.Errorf("beside the file: %q", got)
	}
	if st, err := os.Lstat(at); err != nil || st.Mode().Type() != fs.ModeSymlink {
		t.Error("the link is none any more", err)
	}
}

func TestLinkToNothing(t *testing.T) {
	dir := t.TempDir()
	link(t, "loop", filepath.Join(dir, "loop"))
	if _, err := Open(filepath.Join(dir, "loop"), Options{}); !errors.Is(err, syscall.ELOOP) {
		t.Error(err)
	}
	link(t, "not/there.db", filepath.Join(dir, "gone"))
	if _, err := Open(filepath.Join(dir, "gone"), Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(dir, "gone")) {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

// What root does leaves the files with the owner and the mode that they have.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	const uid, gid = 4321, 4322
	is := func(path string, mode fs.FileMode) {
		t.Helper()
		st, err := os.Stat(path)
		if err != nil {
			t.Error(err)
			return
		}
		if own := st.Sys().(*syscall.Stat_t); own.Uid != uid || own.Gid != gid || st.Mode() != mode {
			t.Errorf("%s is %d:%d %v", path, own.Uid, own.Gid, st.Mode())
		}
	}
	give := func(path string, mode fs.FileMode) {
		t.Helper()
		if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	path := dbPath(t)
	give(filepath.Dir(path), 0o750)
	s := open(t, path, Options{}) // in the folder of somebody
	is(path, 0o600)
	is(wal.Path(path), 0o600)
	room := s.room("lobby", 9000)
	s.say(room, "one")
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := s.Backup(t.Context(), backup, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	s.stop()
	give(path, 0o640)
	if _, _, err := Compact(path, Options{}); err != nil {
		t.Error(err)
	}
	is(path, 0o640)
	kept, err := RestoreFile(t.Context(), backup, path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	is(path, 0o640)
	is(kept, 0o640)
	if _, err := RestoreFile(t.Context(), backup, path+".second", false, nil); err != nil {
		t.Error(err)
	}
	is(path+".second", 0o600)
	s.start()
	is(wal.Path(path), 0o640)
	older := old(t, 1)
	give(older, 0o644)
	open(t, older, Options{}).stop()
	is(older, 0o644)
	is(older+".schema1", 0o644)

	// The owner of a folder in which everybody may write does not matter.
	dir := t.TempDir()
	give(dir, 0o777|fs.ModeSticky)
	open(t, filepath.Join(dir, "roomd.db"), Options{}).stop()
	if st, err := os.Stat(filepath.Join(dir, "roomd.db")); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error(st, err)
	}
}

// What a process that was killed has left is removed at the next start, and
// nothing else.
func TestStaleTempFiles(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	s.room("lobby", 9000)
	s.stop()
	database, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(suffix string, b []byte) string {
		t.Helper()
		if err := os.WriteFile(s.path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return s.path + suffix
	}
	ours := []string{put(".new-1.tmp", database[:8192]), put(".new-1234567890.tmp", nil), put(".new-2.tmp", make([]byte, 8192)), put(".part-3.tmp", database)}
	others := []string{
		put(".new", database), put(".new1", database), put(".new-1", database), put(".new-1.tmp.gz", database), put(".part-x.tmp", database),
		put(".new-4.tmp", []byte("somebody's text")), put("x.new-1.tmp", database), put(".before-20261129-120000", database),
	}
	busy, err := disk.CreateTemp(s.path, disk.ForDatabase)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	others = append(others, busy.Name())
	link(t, others[0], s.path+".new-5.tmp")
	if err := os.Mkdir(s.path+".new-6.tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(s.path+".new-7.tmp", 0o600); err != nil {
		t.Fatal(err)
	}
	others = append(others, s.path+".new-5.tmp", s.path+".new-6.tmp", s.path+".new-7.tmp")
	slices.Sort(ours)
	if got := StaleTempFiles(s.path); !slices.Equal(got, ours) {
		t.Errorf("stale files: %q, want %q", got, ours)
	}
	s.start()
	for _, name := range ours {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there still: %v", name, err)
		}
	}
	if len(s.Warnings()) != len(ours) || !strings.Contains(s.Warnings()[0], ours[0]) {
		t.Errorf("%q", s.Warnings())
	}
	for _, name := range others {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
}

// What is ended in the middle leaves everything as it was, and nothing behind.
func TestInterrupted(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	room := s.room("lobby", 9000)
	for range 50 {
		s.say(room, strings.Repeat("x", 1000))
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := s.Backup(t.Context(), backup, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	s.stop()
	older := old(t, 1)
	why := errors.New("somebody pressed Ctrl-C")
	for what, do := range map[string]func(context.Context, Progress) (string, error){
		"compact": func(ctx context.Context, p Progress) (string, error) {
			_, _, err := Compact(s.path, Options{Context: ctx, Progress: p})
			return s.path, err
		},
		"restore": func(ctx context.Context, p Progress) (string, error) {
			_, err := RestoreFile(ctx, backup, s.path, true, p)
			return s.path, err
		},
		"migrate": func(ctx context.Context, p Progress) (string, error) {
			_, err := Open(older, Options{Context: ctx, Progress: p})
			return older, err
		},
		"backup": func(ctx context.Context, p Progress) (string, error) {
			_, err := WriteBackup(ctx, backup, 3, func(w io.Writer) error {
				p(0, 0)
				_, err := w.Write(make([]byte, 4096))
				return errors.Join(err, context.Cause(ctx))
			})
			return backup, err
		},
		"check": func(ctx context.Context, p Progress) (string, error) {
			_, err := WriteBackup(ctx, backup, 3, func(w io.Writer) error {
				b, err := os.ReadFile(backup)
				if err == nil {
					_, err = w.Write(b)
				}
				p(0, 0)
				return err
			})
			return backup, err
		},
	} {
		dir := map[bool]string{true: filepath.Dir(older), false: filepath.Dir(s.path)}[what == "migrate"]
		if what == "backup" || what == "check" {
			dir = filepath.Dir(backup)
		}
		before := names(t, dir)
		ctx, cancel := context.WithCancelCause(t.Context())
		path, err := do(ctx, func(int64, int64) { cancel(why) })
		cancel(nil)
		if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
		if got := names(t, dir); !slices.Equal(got, before) {
			t.Errorf("%s: %q, and before %q", what, got, before)
		}
		if _, problems, err := Inspect(path, true); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", what, problems, err)
		}
	}
}

// settled is a context that is asked whether it is done only after all other
// goroutines have gone as far as they can.
type settled struct{ context.Context }

func (s settled) Done() <-chan struct{} {
	synctest.Wait()
	return s.Context.Done()
}

// A backup never takes the place of what is no file.
func TestBackupOntoNoFile(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	s.room("lobby", 9000)
	dir := t.TempDir()
	fifo, sub := filepath.Join(dir, "fifo"), filepath.Join(dir, "sub")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Mkdir(sub, 0o700)); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	for _, path := range []string{fifo, sub} {
		for _, keep := range []int{0, 1, 3} {
			if _, err := s.Backup(t.Context(), path, keep, 0, nil); err == nil {
				t.Errorf("%s, keep %d: done", path, keep)
			}
		}
	}
	if got := names(t, dir); !slices.Equal(got, before) {
		t.Errorf("%q, and before %q", got, before)
	}
	if st, err := os.Lstat(fifo); err != nil || st.Mode().Type() != fs.ModeNamedPipe {
		t.Error(st, err)
	}
}

// A context that is done wins over the end of a check, whichever came first.
func TestRunUntilDone(t *testing.T) {
	why, bad := errors.New("somebody pressed Ctrl-C"), errors.New("the file is corrupt")
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			for _, result := range []error{nil, bad} {
				done, cancel := context.WithCancelCause(t.Context())
				ctx := settled{done}
				if err := runUntilDone(ctx, func() error { return result }); err != result {
					t.Fatalf("%v, want %v", err, result)
				}
				if err := runUntilDone(ctx, func() error { cancel(why); return result }); err != why {
					t.Fatalf("done at the end of the check: %v", err)
				}
				begun := false
				if err := runUntilDone(ctx, func() error { begun = true; return result }); err != why || begun {
					t.Fatalf("done before the check: %v, begun: %v", err, begun)
				}
			}
		})
	}
}

// A database is told from what is to be written whatever its name.
func TestFirstProtected(t *testing.T) {
	at, real := linked(t)
	s := open(t, at, Options{})
	s.room("lobby", 9000)
	hard := filepath.Join(filepath.Dir(real), "hard.db")
	if err := os.Link(real, hard); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		at: real, real: real, hard: real, wal.Path(real): wal.Path(real), real + ".other": "",
		filepath.Dir(at) + "/../srv/../deep/real.db": real,
	} {
		paths := []string{}
		if p, err := disk.RealPath(path); err == nil {
			paths = append(paths, p)
		}
		if got := disk.FirstProtected(Files(at), paths, nil); got != want && path != hard {
			t.Errorf("%s by its path: %q", path, got)
		}
		if got := disk.FirstProtected(Files(at), nil, []string{disk.FileID(path)}); got != want {
			t.Errorf("%s by its identity: %q", path, got)
		}
	}
	if _, err := RestoreFile(t.Context(), hard, at, true, nil); !errors.Is(err, errItself) {
		t.Error(err)
	}
	if err := os.Remove(hard); err != nil {
		t.Error(err)
	}
}

// Root is not led away by a link in the folder of somebody else.
func TestLinkOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root follows what it may not trust")
	}
	const uid = 4321
	dir := t.TempDir()
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dbPath(t), Options{})
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := s.Backup(t.Context(), backup, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"file": precious, "nothing": precious + ".new"} {
		at := filepath.Join(dir, name)
		link(t, to, at)
		if err := os.Lchown(at, uid, uid); err != nil {
			t.Fatal(err)
		}
		if _, err := RestoreFile(t.Context(), backup, at, true, nil); err == nil {
			t.Errorf("%s: restored", name)
		}
		if _, err := Open(at, Options{}); err == nil {
			t.Errorf("%s: opened", name)
		}
		if _, err := WriteBackup(t.Context(), at, 1, func(io.Writer) error { return nil }); err == nil {
			t.Errorf("%s: backed up", name)
		}
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "root's" {
		t.Errorf("%q %v", text, err)
	}
	if got := names(t, filepath.Dir(precious)); len(got) != 1 {
		t.Errorf("%q", got)
	}
	// What is theirs they may link to.
	theirs := filepath.Join(dir, "theirs.db")
	if err := errors.Join(os.WriteFile(theirs, nil, 0o600), os.Chown(theirs, uid, uid)); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "link")
	link(t, theirs, at)
	if err := os.Lchown(at, uid, uid); err != nil {
		t.Fatal(err)
	}
	if got, err := disk.Resolve(at); err != nil || got != theirs {
		t.Error(got, err)
	}
}
