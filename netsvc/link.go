package netsvc

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// link is a member's connection. There are two kinds: direct ones, plain TCP
// on a raw descriptor that an event loop serves, which never wait; and streams,
// anything else, with a goroutine that reads and one that writes. Both hand what
// they read to the member's input and are given what its pump writes.
//
// start and close are called once, by who registers the member and by who ends
// it. write is for who has the member's hold. The rest may be called by anybody
// until close.
type link interface {
	// unused gives the connection back, if start was not called or failed.
	unused(remote netip.AddrPort) halfCloser
	// start begins to read, with the member's leftover if it has one. It ends by
	// calling m.finish, once. After an error nothing was begun. Room.mu is held.
	start(m *Member) error
	// write gives the connection what it takes of p. If that is not all, it is
	// full, and m.writable is called once it takes more. A stream waits instead.
	write(p []byte) (int, error)
	// nudge tells a stream's writer that something is pending. It reports false
	// if there is none: then the caller writes.
	nudge() bool
	// wakeReader makes who reads see that the member has ended.
	wakeReader()
	// abort breaks the connection: every write fails from now on, and every read
	// once what has come is read.
	abort()
	// close lets the peer have what was written, waiting a bounded time for it
	// to close its side unless heard says that it has, and closes.
	close(heard bool)
	// movable reports whether another process can go on with the connection.
	movable() bool
	// unanswered tells whether bytes wait for the peer's acknowledgement, and
	// whether the kernel has been sending to it in vain for that long.
	unanswered(limit time.Duration) (waiting, silent bool)
	// wasReset tells whether the end of the stream was a reset.
	wasReset() bool
	// hungUp tells whether the peer has closed its side, or is gone.
	hungUp() bool
	// hasInput tells whether input has come that is not handled yet.
	hasInput() bool
}

const (
	readOutTime  = time.Second // for the peer to close its side
	readOutBytes = 1 << 20
)

// gone reports whether err says that the peer has vanished or was given up, as
// opposed to something that is worth a log line.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}
