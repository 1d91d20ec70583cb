package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const smallDisk = "ROOMD_STORE_SMALL_DISK"

// onSmallDisk runs the calling test once more, in a process with a mount
// namespace of its own, where dir is a filesystem of 8 MiB. It returns "" in
// the process outside. What is mounted goes with the process.
func onSmallDisk(t *testing.T) (dir string) {
	t.Helper()
	if dir := os.Getenv(smallDisk); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
			t.Skip("mount a tmpfs:", err)
		}
		return dir
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(childEnviron(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EINVAL):
		t.Skip("a namespace to mount in:", err)
	case err != nil:
		t.Errorf("on the small disk: %v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
	return ""
}

// ballast is a file that can be removed to make space.
func ballast(t *testing.T, dir string, size int) (remove func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// fill writes until not a byte more fits.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f.Close()
}

func TestDiskFullWithCommit(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	free := ballast(t, dir, 5<<20)
	s := open(t, filepath.Join(dir, "roomd.db"), Options{})
	rooms := []uint64{s.room("lobby", 9000), s.room("other", 9001)}
	acked := make(map[uint64][]Line)
	refused := 0
	say := func(i int, text string) {
		t.Helper()
		room := rooms[i%len(rooms)]
		p := s.say(room, text)
		switch {
		case p.Err == nil:
			acked[room] = append(acked[room], p.Line)
		case errors.Is(p.Err, ErrFull) && errors.Is(p.Err, syscall.ENOSPC):
			refused++
		default:
			t.Fatalf("line %d: %v", i, p.Err)
		}
	}
	same := func(when string) {
		t.Helper()
		for _, room := range rooms {
			have := s.all(room)
			if !slices.Equal(have, acked[room]) {
				t.Errorf("%s: room %d has %d lines, %d were acknowledged", when, room, len(have), len(acked[room]))
			}
			if st, err := s.Stat(room); err != nil || st.Lines != uint64(len(have)) {
				t.Errorf("%s: %+v %v", when, st, err)
			}
		}
		// Reads every page: on a full tmpfs, a page never written would be SIGBUS.
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	long := strings.Repeat("four kilobytes ", 300)
	for i := 0; refused < 20; i++ {
		say(i, long)
	}
	t.Logf("%d + %d lines until the disk was full", len(acked[rooms[0]]), len(acked[rooms[1]]))
	if !s.DiskFull() {
		t.Error("it does not know that the disk is full")
	}
	same("full")
	fill(t, dir)
	for i := range 50 {
		say(i, "a short one")
		say(i, strings.Repeat(long, 20))
	}
	if _, err := s.Create(Room{Name: "new", Key: "new", Port: 9002, Creator: strings.Repeat(long, 400)}); !errors.Is(err, ErrFull) {
		t.Errorf("create on a full disk: %v", err)
	}
	if err := s.ReadOnly(); err != nil {
		t.Errorf("broken: %v", err)
	}
	same("quite full")
	s.reopen() // opening needs no space
	same("opened while full")
	free()
	refused = 0
	for i := range 40 {
		say(i, long)
	}
	if refused > 0 || s.DiskFull() {
		t.Errorf("%d lines were refused with space again, full: %v", refused, s.DiskFull())
	}
	same("free again")
	s.reopen()
	same("opened again")
}

func TestDiskFullWithRelaxed(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	free := ballast(t, dir, 5<<20)
	// What is in the WAL must find a place in the database, too.
	reserve := filepath.Join(dir, "reserve")
	if err := os.WriteFile(reserve, make([]byte, 3<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "roomd.db"), Options{Durability: Relaxed, FlushInterval: time.Millisecond})
	room := s.room("lobby", 9000)
	long := strings.Repeat("four kilobytes ", 300)
	var acked []Line
	for refused := 0; refused < 20; {
		switch p := s.say(room, long); {
		case p.Err == nil:
			acked = append(acked, p.Line)
		case errors.Is(p.Err, ErrFull):
			refused++
		default:
			t.Fatal(p.Err)
		}
	}
	if err := s.Flush(); !errors.Is(err, ErrFull) {
		t.Errorf("flush: %v", err)
	}
	if _, err := s.Create(Room{Name: "new", Key: "new", Port: 9002}); !errors.Is(err, ErrFull) {
		t.Errorf("create while lines wait: %v", err)
	}
	free()
	if have := s.all(room); !slices.Equal(have, acked) {
		t.Errorf("%d lines, %d were delivered", len(have), len(acked))
	}
	if p := s.say(room, "goes on"); p.Err != nil || p.Line.Seq != acked[len(acked)-1].Seq+1 {
		t.Errorf("%d %v after %d", p.Line.Seq, p.Err, acked[len(acked)-1].Seq)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}

	// What cannot be written at Close is lost: it says so, and no number comes twice.
	for {
		fill(t, dir)
		if s.say(room, strings.Repeat(long, 20)).Err != nil {
			break
		}
	}
	last, err := s.Stat(room)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, ErrFull) {
		t.Errorf("close with unwritten lines: %v", err)
	} else {
		t.Log(err)
	}
	s.start() // opening needs no space; lines do
	if p := s.say(room, "still full"); !errors.Is(p.Err, ErrFull) {
		t.Errorf("%d %v", p.Line.Seq, p.Err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "ballast")), os.Remove(reserve)); err != nil {
		t.Fatal(err)
	}
	if p := s.say(room, "after all that"); p.Err != nil || p.Line.Seq <= last.Last {
		t.Errorf("%d %v, the last number seen was %d", p.Line.Seq, p.Err, last.Last)
	}
}

