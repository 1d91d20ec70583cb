package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much the kernel may put off a timer of the server.
const timerSlack = time.Millisecond

// slacken lets the kernel put off the timers of a server (PR_SET_TIMERSLACK,
// prctl(2)). While anything goes on, a thread of the Go runtime looks around
// every 20 µs (golang/go#18236); at two thousand lines a second that is a tenth
// of what the server costs, and keeps it from work that is due. A thread has the
// slack of the one that made it, and that of the runtime is there before main:
// so the server begins once more, as the same process. It is called first of
// all. If it fails nothing is lost but this.
func slacken(args []string) {
	if len(args) < 2 || args[1] != "serve" {
		return
	}
	runtime.LockOSThread() // the slack is the thread's
	defer runtime.UnlockOSThread()
	has := func() bool {
		ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		return err == nil && ns >= int(timerSlack)
	}
	// Under a real-time policy setting it succeeds and does nothing: to begin once
	// more would have no end.
	if has() || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil || !has() {
		return
	}
	if self, err := os.Executable(); err == nil {
		syscall.Exec(self, args, os.Environ())
	}
}
