package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Between Suspend and Resume another process has the file; lines and reads
// wait, and then go on where they were.
func TestSuspend(t *testing.T) {
	for _, d := range []Durability{Commit, Relaxed} {
		path := filepath.Join(t.TempDir(), "db")
		s := open(t, path, Options{Durability: d, FlushInterval: time.Hour})
		r, err := s.Create(Room{Name: "a", Key: "a", Port: 9000})
		if err != nil {
			t.Fatal(err)
		}
		say := func(text string) chan *Post {
			c := make(chan *Post, 1)
			if err := s.Submit(t.Context(), &Post{Room: r.ID, Line: Line{Kind: Message, From: "ann", Text: text}, Owner: c}); err != nil {
				t.Fatal(err)
			}
			return c
		}
		say("before")
		if err := s.Suspend(); err != nil {
			t.Fatal(err)
		}
		if err := s.Suspend(); !errors.Is(err, errSuspended) {
			t.Error("a second time:", err)
		}
		if err := s.Health(t.Context()); err != nil {
			t.Error(err)
		}
		during := say("during")
		read := make(chan error, 1)
		go func() { _, err := s.Rooms(); read <- err }()

		other, err := Open(path, Options{Durability: d})
		if err != nil {
			t.Fatal("the file is not free:", err)
		}
		lines, err := other.Lines(r.ID, 0, 10, 1000)
		if err != nil || len(lines) != 1 || lines[0].Text != "before" {
			t.Error(err, lines)
		}
		s.opts.LockTimeout = 10 * time.Millisecond
		if err := s.Resume(); err == nil {
			t.Fatal("resumed while another has the file")
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		s.opts.LockTimeout = 10 * time.Second
		select {
		case p := <-during:
			t.Fatal("a line went through", p)
		case err := <-read:
			t.Fatal("a read went through", err)
		default:
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		if p := <-during; p.Err != nil || p.Line.Seq != 2 {
			t.Errorf("%+v", p)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		if err := s.Flush(); err != nil {
			t.Error(err)
		}
	}
}

// A suspended store that is closed leaves the file, and its callers, alone.
func TestCloseSuspended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Start(Follower{Lines: func([]*Post) { t.Error("a line was delivered") }})
	if err := s.Suspend(); err != nil {
		t.Fatal(err)
	}
	if err := s.Submit(context.Background(), &Post{Room: 1}); err != nil {
		t.Fatal(err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- s.Flush() }()
	for queued := 0; queued < 2; {
		s.queue.mu.Lock()
		queued = len(s.queue.items)
		s.queue.mu.Unlock()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-flushed; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Rooms(); !errors.Is(err, ErrClosed) {
		t.Error("a closed file was read:", err)
	}
}

// A read-only store is not handed to anybody: the new process would not know.
func TestSuspendReadOnly(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	s.health.setReason(ErrReadOnly)
	if err := s.Suspend(); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	s.health.setReason(nil)
}

// Retention changes while the store is open: what is too much then goes.
func TestSetRetention(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"), Options{})
	r, err := s.Create(Room{Name: "a", Key: "a", Port: 9000})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := s.Submit(t.Context(), &Post{Room: r.ID, Line: Line{Kind: Message, From: "ann", Text: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	s.SetRetention(Retention{Lines: 100, Trash: time.Hour})
	if err := s.applyRetentionAt(time.Now()); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); ; {
		st, err := s.Stat(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st.Lines == 100 && st.Removed == 900 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%+v", st)
		}
		if err := s.Flush(); err != nil { // a turn of the committer
			t.Fatal(err)
		}
	}
}

// Health tells a committer that is stuck from one that is not.
func TestHealth(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(dir, "db"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		block := make(chan struct{})
		s.Start(Follower{Lines: func([]*Post) { <-block }})
		if err := s.Health(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Submit(t.Context(), &Post{Room: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Health(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("stuck, and well:", err)
		}
		close(block)
		if err := s.Health(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Calls on a store that is closed while another process has the file fail, those
// that wait already and those that come.
func TestCallsOnTheSuspended(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Start(Follower{})
	r, err := s.Create(Room{Name: "a", Key: "a", Port: 9000})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Suspend(); err != nil {
		t.Fatal(err)
	}
	calls := map[string]func() error{
		"Rooms": func() error { _, err := s.Rooms(); return err }, "Lines": func() error { _, err := s.Lines(r.ID, 0, 9, 99); return err },
		"Flush": s.Flush, "Checkpoint": s.Checkpoint, "Delete": func() error { return s.Delete(r.ID, "") }, "Size": func() error { _, _, err := s.Size(); return err },
		"ReleasedPorts": func() error { _, err := s.ReleasedPorts(); return err },
	}
	type result struct {
		name string
		err  error
	}
	waiting := make(chan result, len(calls))
	for name, call := range calls {
		go func() { waiting <- result{name, call()} }()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range calls {
		if got := <-waiting; got.err == nil {
			t.Errorf("%s succeeds while another process has the file", got.name)
		}
	}
	for name, call := range calls {
		if call() == nil {
			t.Errorf("%s succeeds after the end", name)
		}
	}
	s.file.mu.Lock()
	s.file.db = nil // as after a failed write, when the file could not be opened again
	s.file.mu.Unlock()
	if calls["Size"]() == nil {
		t.Error("a database that is not open has a size")
	}
}

// The file that is open stays open once its path leads to another one, or to
// none: the lines would be lost with it.
func TestSuspendOutOfPlace(t *testing.T) {
	for how, replace := range map[string]func(path string) error{
		"removed":            os.Remove,
		"moved":              func(path string) error { return os.Rename(path, path+".old") },
		"replaced":           func(path string) error { return os.Rename(path+".copy", path) },
		"replaced by a link": func(path string) error { return errors.Join(os.Remove(path), os.Symlink("db.copy", path)) },
		"moved behind a link": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.Symlink("db.old", path))
		},
	} {
		t.Run(how, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			s := open(t, path, Options{})
			r, err := s.Create(Room{Name: "a", Key: "a", Port: 9000})
			if err != nil {
				t.Fatal(err)
			}
			other, err := Open(path+".copy", Options{})
			if err != nil || other.Close() != nil {
				t.Fatal(err)
			}
			if err := s.VerifyPath(); err != nil {
				t.Error("before:", err)
			}
			if err := os.Link(path, path+".kept"); err != nil {
				t.Fatal(err)
			}
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
			if s.VerifyPath() == nil {
				t.Error("nothing is wrong with it")
			}
			if s.Suspend() == nil {
				t.Fatal("the file was closed")
			}
			if err := s.Submit(t.Context(), &Post{Room: r.ID, Line: Line{Kind: Message, From: "ann", Text: "hi"}, Owner: make(chan *Post, 1)}); err != nil {
				t.Fatal(err)
			}
			if lines, err := s.Lines(r.ID, 0, 10, 1000); err != nil || s.Flush() != nil {
				t.Error(err, lines)
			}
			if lines, err := s.Lines(r.ID, 0, 10, 1000); err != nil || len(lines) != 1 {
				t.Error(err, lines)
			}
			// Put back, it is closed.
			if err := os.Rename(path+".kept", path); err != nil {
				t.Fatal(err)
			}
			if how == "moved" || how == "moved behind a link" {
				os.Remove(path) // rename(2) does nothing between two names of one file
				if err := os.Rename(path+".old", path); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.VerifyPath(), s.Suspend()); err != nil {
				t.Error("put back:", err)
			} else if err := s.Resume(); err != nil {
				t.Error(err)
			}
		})
	}
}
