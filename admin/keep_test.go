package admin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/admin"
	"roomd/store"
)

func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// A backup is written by the client, where the client is.
func TestBackup(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.speak("lobby", "one", "two")
	dir := t.TempDir()
	t.Chdir(dir)
	for range 3 {
		if out := s.ok("backup b.db --keep 2"); !strings.Contains(out, filepath.Join(dir, "b.db")+" is written and checked: ") {
			t.Error(out)
		}
	}
	if got := files(t, dir); !slices.Equal(got, []string{"b.db", "b.db.1"}) {
		t.Errorf("%q", got)
	}
	st, err := os.Stat("b.db")
	if err != nil || st.Mode() != 0o600 {
		t.Error(st, err)
	}
	if info, problems, err := store.Inspect("b.db", true); err != nil || len(problems) > 0 || info.Lines != 2 || info.Rooms != 1 {
		t.Errorf("%+v %v %v", info, problems, err)
	}
	var said struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
	}
	if err := json.Unmarshal([]byte(s.ok("back c.db --json --rate 100")), &said); err != nil || said.File != filepath.Join(dir, "c.db") || said.Bytes == 0 {
		t.Errorf("%+v %v", said, err)
	}
	if audit := s.ok("audit"); strings.Count(audit, "backup "+filepath.Join(dir, "b.db")+" --keep=2") != 3 {
		t.Error(audit)
	}
	// A client that is not ours is told so.
	if got := s.raw("backup " + filepath.Join(dir, "d.db")); !strings.HasPrefix(got, "ERR usage ") {
		t.Error(got)
	}
	for line, want := range map[string]string{"backup b.db": "already exists", "backup not/there.db": "not"} {
		if out, errs, status := s.do(strings.Fields(line)...); status != admin.ExitRefused || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %q %q", line, status, out, errs)
		}
	}
	for _, line := range []string{"backup d.db --keep 0", "backup d.db --rate x", "backup"} {
		if out, errs, status := s.do(strings.Fields(line)...); status != admin.ExitUsage {
			t.Errorf("%s: %d %q %q", line, status, out, errs)
		}
	}
	if got := files(t, dir); !slices.Equal(got, []string{"b.db", "b.db.1", "c.db"}) {
		t.Errorf("%q", got)
	}
}

// raw gives the answer to a line as nc -U would show it.
func (s *shell) raw(line string) string {
	s.T.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		s.T.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(c, line)
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		s.T.Error(err)
	}
	return got
}

// A backup replaces nothing of the server, by whatever name, not as one of those
// that are kept either.
func TestBackupIsNotTheDatabase(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.srv.Files = func() []string { return []string{s.socket, config} }
	database := filepath.Join(s.dir, "roomd.db")
	dir := t.TempDir()
	link := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	link(os.Symlink(database, filepath.Join(dir, "link")))
	link(os.Link(database, filepath.Join(dir, "hard")))
	link(os.Link(database, filepath.Join(dir, "a.1")))
	link(os.Symlink(config, filepath.Join(dir, "b.3")))
	link(os.Symlink(s.dir, filepath.Join(dir, "folder")))
	before := [][]string{files(t, s.dir), files(t, dir)}
	for _, line := range []string{
		"backup %s/roomd.db --keep 3", "backup %s/roomd.db --keep 1", "backup %s/roomd.db", "backup %s/roomd.db.journal --keep 1", "backup %s/roomd.sock --keep 2",
	} {
		line = fmt.Sprintf(line, s.dir)
		if out, errs, status := s.do(strings.Fields(line)...); status != admin.ExitRefused || out != "" {
			t.Errorf("%s: %d %q %q", line, status, out, errs)
		}
	}
	for _, line := range []string{
		"backup %s/link --keep 1", "backup %s/hard --keep 2", "backup %s/a --keep 2", "backup %s/a --keep 1", "backup %s/b --keep 3", "backup %s/b --keep 4 --dry-run",
		"backup %s/folder/roomd.db --keep 2", "backup " + config + " --keep 2",
	} {
		if strings.Contains(line, "%s") {
			line = fmt.Sprintf(line, dir)
		}
		if out, errs, status := s.do(strings.Fields(line)...); status != admin.ExitRefused || !strings.Contains(errs, "is in use by the server") || out != "" {
			t.Errorf("%s: %d %q %q", line, status, out, errs)
		}
	}
	if after := [][]string{files(t, s.dir), files(t, dir)}; !slices.EqualFunc(before, after, slices.Equal) {
		t.Errorf("%q, and before %q", after, before)
	}
	s.speak("lobby", "all is kept")
	s.Stop()
	s.Start()
	if !strings.Contains(s.ok("read lobby"), "all is kept") {
		t.Error("the line is not there after a restart")
	}
}

