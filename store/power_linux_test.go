package store

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// cutDisk is what a machine has of some files: what is certain, and what it has
// been given since.
type cutDisk struct {
	fds   map[int]*diskFile
	names map[string]*diskFile
}

type diskFile struct {
	synced  []byte
	pending []diskWrite
}

// diskWrite is a write, or if data is nil a new length, that no sync has
// followed.
type diskWrite struct {
	at   int64
	data []byte
}

func apply(b []byte, w diskWrite) []byte {
	end := int(w.at) + len(w.data)
	if w.data == nil {
		return append(b[:min(len(b), end):min(len(b), end)], make([]byte, max(0, end-len(b)))...)
	}
	if len(b) < end {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.at:], w.data)
	return b
}

// sync makes certain what a file has been given.
func (f *diskFile) sync() {
	for _, w := range f.pending {
		f.synced = apply(f.synced, w)
	}
	f.pending = nil
}

// after returns what may be found after the power has failed: of what was not
// synced any part, sector by sector, in any order.
func (f *diskFile) after() []byte {
	b := slices.Clone(f.synced)
	all, none := rand.IntN(4) == 0, rand.IntN(4) == 0
	for _, w := range f.pending {
		if w.data == nil {
			if all || !none && rand.IntN(2) == 0 {
				b = apply(b, w)
			}
			continue
		}
		for at := 0; at < len(w.data); at += 512 {
			if all || !none && rand.IntN(2) == 0 {
				b = apply(b, diskWrite{w.at + int64(at), w.data[at:min(at+512, len(w.data))]})
			}
		}
	}
	return b
}

var (
	callLine = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+)`)
	hexBytes = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?`)
)

// call is a system call of the trace, its strings decoded.
type call struct {
	name    string
	args    []string // those that are no strings
	strings [][]byte
	result  int
}

func parseCall(t *testing.T, line string) (c call, ok bool) {
	m := callLine.FindStringSubmatch(line)
	if m == nil {
		return c, false
	}
	c.name = m[2]
	c.result, _ = strconv.Atoi(m[4])
	rest := hexBytes.ReplaceAllStringFunc(m[3], func(s string) string {
		if strings.HasSuffix(s, "...") {
			t.Fatal("the trace is cut")
		}
		b, err := hex.DecodeString(strings.ReplaceAll(strings.Trim(s, `"`), `\x`, ""))
		if err != nil {
			t.Fatal(err)
		}
		c.strings = append(c.strings, b)
		return "s"
	})
	c.args = strings.Split(rest, ", ")
	return c, true
}

func (c *call) number(i int) int {
	n, _ := strconv.Atoi(c.args[i])
	return n
}

// do is what a call means for the disk. It reports whether it was a sync.
func (d *cutDisk) do(c call, dir string) (synced bool) {
	f := d.fds[c.number(0)]
	switch c.name {
	case "openat":
		if name := string(c.strings[0]); c.result >= 0 && strings.HasPrefix(name, dir+"/") {
			if d.names[name] == nil || strings.Contains(c.args[2], "O_TRUNC") {
				d.names[name] = &diskFile{}
			}
			d.fds[c.result] = d.names[name]
		} else {
			delete(d.fds, c.result)
		}
	case "close":
		delete(d.fds, c.number(0))
	case "unlinkat", "unlink":
		delete(d.names, string(c.strings[0]))
	case "pwrite64":
		if f != nil && c.result > 0 {
			f.pending = append(f.pending, diskWrite{int64(c.number(3)), c.strings[0][:c.result]})
		}
	case "ftruncate":
		if f != nil && c.result == 0 {
			f.pending = append(f.pending, diskWrite{at: int64(c.number(1))})
		}
	case "fsync", "fdatasync":
		if f != nil && c.result == 0 {
			f.sync()
			return true
		}
	}
	return false
}

// TestPowerLoss records what a store that talks writes, and lets the power fail
// at every sync: just before it is done, when any part of what it is about may
// be on disk, and just after. What had been shown by then is there.
func TestPowerLoss(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed to record the writes: apt-get install strace")
	}
	durabilities(t, func(t *testing.T, d Durability) {
		for range rounds(1) {
			powerLoss(t, d)
		}
	})
}

