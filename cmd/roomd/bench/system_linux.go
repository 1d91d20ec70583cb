package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the time that all threads of a process have used, user and system; 0:
// it cannot be read.
func cpuTime(pid int) time.Duration {
	// The clock of a process (clock_getcpuclockid(3)) counts in nanoseconds,
	// /proc/PID/stat in hundredths of a second.
	const sched = 2
	var ts unix.Timespec
	if pid == 0 || unix.ClockGettime(int32(^pid<<3|sched), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// residentBytes returns the memory of a process that is in RAM.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}

// wakeUps returns how often the threads of a process have blocked, and so been woken.
func wakeUps(pid int) (n int64, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("process %d cannot be read", pid)
	}
	for _, t := range tasks {
		text, _ := os.ReadFile(t) // empty: the thread has ended
		k, _ := strconv.ParseInt(firstMatch(text, `\nvoluntary_ctxt_switches:\s*(\d+)`), 10, 64)
		n += k
	}
	return n, nil
}

// listenerOf finds the process that listens at an address of this machine; 0: there is
// none, or it cannot be read.
func listenerOf(at netip.AddrPort) int {
	if ours, _ := net.InterfaceAddrs(); !at.Addr().IsLoopback() && !slices.ContainsFunc(ours, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == at.Addr()
	}) {
		return 0
	}
	sockets := make(map[string]bool)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(name)
		for line := range strings.Lines(string(text)) {
			w := strings.Fields(line)
			if len(w) > 9 && w[3] == "0A" && strings.HasSuffix(w[1], fmt.Sprintf(":%04X", at.Port())) {
				sockets["socket:["+w[9]+"]"] = true
			}
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && sockets[to] {
			pid, _ := strconv.Atoi(strings.Split(l, "/")[2])
			return pid
		}
	}
	return 0
}

// pin keeps the calling thread, or with all every thread of this process, on a
// processor. Processes that it starts inherit that.
func pin(cpu int, all bool) error {
	var set unix.CPUSet
	set.Set(cpu)
	if !all {
		return unix.SchedSetaffinity(0, &set)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, _ := strconv.Atoi(t.Name())
		if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("keep to processor %d: %w", cpu, err)
		}
	}
	return nil
}

// setTimerSlack lets the kernel put off the timers of the calling thread, and of the
// processes that it starts, by a millisecond (prctl(2)).
func setTimerSlack() error {
	return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(time.Millisecond), 0, 0, 0)
}

// killWithParent lets the system kill the process when the thread that starts it ends,
// whatever the cause.
func killWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// raiseDescriptors gives this process, and those that it starts, n descriptors or as many
// as it may have, and returns their number.
func raiseDescriptors(n uint64) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	if l.Cur >= n {
		return l.Cur, nil
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: max(l.Max, n)}) == nil {
		return n, nil
	}
	l.Cur = l.Max
	return l.Cur, unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
}

// bindSource sets the source address of a connection. The kernel chooses the port when it
// connects, so that each address has all its ports for each destination.
func bindSource(fd int, addr [4]byte) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: addr}))
}
