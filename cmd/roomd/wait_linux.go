package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where no service manager follows a main process that changes (in a container,
// under another supervisor, in a shell) the first process of a server stays when
// another one takes over: it would be taken for the server's end. It begins once
// more as nothing but a parent that waits, with the same PID: it passes signals on
// to the process that serves, and ends as that does. When that one hands over in
// its turn it ends, and its successor becomes a child of the parent
// (PR_SET_CHILD_SUBREAPER): there are two processes however many upgrades there
// were.

// waitEnv names the descriptor of the relay and the process that serves, in the
// environment of a parent that waits.
const waitEnv = "ROOMD_WAIT"

// adoptOrphans makes children of our children ours when those have ended.
func adoptOrphans(on bool) error {
	n := uintptr(0)
	if on {
		n = 1
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, n, 0, 0, 0))
}

// withBlocked runs fn with signals blocked in its thread. They are so in a process
// that it starts, until that one asks for them (os/signal): none is lost, and none
// ends it.
func withBlocked(fn func() error, signals ...syscall.Signal) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, was unix.Sigset_t
	for _, sig := range signals {
		set.Val[(sig-1)/64] |= 1 << (uint(sig-1) % 64)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &was); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &was, nil)
	return fn()
}

// waitable returns when a child has ended. How is still to be asked for by exit, or
// by the program that this process becomes (stay).
func waitable(pid int, _ func() error) {
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

// stay makes this process the parent that waits for the one that serves. It
// returns only if that is not possible.
func (s *server) stay() error {
	f, err := s.successor.relay.conn.File()
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	env := append(os.Environ(), fmt.Sprintf("%s=%d:%d", waitEnv, f.Fd(), s.successor.cmd.Process.Pid))
	return withBlocked(func() error {
		// From here on what would stop us ends us, and the process that serves stops
		// when it sees that. What came before is passed on.
		signal.Reset(s.stopSignals()...)
		idle := make(chan os.Signal, 1)
		signal.Notify(idle, syscall.SIGHUP)
		signal.Stop(idle) // waits until what has been caught is in its channels
		for {
			select {
			case sig := <-s.direct:
				s.successor.relay.pass(sig.(syscall.Signal))
				continue
			default:
			}
			break
		}
		return os.NewSyscallError("exec", syscall.Exec("/proc/self/exe", os.Args, env))
	}, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
}

// waits reports whether this process is to be a parent that waits, and then
// returns how the server has ended.
func (how launch) waits() (waited bool, err error) {
	v := os.Getenv(waitEnv)
	if v == "" {
		return false, nil
	}
	os.Unsetenv(waitEnv)
	direct := how.catch()
	a, b, _ := strings.Cut(v, ":")
	fd, err := strconv.Atoi(a)
	if err != nil || fd < 3 {
		return true, fmt.Errorf("%s=%q is no descriptor", waitEnv, v)
	}
	pid, err := strconv.Atoi(b)
	if err != nil {
		return true, fmt.Errorf("%s=%q is no process", waitEnv, v)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "relay")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return true, err
	}
	return true, awaitEnd(&relay{conn: c.(*net.UnixConn)}, pid, direct)
}

// awaitEnd waits until the server has ended, by whatever process it was served last,
// and ends this process in the same way.
func awaitEnd(r *relay, serves int, direct <-chan os.Signal) error {
	if err := adoptOrphans(true); err != nil {
		return err
	}
	pids, ends := make(chan int), make(chan ending)
	go func() {
		defer close(pids)
		for {
			pid, err := r.named()
			if err != nil {
				return
			}
			pids <- pid
		}
	}()
	go func() {
		defer close(ends)
		for {
			var e ending
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
		case sig := <-direct:
			r.pass(sig.(syscall.Signal))
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
		status, has := ended[serves]
		switch {
		case pids != nil:
		case has && status.Signaled():
			endBy(status.Signal())
		case has && status.ExitStatus() == exitDone:
			return nil
		case has:
			return exitStatus(status.ExitStatus())
		case ends == nil:
			return fmt.Errorf("process %d, which served, is gone, and nobody knows how it ended", serves)
		}
	}
}

// ending is how a child has ended.
type ending struct {
	pid    int
	status unix.WaitStatus
}
