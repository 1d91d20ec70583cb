package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// All threads of a server have slack timers, the runtime's own too; and so have
// those of the server that takes over from it.
func TestSlack(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	checkSlack(t, p.cmd.Process.Pid)
	checkSlack(t, p.upgrade().PID)
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
		if got := strings.TrimSpace(string(b)); got != strconv.Itoa(int(timerSlack)) {
			t.Errorf("thread %s has a slack of %s ns", d.Name(), got)
		}
	}
}

// Under a real-time policy there is no slack to be had, and the server starts all
// the same.
func TestSlackOfRealTime(t *testing.T) {
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
