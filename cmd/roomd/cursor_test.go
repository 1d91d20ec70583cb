package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"roomd/cmd/roomd/roomdtest"
)

// tail goes on where the cursor file says, and returns what it printed.
func (p *process) goOn(room, file string, flags ...string) (out, errs string, status int) {
	p.t.Helper()
	return p.does("", append([]string{"tail", room, "--follow=false", "--cursor", file}, flags...)...)
}

func (p *process) backup(file string) {
	p.t.Helper()
	p.operates("backup " + file)
}

func (p *process) say(room string, lines ...string) {
	p.t.Helper()
	if _, errs, status := p.does(strings.Join(lines, "\n"), "send", room); status != exitOK {
		p.t.Fatal(errs)
	}
}

// After a restore numbers that were given before are given to other lines: a job
// that goes by a cursor is told, whether the history has come as far again or not.
func TestCursorAfterRestore(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	p.say("lobby", "one", "two")
	backup, file := filepath.Join(p.dir, "backup.db"), filepath.Join(p.dir, "cursor")
	p.backup(backup)
	p.say("lobby", "three", "four")
	if out, errs, status := p.goOn("lobby", file); status != exitOK || strings.Count(out, "\n") != 4 {
		t.Fatal(out, errs)
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(kept)); len(f) != 3 || f[0] != "4" || !strings.HasPrefix(string(kept), "4 ") {
		t.Fatalf("%q", kept)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := p.does("", "store", "restore", "--force", backup); status != exitOK {
		t.Fatal(errs)
	}
	p.start()
	refused := func(when string) {
		t.Helper()
		out, errs, status := p.goOn("lobby", file)
		if status != exitFailed || out != "" || !strings.Contains(errs, "remove the file") {
			t.Errorf("%s: %d %q %q", when, status, out, errs)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != string(kept) {
			t.Errorf("%s: the cursor is %q now: %v", when, now, err)
		}
	}
	refused("the history is shorter")
	p.say("lobby", "other three", "other four", "other five")
	refused("the history is longer")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := p.goOn("lobby", file); status != exitOK || strings.Count(out, "\n") != 5 {
		t.Fatal(out, errs)
	}
}

// A cursor is of one room, also where another one has its name later.
func TestCursorOfAnotherRoom(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	if _, errs, status := p.does("", "create", "dev"); status != exitOK {
		t.Fatal(errs)
	}
	file := filepath.Join(p.dir, "cursor")
	p.say("lobby", "one", "two")
	p.say("dev", "a", "b", "c")
	if out, errs, status := p.goOn("lobby", file); status != exitOK || strings.Count(out, "\n") != 2 {
		t.Fatal(out, errs)
	}
	if out, errs, status := p.goOn("dev", file); status != exitFailed || out != "" || !strings.Contains(errs, "another room") {
		t.Errorf("%d %q %q", status, out, errs)
	}
	for _, args := range []string{"delete lobby --yes", "create lobby"} {
		if _, errs, status := p.does("", strings.Fields(args)...); status != exitOK {
			t.Fatal(errs)
		}
	}
	p.say("lobby", "new one", "new two", "new three")
	if out, errs, status := p.goOn("lobby", file); status != exitFailed || out != "" || !strings.Contains(errs, "another room") {
		t.Errorf("%d %q %q", status, out, errs)
	}
}

// A file of an older roomd has a number alone: it is taken, and with the next
// line it has the rest, too. A number that the history has not reached is refused.
func TestOldCursor(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	p.say("lobby", "one", "two")
	file := filepath.Join(p.dir, "cursor")
	if err := os.WriteFile(file, []byte("1                   \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := p.goOn("lobby", file); status != exitOK || strings.Count(out, "\n") != 1 || !strings.Contains(out, "two") {
		t.Fatal(status, out, errs)
	}
	if b, err := os.ReadFile(file); err != nil || len(strings.Fields(string(b))) != 3 {
		t.Errorf("%q %v", b, err)
	}
	for text, status := range map[string]int{"812\n": exitFailed, "2\n": exitOK, "2 room\n": exitFailed, "2 room epoch more\n": exitFailed} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, errs, got := p.goOn("lobby", file); got != status || out != "" || (status == exitFailed) != strings.Contains(errs, "remove") {
			t.Errorf("%q: %d %q %q", text, got, out, errs)
		}
	}
}

// A job that follows is told, too, when the history is put back under it.
func TestCursorWhileFollowing(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	p.say("lobby", "one", "two")
	backup := filepath.Join(p.dir, "backup.db")
	p.backup(backup)
	for _, begin := range [][]string{{}, {"-n", "1"}} {
		cmd := p.roomd(append([]string{"tail", "lobby", "--cursor", filepath.Join(t.TempDir(), "cursor")}, begin...)...)
		var errs strings.Builder
		cmd.Stderr = &errs
		_, out := roomdtest.Begin(t, cmd)
		if _, err := out.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		p.kill(syscall.SIGTERM)
		// Its name is of the second.
		if _, errs, status := p.does("", "store", "restore", "--force", backup); status != exitOK {
			t.Fatal(errs)
		}
		kept, err := filepath.Glob(filepath.Join(p.dir, "*.before-*"))
		if err != nil || len(kept) != 1 || os.Remove(kept[0]) != nil {
			t.Fatal(kept, err)
		}
		p.start()
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(errs.String(), "remove the file") {
			t.Errorf("%v: %v %q", begin, err, errs.String())
		}
	}
}
