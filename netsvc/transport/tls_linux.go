package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	recordBytes = 16 << 10 // of plaintext that TLS is given at a time
	// recordCost is what a record costs beside its bytes: they may be one.
	recordCost = 32
	// maxUnsent bounds the ciphertext that waits for a peer: that of one write, and answers
	// to the peer's requests for new keys.
	maxUnsent = 2 * recordBytes
	// closeNotifyTime is for the last record to go out. It is that of crypto/tls.
	closeNotifyTime = 5 * time.Second
)

var errUnread = errors.New("the peer asks for new keys, and does not read the answers")

// cipherSocket is what TLS reads and writes: a TCP connection while goroutines wait for
// it, as in the handshake, and after that the descriptor of a conn on a loop, which never
// waits. A read that meets EAGAIN can be called again: it is a temporary net.Error, after
// which tls.Conn keeps its state. An error of a write is final in tls.Conn. So Write takes
// everything, and keeps what the kernel does not take.
type cipherSocket struct {
	TCP        // nil on a loop
	conn *Conn // nil before

	// plainUnsent is how many bytes TLS was given whose ciphertext the kernel has not taken
	// to the end. Owned by the holder of the write lock.
	plainUnsent int

	// The write lock does not do here: tls.Conn.Read writes alerts, and answers to
	// requests for new keys.
	mu           sync.Mutex
	cipherUnsent []byte // ciphertext that the kernel has not taken
	err          error  // of a write, for good
}

// Secure returns the server's end of TLS over a connection, before the handshake. ConnOver
// makes a conn of it after that.
func (e *Engine) Secure(c TCP, config *tls.Config) *tls.Conn {
	if e.Portable {
		return tls.Server(c, config)
	}
	return tls.Server(&cipherSocket{TCP: c}, config)
}

// cipherSocketOf is the cipherSocket of a connection by Secure; nil: it has none.
func cipherSocketOf(c HalfCloser) (k *cipherSocket) {
	if t, ok := c.(*tls.Conn); ok {
		k, _ = t.NetConn().(*cipherSocket)
	}
	return k
}

func (k *cipherSocket) Read(p []byte) (int, error) {
	if k.conn == nil {
		return k.TCP.Read(p)
	}
	for {
		n, err := k.conn.recv(p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (k *cipherSocket) Write(p []byte) (n int, err error) {
	if k.conn == nil {
		return k.TCP.Write(p)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	waiting := len(k.cipherUnsent) > 0
	if !waiting && k.err == nil {
		n, k.err = k.conn.send(p)
	}
	if k.err == nil && len(k.cipherUnsent)+len(p)-n > maxUnsent {
		k.err = errUnread
	}
	if k.err != nil {
		return 0, k.err
	}
	if n < len(p) {
		if k.cipherUnsent = append(k.cipherUnsent, p[n:]...); !waiting {
			k.flushLocked()
		} // else the loop does it, as the handler waits for Writable
	}
	return len(p), k.err
}

// flush sends what is kept, and reports whether nothing is left.
func (k *cipherSocket) flush() (gone bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cipherUnsent) > 0 {
		k.flushLocked()
	}
	return len(k.cipherUnsent) == 0, k.err
}

// flushLocked sends what is kept until the kernel takes no more. The conn owes it before
// the kernel is asked: the event that it takes more may come at once. mu is held.
func (k *cipherSocket) flushLocked() {
	k.conn.flags.Or(hasUnsent)
	for len(k.cipherUnsent) > 0 && k.err == nil {
		n, err := k.conn.send(k.cipherUnsent)
		if n == 0 && err == nil {
			return
		}
		k.cipherUnsent, k.err = k.cipherUnsent[n:], err
	}
	k.cipherUnsent = nil
	k.conn.flags.And(^uint32(hasUnsent))
}

// close has nothing sent any more.
func (k *cipherSocket) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cipherUnsent, k.err = nil, net.ErrClosed
}

// SetWriteDeadline is called by TLS before its last record.
func (k *cipherSocket) SetWriteDeadline(t time.Time) error {
	if k.conn == nil {
		return k.TCP.SetWriteDeadline(t)
	}
	return nil
}

// write is Conn.Write behind TLS. Bytes count as taken when the kernel has all of their
// ciphertext. Until then the caller's next write begins with them.
func (k *cipherSocket) write(t io.Writer, p []byte) (n int, err error) {
	for {
		if gone, err := k.flush(); !gone || err != nil {
			return n, err
		}
		took := min(k.plainUnsent, len(p)-n)
		n, k.plainUnsent = n+took, k.plainUnsent-took
		if n == len(p) {
			return n, nil
		}
		if k.plainUnsent, err = t.Write(p[n:min(n+recordBytes, len(p))]); err != nil {
			return n, err
		}
	}
}

// closeWrite tells the peer that nothing more comes. Behind TLS it waits a bounded time
// until the kernel has taken that. It reports false if that has failed.
func (c *Conn) closeWrite() bool {
	if c.stream == nil {
		return unix.Shutdown(int(c.fd), unix.SHUT_WR) == nil
	}
	if c.stream.conn.CloseWrite() != nil {
		return false
	}
	for end := time.Now().Add(closeNotifyTime); ; {
		gone, err := c.stream.cipher.flush()
		if gone || err != nil || !c.waitSignal(end) {
			return gone && err == nil
		}
	}
}
