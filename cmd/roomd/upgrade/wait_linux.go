package upgrade

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where no service manager follows a main process that changes (in a container,
// under another supervisor, in a shell) the first process of a server stays when
// another one takes over: its end would be taken for the server's. It keeps nothing
// but its PID: it passes signals on to the process that serves, and ends as that
// does. When that one hands over in its turn it ends, and its successor becomes a
// child of the first (PR_SET_CHILD_SUBREAPER): there are two processes however many
// upgrades there were.

// SetSubreaper makes children of our children ours when those have ended, or no more.
func SetSubreaper(on bool) error {
	n := uintptr(0)
	if on {
		n = 1
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, n, 0, 0, 0))
}

// withSignalBlocked runs fn with a signal blocked in its thread. It is so in a process
// that fn starts, until that one asks for it (os/signal).
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

// awaitExit returns when a child has ended. How is still to be asked for, by wait or
// by awaitServerExit.
func awaitExit(pid int, _ func() error) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// raise sends this process a signal that does with it what it does by default.
func raise(sig syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signal.Reset(sig)
	var set unix.Sigset_t
	set.Val[(sig-1)/64] |= 1 << (uint(sig-1) % 64)
	unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	unix.Tgkill(os.Getpid(), unix.Gettid(), sig)
}

// awaitServerExit waits until the server has ended, by whatever process it was served last. If
// a signal ended that one, it ends this process too; else its exit status is returned.
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
	// As process 1 we get whatever has lost its parent: only the end of the process
	// that serves counts, once nobody is left to name another one.
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
			return 0, fmt.Errorf("process %d, which served, is gone, and nobody knows how it ended", serves)
		}
	}
}

// childExit is how a child has ended.
type childExit struct {
	pid    int
	status unix.WaitStatus
}
