package transport

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const readBuffer = 16 << 10 // bytes taken from a connection at a time

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// HalfCloser is a connection of which our side can be closed alone.
type HalfCloser interface {
	net.Conn
	CloseWrite() error
}

// TCP is a TCP connection.
type TCP interface {
	HalfCloser
	SyscallConn() (syscall.RawConn, error)
}

// IsPeerGone reports whether an error says that the peer has vanished or was given up, as
// opposed to something that is worth a log line.
func IsPeerGone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// readTCP waits for input, without a buffer, and returns it in one that must go back
// by done. fit returns the part of a buffer to read into.
func readTCP(c TCP, fit func([]byte) []byte) (p []byte, done func(), err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var met error // the error of a reset is given once
	err = raw.Read(func(fd uintptr) (ok bool) {
		ok, met = hasInput(fd)
		return ok
	})
	if err := cmp.Or(err, met); err != nil {
		return nil, nil, err
	}
	return readConn(c, fit)
}

// readConn is ReadTCP for any connection: it holds its buffer while it waits.
func readConn(c net.Conn, fit func([]byte) []byte) (p []byte, done func(), err error) {
	b := readBuffers.Get().(*[]byte)
	n, err := c.Read(fit(*b))
	if n > 0 {
		return (*b)[:n], func() { readBuffers.Put(b) }, nil
	}
	readBuffers.Put(b)
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, nil, err
}

// CloseLingering ends a connection so that the peer gets what was written: it waits a
// bounded time for the peer to close its side, unless heard says that it has.
func CloseLingering(c HalfCloser, heard bool) {
	if !heard && c.CloseWrite() == nil {
		linger(c)
	}
	c.Close()
}

// linger reads until the peer closes its side, for a bounded time: closing with
// input unread would reset the connection, and what was written last be lost.
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

// HungUp reports whether the peer has closed its side, or is gone.
func HungUp(c TCP) (closed bool) {
	control(c, func(fd uintptr) { closed = hungUp(fd) })
	return closed
}

func control(c TCP, fn func(fd uintptr)) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(fn) // fails for a closed connection only
	}
}
