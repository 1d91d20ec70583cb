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
	recordBytes = 16 << 10 // plaintext that TLS is given at a time
	// recordCost is what a record counts for beside its bytes: it may have a single one.
	recordCost = 32
	// maxUnsent bounds the ciphertext that waits for a peer: one write, and answers to the
	// peer's requests for new keys.
	maxUnsent = 2 * recordBytes
	// closeNotifyTime bounds the sending of the last record, as in crypto/tls.
	closeNotifyTime = 5 * time.Second
)

var errUnread = errors.New("the peer asks for new keys, and does not read the answers")

// cipherSocket is the connection beneath TLS. During the handshake it is a TCP connection
// that goroutines wait for, and after that the descriptor of a conn on an event loop, which
// never waits. A read that meets EAGAIN can be repeated: EAGAIN is a temporary net.Error, and
// tls.Conn keeps its state then. The error of a write is final in tls.Conn: so Write takes
// all bytes, and keeps those that the kernel does not take.
type cipherSocket struct {
	TCP        // nil after the handshake
	conn *Conn // nil during the handshake

	// plainUnsent counts the bytes given to TLS whose ciphertext the kernel has not taken
	// whole. Owned by the holder of the write lock.
	plainUnsent int

	// The write lock is not enough here: tls.Conn.Read writes alerts, and answers to requests
	// for new keys.
	mu           sync.Mutex
	cipherUnsent []byte // ciphertext that the kernel has not taken
	given        uint32 // bytes of ciphertext that Write has taken since the handshake, modulo 1 << 32
	err          error  // of a write, for good
}

// Secure returns the server's end of TLS over a connection, before the handshake.
// ConnFromNet makes a conn of it after that.
func (e *Engine) Secure(c TCP, config *tls.Config) *tls.Conn {
	if e.Portable {
		return tls.Server(c, config)
	}
	return tls.Server(&cipherSocket{TCP: c}, config)
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
	k.given += uint32(len(p))
	if n < len(p) {
		if k.cipherUnsent = append(k.cipherUnsent, p[n:]...); !waiting {
			k.flushLocked()
		} // else the loop does it, before Writable
	}
	return len(p), k.err
}

// flush sends the unsent ciphertext, and reports whether the kernel has taken all of it.
func (k *cipherSocket) flush() (done bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cipherUnsent) > 0 {
		k.flushLocked()
	}
	return len(k.cipherUnsent) == 0, k.err
}

// flushLocked sends the unsent ciphertext until the kernel takes no more. The flag is set
// before: the event that the kernel takes more may come at once. mu is held.
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

// close ends sending.
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

// write is Conn.Write behind TLS. Bytes count as written when the kernel has all of their
// ciphertext: until then the caller's next write begins with them.
func (k *cipherSocket) write(t io.Writer, p []byte) (n int, err error) {
	for {
		if done, err := k.flush(); !done || err != nil {
			return n, err
		}
		sent := min(k.plainUnsent, len(p)-n)
		n, k.plainUnsent = n+sent, k.plainUnsent-sent
		if n == len(p) {
			return n, nil
		}
		if k.plainUnsent, err = t.Write(p[n:min(n+recordBytes, len(p))]); err != nil {
			return n, err
		}
	}
}

// closeWrite tells the peer that nothing more comes, and reports whether that has worked.
// Behind TLS it waits a bounded time until the kernel has taken the last record.
func (c *Conn) closeWrite() bool {
	if c.stream == nil {
		return unix.Shutdown(int(c.fd), unix.SHUT_WR) == nil
	}
	if c.stream.conn.CloseWrite() != nil {
		return false
	}
	for end := time.Now().Add(closeNotifyTime); ; {
		done, err := c.stream.cipher.flush()
		if done || err != nil || !c.waitSignal(end) {
			return done && err == nil
		}
	}
}
