package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

// tcpRTOMax is TCP_RTO_MAX_MS of Linux 6.15: the longest pause between two
// retransmissions or window probes. Older kernels refuse it.
const tcpRTOMax = 44

// peerState is what the kernel knows of the other end of a connection.
type peerState struct {
	unacked   bool          // bytes wait for an acknowledgement
	resending bool          // the kernel sends them, or window probes, repeatedly
	silence   time.Duration // since the last acknowledgement
}

// probePeer finds peers that vanished while bytes were on their way to them: keepalive runs
// on idle connections only. A peer that is there and does not read acknowledges the kernel's
// window probes, so it is told apart (tcp(7), tcp_probe_timer).
func probePeer(fd uintptr) peerState {
	var info unix.TCPInfo
	if !getTCPInfo(fd, &info) {
		return peerState{}
	}
	return peerState{
		unacked:   info.Unacked > 0 || info.Notsent_bytes > 0 || info.Probes > 0,
		resending: info.Probes > 0 || info.Retransmits > 0,
		silence:   time.Duration(info.Last_ack_recv) * time.Millisecond,
	}
}

// wasReset reports whether the connection ended with a reset. The kernel gives that error
// once, and a write may have met it: the next read then meets the end of the input.
func wasReset(fd uintptr) bool {
	var info unix.TCPInfo
	return getTCPInfo(fd, &info) && info.State == unix.BPF_TCP_CLOSE
}

// hungUp reports whether the peer has closed its side, or the connection is broken.
func hungUp(fd uintptr) bool { return isReady(fd, unix.POLLRDHUP) }

// hasUnread reports whether there is input to read, or a connection to accept.
func hasUnread(fd uintptr) bool { return isReady(fd, unix.POLLIN) }

// isReady reports whether one of the events, an error or a hang-up has come.
func isReady(fd uintptr, events int16) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, 0)
	return n > 0 && err == nil
}

// canRead reports whether a read would not wait, and the error that the read would have met.
func canRead(fd uintptr) (bool, error) {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN || err == unix.EINTR {
		return err == unix.EINTR, nil
	}
	return true, err
}

// outQueue is what the kernel has of a conn's output.
type outQueue struct {
	bytes int // that the peer has not acknowledged
	known bool
}

// askOutQueue asks the kernel (SIOCOUTQ: tcp(7)), which counts the end of the output as one more
// byte. With ended the output may have ended.
func askOutQueue(fd uintptr, ended bool) (q outQueue) {
	hasEnd := false
	if ended { // asked first: an end that comes in between counts as a byte
		var info unix.TCPInfo
		hasEnd = getTCPInfo(fd, &info) && (info.State == unix.BPF_TCP_FIN_WAIT1 || info.State == unix.BPF_TCP_CLOSING || info.State == unix.BPF_TCP_LAST_ACK)
	}
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if hasEnd && n > 0 {
		n--
	}
	return outQueue{n, err == nil}
}

func (c *Conn) unacked() (uint32, bool) {
	if c.loop == nil && c.stream.conn != c.stream.tcp {
		return 0, false // TLS that counts no ciphertext
	}
	unsent := 0
	if c.stream != nil && c.stream.cipher != nil {
		k := c.stream.cipher
		k.mu.Lock() // bytes that are being sent would be in neither place
		defer k.mu.Unlock()
		unsent = len(k.cipherUnsent)
	}
	q := ask(c, func(fd uintptr) outQueue { return askOutQueue(fd, c.is(isAborted)) })
	return uint32(q.bytes + unsent), q.known
}

func (c *Conn) onWire(written uint32) uint32 {
	if c.stream == nil || c.stream.cipher == nil {
		return written
	}
	k := c.stream.cipher
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.given
}
