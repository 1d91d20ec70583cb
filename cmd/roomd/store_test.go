package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tool runs roomd with arguments, beside the server's configuration, and
// returns its output and its exit status.
func (p *process) tool(args ...string) (out string, status int) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asRoomd+"=1", "GORACE=atexit_sleep_ms=0") // else each takes a second more
	cmd.Dir = p.dir
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// ok is tool for what must succeed.
func (p *process) ok(args ...string) string {
	p.t.Helper()
	out, status := p.tool(args...)
	if status != 0 {
		p.t.Fatalf("roomd %s: status %d: %s", strings.Join(args, " "), status, out)
	}
	return out
}

// refuses is tool for what must fail, and say why.
func (p *process) refuses(want string, args ...string) {
	p.t.Helper()
	if out, status := p.tool(args...); status != 1 || !strings.Contains(out, want) {
		p.t.Errorf("roomd %s: status %d, %q; want %q", strings.Join(args, " "), status, out, want)
	}
}

// The life of a database in its operator's hands.
func TestStoreTools(t *testing.T) {
	p := newProcess(t, "")
	p.refuses("no such file", "store", "info")
	p.start()
	p.nc(p.first, strings.NewReader("one\ntwo\nthree\n"))
	p.refuses("is in use by process", "store", "check")
	out := p.ok("admin", "backup", "safe.db", "--keep", "2")
	if !strings.Contains(out, "safe.db is written and checked") {
		t.Error(out)
	}
	p.nc(p.first, strings.NewReader("after the backup\n"))
	p.ok("admin", "backup", "safe.db", "--keep", "2")
	p.ok("admin", "backup", "other.db", "--dry-run")
	p.ok("admin", "reopen")
	for file, want := range map[string]bool{"safe.db": true, "safe.db.1": true, "safe.db.2": false, "other.db": false} {
		if _, err := os.Stat(filepath.Join(p.dir, file)); (err == nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
	// A crash leaves a journal; the tools see its lines.
	if err := p.kill(syscall.SIGKILL); err == nil {
		t.Fatal("it was not killed")
	}
	if out := p.ok("store", "check"); !strings.Contains(out, "is whole: 1 rooms, 4 lines") {
		t.Error(out)
	}
	if out := p.ok("store", "info", "--json"); !strings.Contains(out, `"lines":4`) || !strings.Contains(out, `"schema":2`) {
		t.Error(out)
	}
	dump := p.ok("store", "export", "LOBBY")
	if n := strings.Count(dump, "\n"); n != 5 || !strings.Contains(dump, `"text":"after the backup"`) {
		t.Error(dump)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "dump"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ok("store", "compact")
	p.refuses("--force", "store", "restore", "safe.db.1")
	if out := p.ok("store", "restore", "--force", "safe.db.1"); !strings.Contains(out, "what was there is") {
		t.Error(out)
	}
	if out := p.ok("store", "check"); !strings.Contains(out, "3 lines") {
		t.Error(out)
	}
	if out := p.ok("store", "import", "dump"); !strings.Contains(out, "0 rooms and 1 lines") {
		t.Error(out)
	}
	if out := p.ok("store", "export", "--all"); out != dump {
		t.Errorf("%s is not %s", out, dump)
	}
	p.refuses(`no room "dev"`, "store", "export", "dev")
	if out := p.ok("store", "audit"); strings.Contains(out, "backup") {
		t.Error(out) // the first backup is older than the entry that is about it
	}
	p.start()
	if got := p.nc(p.first, strings.NewReader("")); !strings.Contains(got, "after the backup") {
		t.Error(got)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	// What is damaged is named.
	db := filepath.Join(p.dir, "roomd.db")
	b, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	whole := append([]byte(nil), b...)
	at := strings.Index(string(b), "after the backup")
	b[at] ^= 1
	if err := os.WriteFile(db, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := p.tool("store", "check"); status != 1 || !strings.Contains(out, `room "lobby"`) || !strings.Contains(out, "a block of lines is damaged") {
		t.Errorf("%d %s", status, out)
	}
	if err := os.WriteFile(db, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"export"}, {"export", "--all", "lobby"}, {"restore"}, {"check", "x"}} {
		if out, status := p.tool(append([]string{"store"}, args...)...); status != 2 {
			t.Errorf("%v: %d %s", args, status, out)
		}
	}
}
