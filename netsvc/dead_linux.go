package netsvc

import (
	"time"

	"golang.org/x/sys/unix"
)

// tcpRTOMax is TCP_RTO_MAX_MS of Linux 6.15: the longest pause between two
// retransmissions or window probes. Older kernels refuse it.
const tcpRTOMax = 44

// unanswered reports whether the kernel has been sending to the peer again and
// again, and the peer has acknowledged nothing for so long. Keepalive does not
// see this, as it runs on idle connections only. A peer that is there but does
// not read answers the kernel's window probes, so it is told apart.
func (k *sock) unanswered(limit time.Duration) bool {
	silent := false
	k.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		silent = err == nil && (info.Probes > 0 || info.Retransmits > 0) &&
			time.Duration(info.Last_ack_recv)*time.Millisecond > limit
	})
	return silent
}

// wasReset reports whether the end of the stream was a reset. The error of a
// reset is given once, and a writer may have had it: then reading gives EOF.
func (k *sock) wasReset() bool {
	reset := false
	k.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		reset = err == nil && info.State == unix.BPF_TCP_CLOSE
	})
	return reset
}

// tuneListener sets what accepted connections inherit.
func tuneListener(fd uintptr, deadPeer time.Duration) error {
	// Best effort: without it a peer that vanishes after a long pause is
	// noticed later.
	unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMax, int(max(deadPeer/6, time.Second).Milliseconds()))
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
}
