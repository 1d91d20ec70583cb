package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

// tcpRTOMax is TCP_RTO_MAX_MS of Linux 6.15: the longest pause between two
// retransmissions or window probes. Older kernels refuse it.
const tcpRTOMax = 44

// probePeer reports whether bytes wait for the peer's acknowledgement, and
// whether the kernel has been sending repeatedly, and the peer has
// acknowledged nothing for the time limit. Keepalive does not see this, as it runs on
// idle connections only. A peer that is there but does not read answers the
// kernel's window probes, so it is told apart (tcp(7), tcp_probe_timer).
func probePeer(fd uintptr, limit time.Duration) (waiting, silent bool) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false, false
	}
	waiting = info.Unacked > 0 || info.Notsent_bytes > 0 || info.Probes > 0
	silent = (info.Probes > 0 || info.Retransmits > 0) && time.Duration(info.Last_ack_recv)*time.Millisecond > limit
	return waiting, silent
}

// wasReset reports whether the end of the stream was a reset. The error of a
// reset is given once, and a writer may have had it: then reading gives EOF.
func wasReset(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == unix.BPF_TCP_CLOSE
}

// hungUp reports whether the peer has closed its side, or is gone.
func hungUp(fd uintptr) bool { return isReady(fd, unix.POLLRDHUP) }

// hasUnread reports whether something is to be read, or to be accepted.
func hasUnread(fd uintptr) bool { return isReady(fd, unix.POLLIN) }

// isReady reports whether one of the events is there, or an error or the end is.
func isReady(fd uintptr, events int16) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 0)
	return n > 0 && err == nil
}

// hasInput reports whether a read would not wait, and the error that it would
// have met.
func hasInput(fd uintptr) (bool, error) {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN || err == unix.EINTR {
		return err == unix.EINTR, nil
	}
	return true, err
}
