package netsvc

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const readBuffer = 16 << 10 // bytes taken from a socket at a time

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// sock is a connection that needs no buffer while it waits. One goroutine may
// read while another one writes.
type sock struct {
	tcp *net.TCPConn
	raw syscall.RawConn

	// Owned by the reader, for onReadable.
	in    *[]byte
	inN   int
	inErr error

	// Owned by the writer, for onWritable.
	out    []byte
	outN   int
	outErr error
	wait   bool

	deadline sync.Mutex    // held while the write deadline is set by patience or by hurry
	patience time.Duration // how long a write may wait without progress; 0: for ever

	// Kept, as a method value would be allocated for every call.
	readable, writable func(fd uintptr) bool
}

func newSock(c *net.TCPConn) (*sock, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	k := &sock{tcp: c, raw: raw}
	k.readable, k.writable = k.onReadable, k.onWritable
	return k, nil
}

// read waits for input and returns it in a buffer that must go back by done.
// At the end of the stream the error is io.EOF.
func (k *sock) read() ([]byte, error) {
	if err := k.raw.Read(k.readable); err != nil {
		return nil, err
	}
	if k.inErr != nil {
		return nil, k.inErr
	}
	return (*k.in)[:k.inN], nil
}

// done gives back the buffer of the last read.
func (k *sock) done() {
	readBuffers.Put(k.in)
	k.in = nil
}

func (k *sock) onReadable(fd uintptr) bool {
	b := readBuffers.Get().(*[]byte)
	for {
		k.inN, k.inErr = syscall.Read(int(fd), *b)
		if k.inErr != syscall.EINTR {
			break
		}
	}
	if k.inErr == nil && k.inN > 0 {
		k.in = b
		return true
	}
	readBuffers.Put(b)
	if k.inErr == syscall.EAGAIN {
		return false
	}
	if k.inErr == nil {
		k.inErr = io.EOF
	}
	return true
}

// tryWrite writes what the socket takes without waiting.
func (k *sock) tryWrite(p []byte) (int, error) { return k.writeOut(p, false) }

// write waits until the socket takes something of p.
func (k *sock) write(p []byte) (int, error) {
	k.deadline.Lock()
	if k.patience > 0 {
		k.tcp.SetWriteDeadline(time.Now().Add(k.patience))
	}
	k.deadline.Unlock()
	return k.writeOut(p, true)
}

// bePatient bounds how long a write may wait without progress: a peer that
// still takes something now and then gets all that is pending.
func (k *sock) bePatient(d time.Duration) {
	k.deadline.Lock()
	defer k.deadline.Unlock()
	k.patience = d
	k.tcp.SetWriteDeadline(time.Now().Add(d))
}

func (k *sock) writeOut(p []byte, wait bool) (int, error) {
	k.out, k.outN, k.outErr, k.wait = p, 0, nil, wait
	err := k.raw.Write(k.writable)
	k.out = nil
	return k.outN, errors.Join(err, k.outErr)
}

func (k *sock) onWritable(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), k.out)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return !k.wait
		case err != nil:
			k.outErr = err
		default:
			k.outN = n
		}
		return true
	}
}

// hurry bounds all writes from now on together.
func (k *sock) hurry(d time.Duration) {
	k.deadline.Lock()
	defer k.deadline.Unlock()
	k.patience = 0
	k.tcp.SetWriteDeadline(time.Now().Add(d))
}

// wakeReader ends a read that waits, and every later one.
func (k *sock) wakeReader() { k.tcp.SetReadDeadline(time.Unix(1, 0)) }

const (
	readOutTime  = time.Second
	readOutBytes = 1 << 20
)

// closeGently closes the connection so that the peer gets all that was written:
// closing with input unread would reset it. It waits, bounded, for the peer to
// close its side unless heard says that it has.
func (k *sock) closeGently(heard bool) {
	if !heard && k.tcp.CloseWrite() == nil {
		k.tcp.SetReadDeadline(time.Now().Add(readOutTime))
		for n := 0; n < readOutBytes; {
			p, err := k.read()
			if err != nil {
				break
			}
			n += len(p)
			k.done()
		}
	}
	k.tcp.Close()
}

// gone reports whether err says that the peer has vanished or was given up, as
// opposed to something that is worth a log line.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}
