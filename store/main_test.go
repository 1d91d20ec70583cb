package store

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"roomd/store/block"
	"roomd/store/wal"
)

// Tests that kill a process re-execute this binary: with childEnv set it is not
// a test but the server that is going to be killed.
const (
	childEnv = "ROOMD_STORE_CHILD" // what the child does
	pathEnv  = "ROOMD_STORE_PATH"  // on which file
)

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		if err := child(what, os.Getenv(pathEnv)); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// A check of the model costs some hundred fsyncs; more with -rapid.checks.
	if err := flag.Set("rapid.checks", "12"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// childEnviron spares children the second that -race sleeps at the end.
func childEnviron() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// startChild runs this binary as what. It is killed when the test ends, if it
// has not been before.
func startChild(t *testing.T, what, path string) (cmd *exec.Cmd, out *bufio.Reader, in io.Closer) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(childEnviron(), childEnv+"="+what, pathEnv+"="+path)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd, bufio.NewReader(stdout), stdin
}

func child(what, path string) error {
	if only, ok := strings.CutPrefix(what, "doubt"); ok {
		only, recovers := strings.CutSuffix(only, " recovers")
		return doubting(path, recovers, strings.TrimPrefix(only, " "))
	}
	switch what {
	case "hold":
		s, err := Open(path, Options{})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
		return s.Close()
	case "power":
		return powerChild(path, Options{})
	case "power relaxed":
		return powerChild(path, Options{Durability: Relaxed, FlushInterval: crashInterval})
	case "flaky":
		return flaky(path)
	case "commit":
		return appendUntilKilled(path, Options{})
	case "positions", "positions relaxed":
		return positionsUntilKilled(path, what == "positions relaxed")
	case "relaxed":
		return appendUntilKilled(path, Options{Durability: Relaxed, FlushInterval: crashInterval})
	}
	return fmt.Errorf("what is %q?", what)
}

// tap is a deliver function's memory, and the store under it.
type tap struct {
	*Store
	t    testing.TB
	path string
	opts Options

	mu    sync.Mutex
	posts []*Post
	calls int
}

// deliver keeps the posts, and gives those with a channel as owner back to it.
func (tp *tap) deliver(posts []*Post) {
	tp.mu.Lock()
	tp.posts = append(tp.posts, posts...)
	tp.calls++
	tp.mu.Unlock()
	for _, p := range posts {
		if c, ok := p.Owner.(chan *Post); ok {
			c <- p
		}
	}
}

func (tp *tap) seen() []*Post {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return append([]*Post(nil), tp.posts...)
}

// open opens and starts a store, and checks and closes it when the test ends.
func open(t testing.TB, path string, opts Options) *tap {
	t.Helper()
	tp := &tap{t: t, path: path, opts: opts}
	tp.start()
	t.Cleanup(func() {
		if tp.Store != nil {
			tp.stop()
		}
	})
	return tp
}

func (tp *tap) start() {
	tp.t.Helper()
	s, err := Open(tp.path, tp.opts)
	if err != nil {
		tp.t.Fatal(err)
	}
	tp.Store = s
	s.Start(Follower{Lines: tp.deliver})
}

// stop ends the store as every test does: with a check of the whole file.
func (tp *tap) stop() {
	tp.t.Helper()
	if err := tp.Check(); err != nil {
		tp.t.Errorf("check: %v", err)
	}
	if err := tp.Close(); err != nil {
		tp.t.Errorf("close: %v", err)
	}
	tp.Store = nil
}

func (tp *tap) reopen() {
	tp.t.Helper()
	tp.stop()
	tp.start()
}

// room creates one.
func (tp *tap) room(name string, port int) uint64 {
	tp.t.Helper()
	r, err := tp.Create(Room{Name: name, Key: name, Port: port})
	if err != nil {
		tp.t.Fatal(err)
	}
	return r.ID
}

// say submits a line and waits until it is delivered.
func (tp *tap) say(room uint64, text string) *Post {
	tp.t.Helper()
	back := make(chan *Post, 1)
	p := &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: text}, Owner: back}
	if err := tp.Submit(context.Background(), p); err != nil {
		tp.t.Fatal(err)
	}
	return <-back
}

// Delete deletes a room that nobody reads.
func (tp *tap) Delete(room uint64, audit ...Audit) error {
	err := tp.Store.Delete(room, "", audit...)
	if err == nil {
		err = tp.ReleaseDeleted(room)
	}
	return err
}

// all reads a room's lines in small pages.
func (tp *tap) all(room uint64) []Line {
	tp.t.Helper()
	var lines []Line
	for after := uint64(0); ; {
		page, err := tp.Lines(room, after, 1<<63, 1000)
		if err != nil {
			tp.t.Fatalf("lines of room %d: %v", room, err)
		}
		if len(page) == 0 {
			return lines
		}
		lines = append(lines, page...)
		after = page[len(page)-1].Seq
	}
}

// jobsLeft returns how much housekeeping waits. One step of it is done after.
func (tp *tap) jobsLeft() int {
	tp.t.Helper()
	n := 0
	// An error rolls back: looking costs no sync.
	err := tp.update(func(*bolt.Tx) error { n = len(tp.retention.jobs); return errRollback }, nil)
	if !errors.Is(err, errRollback) {
		tp.t.Fatal(err)
	}
	return n
}

// settled waits until the housekeeping is done.
func (tp *tap) settled() {
	tp.t.Helper()
	for tp.jobsLeft() > 0 {
	}
}

// checkpointNow brings everything into the database.
func (tp *tap) checkpointNow() {
	tp.t.Helper()
	if err := tp.Checkpoint(); err != nil {
		tp.t.Fatal(err)
	}
}

// onDisk counts a room's lines in the file, without those in the WAL.
func (tp *tap) onDisk(room uint64) int {
	tp.t.Helper()
	n := 0
	if err := tp.viewBlocks(room, &recent{}, func(c *bolt.Cursor) {
		for k, v := c.First(); k != nil; k, v = c.Next() {
			b, err := block.Decode(room, k, v)
			if err != nil {
				tp.t.Error(err)
			}
			n += int(b.Lines)
		}
	}); err != nil {
		tp.t.Fatal(err)
	}
	return n
}

// inWAL counts the lines of a room in the WAL.
func (tp *tap) inWAL(room uint64) int {
	tp.t.Helper()
	n := 0
	err := tp.file.view(func(tx *bolt.Tx) error {
		key := tx.Bucket(bucketMeta).Get(keyWAL)
		if key == nil {
			return nil
		}
		j := wal.New(tp.path)
		corrupt, err := j.Open(key, func(id uint64, _ Line) {
			if id == room {
				n++
			}
		})
		if len(corrupt) > 0 {
			tp.t.Error(corrupt)
		}
		return errors.Join(err, j.Close())
	})
	if err != nil {
		tp.t.Fatal(err)
	}
	return n
}

// walHead is where the records of a WAL begin, see wal.File.
const walHead = 4096

func dbPath(t testing.TB) string { return filepath.Join(t.TempDir(), "roomd.db") }

// durabilities runs a test for both.
func durabilities(t *testing.T, fn func(t *testing.T, d Durability)) {
	t.Run("commit", func(t *testing.T) { fn(t, Commit) })
	t.Run("relaxed", func(t *testing.T) { fn(t, Relaxed) })
}

// applyRetentionAt schedules what the committer schedules once a minute, as if it were
// that time. The jobs run in small steps after it has returned.
func (s *Store) applyRetentionAt(now time.Time) error {
	return s.OnCommitter(func() { s.retention.schedule(now, s.heads) })
}
