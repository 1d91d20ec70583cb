package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// traced reports whether all threads of a process have a tracer.
func traced(t *testing.T, pid int) bool {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(all) == 0 {
		t.Fatal("no threads", err)
	}
	for _, f := range all {
		if text, err := os.ReadFile(f); err != nil || strings.Contains(string(text), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// While the system has no memory for another connection (strace has accept4 say
// so), those inside go on, the server idles, and who waits gets in by itself when
// there is some again.
func TestNoMemoryForConnections(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	p := newProcess(t, "")
	p.start()
	ann := p.visit(p.first)
	ann.until(t, "guest-1 joined")
	calls := filepath.Join(p.dir, "calls")
	strace := exec.Command("strace", "-f", "-qq", "-o", calls, "-e", "trace=accept4", "-e", "inject=accept4:error=ENOMEM", "-p", fmt.Sprint(p.cmd.Process.Pid))
	if err := strace.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- strace.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !traced(t, p.cmd.Process.Pid) {
		select {
		case <-ended:
			t.Skip("strace may not attach to a process here")
		case <-tick.C:
		}
	}
	eve := p.visit(p.first)
	p.idles()
	fmt.Fprintln(ann, "still here")
	ann.until(t, "> still here")
	if err := strace.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ended
	eve.until(t, "you are guest-2")
	ann.until(t, "guest-2 joined")
	text, err := os.ReadFile(calls)
	if n := strings.Count(string(text), "ENOMEM"); err != nil || n < 2 || n > 500 {
		t.Errorf("it was tried %d times, %v", n, err)
	}
	log, err := os.ReadFile(p.log.Name())
	if n := strings.Count(string(log), "cannot allocate memory"); err != nil || n != 1 {
		t.Errorf("the log says it %d times, %v", n, err)
	}
}
