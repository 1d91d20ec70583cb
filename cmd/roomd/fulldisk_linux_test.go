package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Where there is no space for what they write, the tools of the database say so
// with status 1, and the database is what it was, or what they say it is.
func TestStoreToolsOnFullDisk(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "history.lines = 0")
	p.env = []string{"GORACE=atexit_sleep_ms=0"}
	p.start()
	p.admin("create", "big")
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "%d %s\n", i, strings.Repeat("x", 1500))
	}
	p.nc(p.first+1, strings.NewReader("/raw\n"+text.String()))
	p.nc(p.first, strings.NewReader("small\n"))
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	dump := strings.Replace(p.ok("store", "export", "big"), `"name":"big","key":"big","port":`, `"name":"more","key":"more","port":1`, 1)
	if err := os.WriteFile(filepath.Join(p.dir, "dump"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "disk.toml"), []byte(`server.data = "disk/roomd.db"`), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(p.dir, "roomd.db"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The disk has the database, and not much more.
	script := `mount -t tmpfs -o size=${KB}k tmpfs disk || exit 77
cp roomd.db disk/
try() { echo "== $*"; "$ROOMD" "$@" --config disk.toml 2>&1; echo "== status $?"; "$ROOMD" store check --config disk.toml; echo "== files $(ls disk | tr '\n' ' ')"; }
try store import dump
dd if=/dev/zero of=disk/ballast bs=1k count=4000 2>/dev/null
try store compact
try store restore --force roomd.db
echo "== export"; "$ROOMD" store export --config disk.toml --all >disk/out; echo "== status $?"; rm -f disk/out
for c in check info audit "export --all"; do echo "== $c"; "$ROOMD" store $c --config disk.toml >/dev/full; echo "== status $?"; done
`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), asRoomd+"=1", "GORACE=atexit_sleep_ms=0", "ROOMD="+self, fmt.Sprint("KB=", st.Size()>>10+512))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == 77 || strings.Contains(string(out), "unshare failed") {
		t.Skipf("a small disk takes the right to mount: %v %s", err, out)
	}
	t.Logf("%s", out)
	tries := strings.Split(string(out), "== status ")
	if len(tries) != 9 {
		t.Fatalf("%d answers", len(tries))
	}
	for i, try := range tries[1:] {
		if !strings.HasPrefix(try, "1\n") {
			t.Errorf("answer %d, to %s: status %.2s", i, tries[i][strings.LastIndex(tries[i], "== "):], try)
		}
	}
	rooms, lines, room, line := 0, 0, "", ""
	if n, err := fmt.Sscanf(tries[0][strings.Index(tries[0], "roomd: ")+7:], "%d %s and %d %s", &rooms, &room, &lines, &line); n != 4 || lines == 2000 {
		t.Error("the import does not say how far it came, or the disk was not full:", rooms, lines, err)
	}
	for i, try := range tries[1:4] {
		if !strings.Contains(try, fmt.Sprintf("is whole: %d rooms, %d lines", rooms+2, lines+2001)) || i > 0 && !strings.Contains(try, "== files ballast roomd.db \n") {
			t.Errorf("after command %d: %s", i, try)
		}
	}
}

// What a command was to print and could not is a failure.
func TestOutputThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	p.nc(p.first, strings.NewReader("hello\n"))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	socket := "--socket=" + filepath.Join(p.dir, "roomd.sock")
	server := "--server=127.0.0.1:" + fmt.Sprint(p.master)
	for _, args := range [][]string{
		{"list", server}, {"list", server, "--json"}, {"create", "dev", server}, {"tail", "lobby", "-n", "1", server}, {"tail", "lobby", "-n", "1", "--json", server}, {"version"},
		{"admin", socket, "status"}, {"admin", socket, "read", "lobby", "--json"}, {"admin", socket, "help"},
	} {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Dir, cmd.Stdout = p.dir, full
		cmd.Env = append(os.Environ(), asRoomd+"=1", "GORACE=atexit_sleep_ms=0")
		var errs strings.Builder
		cmd.Stderr = &errs
		if cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%v: status %d %s", args, cmd.ProcessState.ExitCode(), errs.String())
		}
	}
}