// inMemory is a folder that costs no disk, where there is such a thing: what a
// disk would keep is known from the trace.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "roomd")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func powerLoss(t *testing.T, d Durability) {
	mem := inMemory(t)
	s := open(t, filepath.Join(mem, "roomd.db"), Options{})
	for i := range crashRooms {
		s.room(fmt.Sprint("room", i), 9000+i)
	}
	s.stop()
	before, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "--seccomp-bpf", "-qq", "-xx", "-s", "8388608", "-o", trace,
		"-e", "trace=openat,close,unlinkat,pwrite64,write,ftruncate,fsync,fdatasync", "-e", "signal=none", os.Args[0])
	what := "power"
	if d == Relaxed {
		what = "power relaxed"
	}
	cmd.Env = append(childEnviron(), childEnv+"="+what, pathEnv+"="+s.path)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dk := &cutDisk{fds: make(map[int]*diskFile), names: map[string]*diskFile{s.path: {synced: before}}}
	var shown []printed
	cuts, missing := 0, 0
	begun := make(map[string]string) // by process: a call that another came between
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		pid, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if head, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			begun[pid] = head
			continue
		}
		if _, tail, ok := strings.Cut(rest, " resumed>"); ok {
			rest = begun[pid] + tail
		}
		c, ok := parseCall(t, pid+" "+rest)
		if !ok {
			continue
		}
		if c.name == "write" {
			if c.number(0) == 1 {
				shown = append(shown, parsePrinted(t, string(c.strings[0]))...)
			}
			continue
		}
		sync := c.name == "fsync" || c.name == "fdatasync"
		if sync && dk.fds[c.number(0)] != nil {
			missing += dk.cut(t, s.path, shown, d)
			cuts++
		}
		if dk.do(c, filepath.Dir(s.path)) && rand.IntN(4) == 0 {
			missing += dk.cut(t, s.path, shown, d)
			cuts++
		}
		if t.Failed() {
			return
		}
	}
	if batches := min(80, rounds(8)); cuts < batches*3/4 && d == Commit || len(shown) < batches {
		t.Errorf("only %d cuts, and %d lines", cuts, len(shown))
	}
	t.Logf("%d lines, the power failed %d times; %d lines that were shown were missing", len(shown), cuts, missing)
}

func parsePrinted(t *testing.T, text string) (all []printed) {
	for line := range strings.Lines(text) {
		p := printed{Line: Line{Kind: Message, From: "ann"}}
		var micros int64
		if _, err := fmt.Sscan(line, &p.room, &p.Seq, &micros, &p.Text); err != nil {
			t.Fatalf("the child printed %q: %v", line, err)
		}
		p.Time = time.UnixMicro(micros).UTC()
		all = append(all, p)
	}
	return all
}

// storedPositions reads the positions of the child's reader as they are on disk: Open would
// set back those that are too new.
func storedPositions(t *testing.T, path string) Positions {
	r := reader{rooms: make(Positions)}
	db, err := openToCheck(path)
	if err == nil {
		err = errors.Join(viewDB(db, func(tx *bolt.Tx) error {
			return r.decode([]byte("ann"), tx.Bucket(bucketPositions).Get([]byte("ann")))
		}), db.Close())
	}
	if err != nil {
		t.Error(err)
	}
	return r.rooms
}

// cut opens what the disk may have now, and compares it with what was shown. It
// returns how many lines are missing.
func (d *cutDisk) cut(t *testing.T, path string, shown []printed, durability Durability) (missing int) {
	dir := inMemory(t)
	for name, f := range d.names {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), f.after(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defer os.RemoveAll(dir)
	path = filepath.Join(dir, filepath.Base(path))
	read := storedPositions(t, path)
	s, err := Open(path, Options{})
	if err != nil {
		t.Errorf("after the power failed: %v", err)
		return 0
	}
	have := make(map[printed]bool)
	for room := range uint64(crashRooms) {
		lines, err := readAll(s, room+1)
		if err != nil {
			t.Error(err)
		}
		for _, l := range lines {
			have[printed{room + 1, l}] = true
		}
		if seq := read[room+1]; seq > 0 && (len(lines) == 0 || seq > lines[len(lines)-1].Seq) {
			t.Errorf("room %d: the position %d is newer than its %d lines", room+1, seq, len(lines))
		}
	}
	for _, p := range shown {
		if have[p] {
			continue
		}
		missing++
		if age := shown[len(shown)-1].Time.Sub(p.Time); durability == Commit || age > crashInterval+250*time.Millisecond {
			t.Errorf("line %d of room %d was shown, %v before the last, and is gone", p.Seq, p.room, age)
		}
	}
	if err := errors.Join(s.file.view(checkTx), s.Close()); err != nil {
		t.Error(err)
	}
	return missing
}
