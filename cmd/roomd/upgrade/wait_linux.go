package upgrade

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Without a service manager that follows a changing main process (in a container, under
// another supervisor, in a shell), the first process of a server stays as the parent when
// another process takes over: its exit would look like the exit of the server. The parent
// only forwards signals to the process that serves, and exits as that process does. When the
// process that serves hands over in its turn, it exits, and its successor becomes a child of
// the parent (PR_SET_CHILD_SUBREAPER). So there are two processes after any number of upgrades.

// SetSubreaper makes this process the parent of descendants whose parent has exited, or ends
// that.
func SetSubreaper(on bool) error {
	n := uintptr(0)
	if on {
		n = 1
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, n, 0, 0, 0))
}

// withSignalBlocked runs fn with a signal blocked in its thread. A process that fn starts
// inherits the block until it handles the signal (os/signal).
func withSignalBlocked(sig syscall.Signal, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, was unix.Sigset_t
	set.Val[(sig-1)/64] |= 1 << (uint(sig-1) % 64)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &was); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &was, nil)
	return fn()
}

// awaitExit returns when a child has exited. wait or awaitServerExit still has to reap it.
func awaitExit(pid int, _ func() error) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// raise sends this process a signal, with the default action.
func raise(sig syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signal.Reset(sig)
	var set unix.Sigset_t
	set.Val[(sig-1)/64] |= 1 << (uint(sig-1) % 64)
	unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	unix.Tgkill(os.Getpid(), unix.Gettid(), sig)
}

// awaitServerExit waits until the last process that served has exited, and returns its exit
// status. If a signal ended that process, the same signal ends this one.
func awaitServerExit(r *Relay, serves int) (status int, err error) {
	pids, ends := make(chan int), make(chan childExit)
	go func() {
		defer close(pids)
		for {
			pid, err := r.receivePID()
			if err != nil {
				return
			}
			pids <- pid
		}
	}()
	go func() {
		defer close(ends)
		for {
			var e childExit
			switch pid, err := unix.Wait4(-1, &e.status, 0, nil); err {
			case nil:
				e.pid = pid
				ends <- e
			case unix.EINTR:
			default: // ECHILD
				return
			}
		}
	}()
	// Process 1 also reaps strangers. Only the exit of the process that serves counts, once no
	// process is left that could name another one.
	ended := make(map[int]unix.WaitStatus)
	for {
		select {
		case pid, more := <-pids:
			if !more {
				pids = nil
				break
			}
			serves = pid
		case e, more := <-ends:
			if !more {
				ends = nil
				break
			}
			ended[e.pid] = e.status
		}
		end, has := ended[serves]
		switch {
		case pids != nil:
		case has && end.Signaled():
			ExitBySignal(end.Signal())
		case has:
			return end.ExitStatus(), nil
		case ends == nil:
			return 0, fmt.Errorf("process %d, which served, has exited with an unknown status", serves)
		}
	}
}

// childExit is the exit of a child.
type childExit struct {
	pid    int
	status unix.WaitStatus
}