// What is cut off, or is not what the server has sent, is no backup.
func TestBackupCutOff(t *testing.T) {
	good := startShell(t)
	good.ok("create lobby")
	c, err := net.Dial("unix", good.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "--files= backup /not/ours")
	var lines []string
	for in := bufio.NewReader(c); ; {
		l, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if lines = append(lines, l); l == "OK\n" {
			break
		}
	}
	n := len(lines)
	if n < 4 {
		t.Fatalf("%d lines", n)
	}
	socket := filepath.Join(t.TempDir(), "fake.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	for what, answer := range map[string][]string{
		"whole":             lines,
		"closed at once":    {},
		"closed":            lines[:2],
		"without the sum":   append(slices.Clone(lines[:n-2]), "OK\n"),
		"without a part":    slices.Concat(lines[:1], lines[2:]),
		"refused":           {"ERR refused no\n"},
		"refused in it":     append(slices.Clone(lines[:2]), "ERR refused it ends\n"),
		"nothing and OK":    {"OK\n"},
		"not base64":        append(slices.Clone(lines[:2]), " ???\n", "OK\n"),
		"something else":    {" hello\n", "OK\n"},
		"no database, good": {" {\"total\":3}\n", " YWJj\n", " {\"total\":3,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}\n", "OK\n"},
	} {
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, strings.Join(answer, ""))
		}()
		var o, e strings.Builder
		status := admin.Once(socket, []string{"backup", filepath.Join(dir, "b.db")}, nil, &o, &e, nil)
		got := files(t, dir)
		if what == "whole" {
			if status != admin.ExitDone || !slices.Equal(got, []string{"b.db"}) {
				t.Errorf("%s: %d %q %q", what, status, e.String(), got)
			}
			if err := os.Remove(filepath.Join(dir, "b.db")); err != nil {
				t.Error(err)
			}
			continue
		}
		if status == admin.ExitDone || e.Len() == 0 || len(got) > 0 {
			t.Errorf("%s: status %d %q, and there is %q", what, status, e.String(), got)
		}
	}
}

// doctor names what a process that was killed has left beside the database.
func TestDoctorFindsWhatIsLeftBehind(t *testing.T) {
	s := startShell(t)
	left := filepath.Join(s.dir, "roomd.db.new-1234.tmp")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.ok("doctor"); !strings.Contains(out, left) {
		t.Error(out)
	}
	s.Stop()
	s.Start()
	if out := s.ok("doctor"); strings.Contains(out, left) {
		t.Error(out)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("it is there after a start")
	}
}

// No number of backups makes the server list more names than it can hold.
func TestBackupsAtMost(t *testing.T) {
	s := startShell(t)
	for keep, want := range map[string]int{"1000": admin.ExitDone, "1001": admin.ExitUsage, "2000000000": admin.ExitUsage} {
		if out, errs, status := s.do("backup", filepath.Join(t.TempDir(), "b.db"), "--keep", keep, "--dry-run"); status != want {
			t.Errorf("%s: %d, %s%s", keep, status, out, errs)
		}
	}
}
