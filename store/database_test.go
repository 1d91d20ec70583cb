package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// sample makes a file with some rooms and lines and returns its path.
func sample(t *testing.T) string {
	t.Helper()
	s := open(t, dbPath(t), Options{})
	for i := range 5 {
		room := s.room(fmt.Sprint("room", i), 9000+i)
		for range 20 {
			if p := s.say(room, strings.Repeat("hello ", 50)); p.Err != nil {
				t.Fatal(p.Err)
			}
		}
	}
	s.stop()
	return s.path
}

// refused opens a file that must be refused with an error that is want, and be left
// as it was.
func refused(t *testing.T, path string, want error) {
	t.Helper()
	before := sum(t, path)
	s, err := Open(path, Options{LockTimeout: 10 * time.Millisecond, Durability: Relaxed})
	if err == nil {
		s.Close()
		t.Fatalf("%s was opened", path)
	}
	t.Log(err)
	if !errors.Is(err, want) {
		t.Errorf("error %q, want %q", err, want)
	}
	if sum(t, path) != before {
		t.Errorf("the refused file was changed")
	}
}

func sum(t *testing.T, path string) (h [32]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := sha256.New()
	if _, err := io.Copy(w, f); err != nil {
		t.Fatal(err)
	}
	return [32]byte(w.Sum(nil))
}

func TestOpenNewerSchema(t *testing.T) {
	path := sample(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(v uint64) {
		if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, u64(v)) }); err != nil {
			t.Fatal(err)
		}
	}
	put(Schema + 1)
	db.Close()
	refused(t, path, errNewerSchema)
}

func TestOpenForeignFiles(t *testing.T) {
	random := make([]byte, 1<<16)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for name, content := range map[string][]byte{
		"empty":  nil,
		"byte":   {0},
		"text":   []byte("not a database\n"),
		"zeros":  make([]byte, 1<<16),
		"random": random,
		"long":   bytes.Repeat([]byte("not a database\n"), 10000),
	} {
		t.Run(name, func(t *testing.T) {
			path := dbPath(t)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, errNotDatabase)
		})
	}
	t.Run("another bbolt", func(t *testing.T) {
		path := dbPath(t)
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
		refused(t, path, errNotDatabase)
	})
	t.Run("named pipe", func(t *testing.T) {
		path := dbPath(t)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, Options{}); !errors.Is(err, errNotFile) {
			t.Error(err)
		}
		if _, err := openToCheck(path); !errors.Is(err, errNotFile) {
			t.Error(err)
		}
	})
	t.Run("folder", func(t *testing.T) {
		if s, err := Open(t.TempDir(), Options{}); err == nil {
			s.Close()
			t.Error("a folder was opened")
		}
	})
}

func TestOpenTruncated(t *testing.T) {
	path := sample(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := 0 // bbolt keeps the file longer than what it uses
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	db.View(func(tx *bolt.Tx) error { used = int(tx.Size()); return nil })
	db.Close()
	for _, n := range []int{0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 16384, used / 2, used - 4096, used - 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			path := dbPath(t)
			if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, errCorruptFile)
			// It is not locked either.
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			open(t, path, Options{})
		})
	}
	// What bbolt has in reserve may go.
	if err := os.WriteFile(path, whole[:used], 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, Options{})
	if n := len(s.all(1)); n != 20 {
		t.Errorf("%d lines", n)
	}
}

// Valid meta pages, and something else where they lead to.
func TestOpenOverwritten(t *testing.T) {
	path := sample(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, fill := range map[string]func(i int) byte{
		"zeros":  func(int) byte { return 0 },
		"ones":   func(int) byte { return 0xff },
		"text":   func(i int) byte { return "overwritten "[i%12] },
		"random": func(int) byte { return byte(rand.Uint32()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(whole)
			for i := 8192; i < min(len(b), 1<<18); i++ {
				b[i] = fill(i)
			}
			path := dbPath(t)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, errCorruptFile)
		})
	}
}

func TestOpenLocked(t *testing.T) {
	path := sample(t)
	cmd, out, in := startChild(t, "hold", path)
	if line, err := out.ReadString('\n'); err != nil {
		t.Fatalf("%q %v", line, err)
	}
	_, err := Open(path, Options{LockTimeout: 20 * time.Millisecond})
	var used *InUseError
	if want := fmt.Sprintf("process %d (", cmd.Process.Pid); !errors.As(err, &used) || !strings.HasPrefix(used.Holder, want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	open(t, path, Options{})
}

func TestOpenFirstInParallel(t *testing.T) {
	path := dbPath(t)
	const n = 8
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s, err := Open(path, Options{LockTimeout: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			s.Start(Follower{})
			name := fmt.Sprint("room", i)
			if _, err := s.Create(Room{Name: name, Key: name, Port: 9000 + i}); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	left, err := filepath.Glob(path + "?*")
	if err != nil || len(left) > 0 {
		t.Errorf("stale files: %v %v", left, err)
	}
	s := open(t, path, Options{})
	rooms, err := s.Rooms()
	if err != nil || len(rooms) != n {
		t.Errorf("%d rooms of %d: %v", len(rooms), n, err)
	}
}

func TestOpenBesideStaleTempFiles(t *testing.T) {
	path := dbPath(t)
	for i := range 3 {
		if err := os.WriteFile(fmt.Sprint(path, ".new", i), []byte("half a database"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, path, Options{})
	s.room("lobby", 9000)
	s.reopen()
	if rooms, err := s.Rooms(); err != nil || len(rooms) != 1 {
		t.Errorf("%v %v", rooms, err)
	}
}
