package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A sync that fails, of the WAL or of the database: what was refused is not
// there, what was kept is, before and after the process has ended.
func TestSyncFails(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed to let a sync fail: apt-get install strace")
	}
	for _, when := range []string{"9", "9+7", "20..21"} {
		path := dbPath(t)
		cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
			"-e", "inject=fdatasync:error=EIO:when="+when, os.Args[0])
		cmd.Env = append(childEnviron(), childEnv+"=flaky", pathEnv+"="+path)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(out)
		if err := errors.Join(err, cmd.Wait()); err != nil {
			t.Errorf("syncs %s: %v\n%s\n%s", when, err, said, errs.String())
			continue
		}
		var kept []string
		refused := 0
		for line := range strings.Lines(string(said)) {
			var what string
			var seq, i int
			if n, _ := fmt.Sscan(line, &what, &seq, &i); n == 3 && what == "kept" {
				kept = append(kept, fmt.Sprint(seq, " ", i))
			} else if n == 3 {
				refused++
			}
		}
		s := open(t, path, Options{})
		var have []string
		for _, l := range s.all(1) {
			have = append(have, fmt.Sprint(l.Seq, " ", l.Text))
		}
		if !slices.Equal(have, kept) || refused == 0 {
			t.Errorf("syncs %s: kept %v, there are %v; %d were refused", when, kept, have, refused)
		}
		t.Logf("syncs %s: %d refused", when, refused)
	}
}

// A store recovers by itself when the disk works again.
func TestRecoversByItself(t *testing.T) {
	path := dbPath(t)
	synctest.Test(t, func(t *testing.T) { recoversByItself(t, path) })
}

func recoversByItself(t *testing.T, path string) {
	s := open(t, path, Options{})
	room := s.room("lobby", 9000)
	s.say(room, "before")
	// As after a failed write.
	if err := s.Submit(t.Context(), &Post{Room: room, Line: Line{Kind: Message, Text: "kept"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.OnCommitter(func() { s.health.setReadOnly(errors.New("as after a failed write")) }); err != nil {
		t.Fatal(err)
	}
	if p := s.say(room, "refused"); !errors.Is(p.Err, ErrReadOnly) {
		t.Error(p.Err)
	}
	if lines := s.all(room); len(lines) != 2 {
		t.Errorf("%+v", lines)
	}
	<-time.After(recoveryFirst + time.Millisecond)
	synctest.Wait()
	if err := s.ReadOnly(); err != nil {
		t.Fatal("it stays ill:", err)
	}
	if p := s.say(room, "after"); p.Err != nil || p.Line.Seq != 3 {
		t.Errorf("%+v", p)
	}
	s.reopen()
	if lines := s.all(room); len(lines) != 3 {
		t.Errorf("%+v", lines)
	}
}