// What is written behind the committer and cannot be is written before what was
// said since, when there is space again.
func TestDiskFullAsync(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	path := filepath.Join(dir, "roomd.db")
	first, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first.Start(Follower{})
	made, err := first.Create(Room{Name: "lobby", Key: "lobby", Port: 9000})
	if err := errors.Join(err, first.Close()); err != nil {
		t.Fatal(err)
	}
	room := made.ID
	s, err := Open(path, Options{Durability: Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	// Without Start this goroutine is the committer.
	var want []Line
	s.follower.Lines = func(posts []*Post) {
		for _, p := range posts {
			if p.Err != nil {
				t.Error(p.Err)
			}
			want = append(want, p.Line)
		}
	}
	s.openWAL()
	say := func(n int, text string) {
		var posts []*Post
		for i := range n {
			posts = append(posts, &Post{Room: room, Line: Line{Kind: Message, From: "ann", Text: fmt.Sprint(i, text)}})
		}
		s.appendPosts(posts)
	}
	say(100, strings.Repeat(" four kilobytes", 273)) // more than the WAL has space for
	fill(t, dir)
	s.flushAsync()
	say(3, " since")
	if s.writer.inFlight != 100 || s.writer.unwritten != 3 {
		t.Errorf("%d lines are being written, and %d wait", s.writer.inFlight, s.writer.unwritten)
	}
	if s.awaitFlush(); !errors.Is(s.writer.writeErr, ErrFull) || s.writer.unwritten != 103 || s.writer.inFlight != 0 {
		t.Errorf("%v; %d lines wait, %d are being written", s.writer.writeErr, s.writer.unwritten, s.writer.inFlight)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.flush(), s.writer.writeErr); err != nil {
		t.Fatal(err)
	}
	say(2, " behind it")
	s.flushAsync()
	s.awaitFlush()
	// As after a crash.
	if err := errors.Join(s.writer.wal.Close(), s.file.db.Close()); err != nil {
		t.Fatal(err)
	}
	again := open(t, path, Options{Durability: Relaxed})
	if have := again.all(room); len(want) != 105 || !slices.Equal(have, want) {
		t.Errorf("%d lines, and %d were delivered", len(have), len(want))
	}
}

func TestCreateOnFullDisk(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	fill(t, dir)
	path := filepath.Join(dir, "roomd.db")
	if _, err := Open(path, Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("open on a full disk: %v", err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) > 0 {
		t.Errorf("stale files: %v %v", left, err)
	}
}

// Positions that find no space are kept in memory, and written later.
func TestPositionsOnAFullDisk(t *testing.T) {
	dir := onSmallDisk(t)
	if dir == "" {
		return
	}
	remove := ballast(t, dir, 1<<20)
	s := open(t, filepath.Join(dir, "roomd.db"), Options{})
	room := s.room("lobby", 9000)
	fill(t, dir)
	var all []ReaderPositions
	for i := range MaxReaders {
		all = append(all, ReaderPositions{fmt.Sprint("reader", i), Positions{room: 0}})
	}
	for len(all) > 0 && !s.DiskFull() {
		s.SavePositions(all[:1000]...)
		all = all[1000:]
		s.checkpointNow()
	}
	if !s.DiskFull() || len(all) == 0 {
		t.Fatal("the disk is not full")
	}
	last := fmt.Sprint("reader", MaxReaders-len(all)-1)
	s.wantPositions(last, Positions{room: 0})
	remove()
	s.reopen()
	s.wantPositions("reader0", Positions{room: 0})
	s.wantPositions(last, Positions{room: 0})
}

// Not ENOSPC but EFBIG: a limit of the process and not of the disk, which space
// that is freed elsewhere does not lift. The store becomes read-only.
func TestFileSizeLimit(t *testing.T) {
	const limited = "ROOMD_STORE_LIMITED"
	path := os.Getenv(limited)
	if path == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(childEnviron(), limited+"="+dbPath(t))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("with a limit: %v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	s := open(t, path, Options{})
	room := s.room("lobby", 9000)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 17 << 20, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	var acked []Line
	long := strings.Repeat("a long line ", 20000)
	p := s.say(room, long)
	for ; p.Err == nil; p = s.say(room, long) {
		acked = append(acked, p.Line)
	}
	t.Logf("%d lines, then: %v", len(acked), p.Err)
	if !errors.Is(p.Err, ErrReadOnly) || !errors.Is(s.ReadOnly(), ErrReadOnly) {
		t.Errorf("%v, broken: %v", p.Err, s.ReadOnly())
	}
	if p := s.say(room, "short"); !errors.Is(p.Err, ErrReadOnly) {
		t.Errorf("a line for a broken store: %v", p.Err)
	}
	if _, err := s.Create(Room{Name: "new", Key: "new", Port: 9002}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a room for a broken store: %v", err)
	}
	if err := s.Submit(context.Background(), &Post{Room: room}); err != nil {
		t.Error(err)
	}
	if have := s.all(room); !slices.Equal(have, acked) {
		t.Errorf("%d lines, %d were acknowledged", len(have), len(acked))
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if have := s.all(room); !slices.Equal(have, acked) {
		t.Errorf("%d lines after opening anew, %d were acknowledged", len(have), len(acked))
	}
	if p := s.say(room, "again"); p.Err != nil || p.Line.Seq != uint64(len(acked)+1) {
		t.Errorf("%d %v", p.Line.Seq, p.Err)
	}
}

func TestIsDiskFull(t *testing.T) {
	for err, want := range map[error]bool{
		&os.PathError{Op: "write", Err: syscall.ENOSPC}: true,
		syscall.EDQUOT: true,
		fmt.Errorf("file resize error: %s", &os.PathError{Op: "truncate", Path: "x", Err: syscall.ENOSPC}): true, // as bbolt does
		syscall.EIO:   false,
		syscall.EFBIG: false,
	} {
		if isDiskFull(err) != want {
			t.Errorf("full(%v) is %v", err, !want)
		}
	}
}

// What tells a commit that left nothing behind from one that did.
func TestCommitted(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	tx, err := s.file.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	id := tx.ID()
	if s.committed(id) {
		t.Error("current before the commit")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if !s.committed(id) || s.committed(id+1) {
		t.Error("not current after the commit, or the next one is")
	}
}

// A store that has started needs no further descriptor, whatever is changed: with
// none to be had everything goes on, to the end.
func TestNoDescriptorLeft(t *testing.T) {
	const limited = "ROOMD_STORE_LIMITED"
	if os.Getenv(limited) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(childEnviron(), limited+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("without descriptors: %v\n%s", err, out)
		}
		return
	}
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Lines: 50}})
		var was syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
		limit := func(n uint64) {
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
				t.Fatal(err)
			}
		}
		everything := func() {
			t.Helper()
			room := s.room("lobby", 9000)
			for i := range 300 {
				if p := s.say(room, strings.Repeat("a long line ", 3000)); p.Err != nil {
					t.Fatalf("line %d: %v", i, p.Err)
				}
			}
			s.checkpointNow()
			s.settled()
			_, err := s.Update(room, Edit{Topic: new("new")})
			if err = errors.Join(err, s.Delete(room), s.applyRetentionAt(time.Now())); err != nil {
				t.Fatal(err)
			}
			s.settled()
			if _, err := s.Lines(room, 0, 1, 1); !errors.Is(err, ErrNoRoom) {
				t.Errorf("the lines of a purged room: %v", err)
			}
		}
		limit(3)
		if f, err := os.Open(s.path); !errors.Is(err, syscall.EMFILE) {
			t.Fatal("there are descriptors", f, err)
		}
		everything()
		limit(was.Cur)
		if err := errors.Join(s.Suspend(), s.Resume()); err != nil {
			t.Fatal(err)
		}
		limit(3)
		everything()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		limit(was.Cur)
		s.start()
	})
}
