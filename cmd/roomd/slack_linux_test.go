package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/cmd/roomd/bench"
)

// All threads of a server have the timer slack of what started it, the runtime's own
// too; and so have those of the server that takes over from it.
func TestSlack(t *testing.T) {
	runtime.LockOSThread() // the slack is the thread's
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Millisecond), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // the usual one
	p := newProcess(t, "")
	p.start()
	checkSlack(t, p.cmd.Process.Pid)
	checkSlack(t, p.upgrade().PID)
}

// The load tool measures a server as the packaged unit starts it.
func TestSlackOfBench(t *testing.T) {
	t.Setenv(asRoomd, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := &bench.Process{Protocol: "roomd", Binary: self, Dir: t.TempDir(), Durability: "commit", CPU: -1}
	defer own.Stop()
	if err := own.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkSlack(t, own.Server().PID)
}

func checkSlack(t *testing.T, pid int) {
	t.Helper()
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil || len(threads) < 2 {
		t.Fatal(len(threads), err)
	}
	for _, d := range threads {
		b, err := os.ReadFile(filepath.Join("/proc", d.Name(), "timerslack_ns"))
		if err != nil {
			t.Skip("only root may see it (timerslack_ns, proc(5)):", err)
		}
		if got := strings.TrimSpace(string(b)); got != strconv.Itoa(int(time.Millisecond)) {
			t.Errorf("thread %s has a slack of %s ns", d.Name(), got)
		}
	}
}

// Under a real-time policy a server starts too.
func TestRealTime(t *testing.T) {
	if out, err := exec.Command("chrt", "-r", "1", "true").CombinedOutput(); err != nil {
		t.Skipf("chrt(1): %v: %s", err, out)
	}
	p := newProcess(t, "")
	p.prefix = []string{"chrt", "-r", "1"}
	p.start()
	if got := p.nc(p.master, strings.NewReader("LIST\n")); !strings.HasPrefix(got, "OK 1\nlobby ") {
		t.Errorf("got %q", got)
	}
}
