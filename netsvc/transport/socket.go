package transport

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// readBuffers are what goroutines read into.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// HalfCloser is a connection of which one side can be closed alone.
type HalfCloser interface {
	net.Conn
	CloseWrite() error
}

// TCP is a TCP connection.
type TCP interface {
	HalfCloser
	SyscallConn() (syscall.RawConn, error)
}

// CloseLingering ends a connection so that the peer gets what was written: it waits a
// bounded time until the peer has closed its side, unless peerClosed says that it has.
func CloseLingering(c HalfCloser, peerClosed bool) {
	if !peerClosed && c.CloseWrite() == nil {
		linger(c)
	}
	c.Close()
}

// linger reads until the peer closes its side, for a bounded time: to close a connection
// with unread input would reset it, and the peer would lose what was written last.
func linger(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(lingerTime))
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	for n := 0; n < lingerBytes; {
		got, err := c.Read(*b)
		if err != nil {
			return
		}
		n += got
	}
}

func control(c TCP, fn func(fd uintptr)) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(fn) // fails for a closed connection only
	}
}
