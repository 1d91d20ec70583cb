package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/store"
)

// tool runs roomd with arguments, beside the server's configuration, and
// returns its output and its exit status.
func (p *process) tool(args ...string) (out string, status int) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asRoomd+"=1", "GORACE=atexit_sleep_ms=0", p.configured()) // else each takes a second more
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
	if out := p.ok("store", "check"); !strings.Contains(out, "is whole: 1 room, 4 lines") {
		t.Error(out)
	}
	if out := p.ok("store", "info", "--json"); !strings.Contains(out, `"lines":4`) || !strings.Contains(out, `"schema":2`) || !strings.Contains(out, `"readers":0`) {
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
	if out := p.ok("store", "restore", "--force", "safe.db.1"); !strings.Contains(out, "the old database is kept as") {
		t.Error(out)
	}
	if out := p.ok("store", "check"); !strings.Contains(out, "3 lines") {
		t.Error(out)
	}
	if out := p.ok("store", "import", "dump"); !strings.Contains(out, "0 rooms and 1 line are") {
		t.Error(out)
	}
	if out := p.ok("store", "export", "--all"); out != dump {
		t.Errorf("%s is not %s", out, dump)
	}
	p.refuses(`no room named dev`, "store", "export", "dev")
	if out := p.ok("store", "audit"); strings.Count(out, "roomd store") != 2 || !strings.Contains(out, "restore "+filepath.Join(p.dir, "safe.db.1")[:20]) || !strings.Contains(out, "import dump") || !strings.Contains(out, "0 rooms and 1 line") {
		t.Error("the audit lacks what the tools did:", out)
	}
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
	if out, status := p.tool("store", "check"); status != 1 || !strings.Contains(out, `room "lobby"`) || !strings.Contains(out, "a block of lines is corrupt") {
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

// What the server has is not written over by whatever tool.
func TestNotTheDatabase(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	p.nc(p.first, strings.NewReader("one\n"))
	if out, status := p.tool("admin", "backup", "roomd.db", "--keep", "7"); status != 1 || !strings.Contains(out, "is in use by the server") {
		t.Errorf("backup: %d %s", status, out)
	}
	if out, status := p.tool("admin", "backup", "config.toml", "--keep", "7"); status != 1 || !strings.Contains(out, "is in use by the server") {
		t.Errorf("backup: %d %s", status, out)
	}
	empty := filepath.Join(p.dir, "link")
	if err := os.Symlink("config.toml", empty); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"roomd.db", "roomd.db.journal", "roomd.sock", "config.toml", "link"} {
		p.refuses("belongs to the server", "tail", "lobby", "--follow=false", "--cursor", file)
	}
	if err := p.kill(syscall.SIGKILL); err == nil {
		t.Fatal("it was not killed")
	}
	if err := os.Link(filepath.Join(p.dir, "roomd.db"), filepath.Join(p.dir, "hard.db")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"roomd.db", "hard.db", "roomd.db.journal", "config.toml"} {
		p.refuses("belongs to the server", "store", "restore", "--force", file)
		out, err := os.OpenFile(filepath.Join(p.dir, file), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "store", "export", "--all")
		cmd.Env, cmd.Dir, cmd.Stdout = append(os.Environ(), asRoomd+"=1", p.configured()), p.dir, out
		var errs strings.Builder
		cmd.Stderr = &errs
		if err := cmd.Run(); err == nil || !strings.Contains(errs.String(), "belongs to the server") {
			t.Errorf("export to %s: %v %s", file, err, errs.String())
		}
		out.Close()
	}
	if out := p.ok("store", "check"); !strings.Contains(out, "is whole: 1 room, 1 line") {
		t.Error(out)
	}
}

// A signal ends what writes a large file, and leaves nothing behind; after kill -9
// the next one clears up.
func TestStoreToolsInterrupted(t *testing.T) {
	p := newProcess(t, "")
	st, err := store.Open(filepath.Join(p.dir, "roomd.db"), store.Options{Durability: store.Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	st.Start(store.Follower{})
	room, err := st.Create(store.Room{Name: "lobby", Key: "lobby", Port: p.first})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		line := store.Line{Kind: store.Message, From: "ann", Text: strings.Repeat("x", 4000)}
		if err := st.Submit(t.Context(), &store.Post{Room: room.ID, Line: line}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	p.start()
	dir := t.TempDir()
	backup := filepath.Join(dir, "b.db")
	parts := func(dir string) (all []string) {
		all, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
		if err != nil {
			t.Error(err)
		}
		return all
	}
	// begun runs a command until it has begun to write, and ends it. One that was
	// quicker is run again.
	begun := func(sig syscall.Signal, dir string, args ...string) *exec.ExitError {
		t.Helper()
		for range 50 {
			cmd := exec.Command(os.Args[0], args...)
			cmd.Env, cmd.Dir = append(os.Environ(), asRoomd+"=1", "GORACE=atexit_sleep_ms=0", p.configured()), p.dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			look := time.NewTicker(time.Millisecond)
			for over := false; !over && len(parts(dir)) == 0; {
				select {
				case err := <-ended:
					over = true
					ended <- err
				case <-look.C:
				}
			}
			look.Stop()
			cmd.Process.Signal(sig)
			var exit *exec.ExitError
			if err := <-ended; errors.As(err, &exit) {
				return exit
			} else if err != nil {
				t.Fatal(err)
			}
		}
		t.Fatalf("%v is too quick", args)
		return nil
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if exit := begun(sig, dir, "admin", "backup", backup, "--rate", "1"); exit.ExitCode() != 1 {
			t.Errorf("%v: %v", sig, exit)
		}
		if left := parts(dir); len(left) > 0 {
			t.Errorf("%v: %q", sig, left)
		}
	}
	begun(syscall.SIGKILL, dir, "admin", "backup", backup, "--rate", "1")
	if left := parts(dir); len(left) != 1 {
		t.Errorf("after kill -9: %q", left)
	}
	p.ok("admin", "backup", backup)
	if left := parts(dir); len(left) > 0 {
		t.Errorf("after the next backup: %q", left)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	before := p.ok("store", "check")
	exit := begun(syscall.SIGKILL, p.dir, "store", "compact")
	if exit.ExitCode() != -1 || len(parts(p.dir)) != 1 {
		t.Errorf("%v, and there is %q", exit, parts(p.dir))
	}
	p.start()
	if left := parts(p.dir); len(left) > 0 {
		t.Errorf("after the next start: %q", left)
	}
	if !p.logged("was left behind") {
		t.Error("the log says nothing")
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if exit := begun(sig, p.dir, "store", "compact"); exit.ExitCode() != 1 {
			t.Errorf("%v: %v", sig, exit)
		}
		if exit := begun(sig, p.dir, "store", "restore", "--force", backup); exit.ExitCode() != 1 {
			t.Errorf("%v: %v", sig, exit)
		}
		if left := parts(p.dir); len(left) > 0 {
			t.Errorf("%v: %q", sig, left)
		}
	}
	if after := p.ok("store", "check"); after != before {
		t.Errorf("%s, and before %s", after, before)
	}
}
