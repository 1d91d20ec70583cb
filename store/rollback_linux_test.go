package store

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// doubtFirst is more syncs than the first steps of a child have. strace counts those
// of each thread apart: the first that fails is one of its only kind.
const doubtFirst = "20"

// What was refused since a sync failed is not there later: neither after a crash
// of the process, nor after the store has recovered. What was kept is.
func TestRefusedDoesNotReturn(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed to let a sync fail: apt-get install strace")
	}
	var mu sync.Mutex
	refused := make(map[string]int)
	turns := make(chan struct{}, 4)
	var all sync.WaitGroup
	run := func(child, when, kind string) {
		turns <- struct{}{}
		defer func() { <-turns }()
		path := dbPath(t)
		cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync",
			"-e", "inject=fdatasync:error=EIO:when="+when, os.Args[0])
		cmd.Env = append(childEnviron(), childEnv+"="+child, pathEnv+"="+path)
		var errs strings.Builder
		cmd.Stderr = &errs
		said, err := cmd.Output()
		if err != nil {
			t.Errorf("%s, syncs %s: %v\n%s\n%s", child, when, err, said, errs.String())
			return
		}
		counts := compareTold(t, path, string(said), child+", syncs "+when)
		if kind != "" && counts[kind] == 0 {
			t.Errorf("%s, syncs %s: nothing of this was refused: %s", child, when, kind)
		}
		mu.Lock()
		defer mu.Unlock()
		for what, n := range counts {
			refused[what] += n
		}
	}
	for _, when := range []string{"8", "9", "10", "12", "15", "8+", "10+", "11+"} {
		all.Go(func() { run("doubt", when, "") })
		if !strings.HasSuffix(when, "+") {
			all.Go(func() { run("doubt recovers", when, "") })
		}
	}
	for _, kind := range []string{"say", "create", "delete"} {
		all.Go(func() { run("doubt "+kind, doubtFirst+"+", kind) })
		all.Go(func() { run("doubt "+kind+" recovers", doubtFirst, kind) })
	}
	all.Wait()
	t.Logf("refused: %v", refused)
}

// compareTold compares a database with what its users were told, and counts what
// was refused.
func compareTold(t *testing.T, path, said, how string) (refused map[string]int) {
	refused = make(map[string]int)
	s, err := Open(path, Options{})
	if err != nil {
		t.Errorf("%s: %v", how, err)
		return
	}
	defer s.Close()
	rooms, err := s.Rooms()
	if err != nil {
		t.Error(err)
	}
	there := make(map[string]bool)
	for _, r := range rooms {
		there[r.Name] = true
	}
	lines, err := readAll(s, 1)
	if err != nil && there["lobby"] {
		t.Error(err)
	}
	for _, l := range lines {
		there[l.Text] = true
	}
	want := make(map[string]bool)
	for line := range strings.Lines(said) {
		var what, told, name string
		if n, _ := fmt.Sscan(line, &what, &told, &name); n != 3 {
			t.Errorf("%s: the child printed %q", how, line)
		}
		if told == "refused" {
			refused[what]++
			continue
		}
		want[name] = what != "delete"
	}
	for name, is := range want {
		if is && !there[name] {
			t.Errorf("%s: %s was kept and is not there:\n%s", how, name, said)
		}
	}
	for name := range there {
		if !want[name] {
			t.Errorf("%s: %s was refused or deleted and is there:\n%s", how, name, said)
		}
	}
	if err := s.file.view(checkTx); err != nil {
		t.Errorf("%s: %v", how, err)
	}
	return refused
}
