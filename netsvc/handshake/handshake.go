package handshake

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/netsvc/transport"
)

// Timeout is how long all parts of a handshake may take, from New on.
const Timeout = 10 * time.Second

// Errors of ReadHeader and Secure. None of them says more of the peer.
var (
	ErrEnded    = errors.New("the handshake was ended")                           // by Evict or Terminate, or ctx is done
	ErrHeader   = errors.New("the connection does not begin with a PROXY header") // nor within Timeout
	ErrProbe    = errors.New("the connection was closed before a PROXY header")   // a proxy checks that the port is open
	ErrTimedOut = errors.New("the client has not agreed on TLS in time")
	ErrFailed   = errors.New("the client did not agree on TLS, or disconnected")
)

// PlainError is the error of Secure for a client that speaks plain text: its first bytes.
type PlainError struct{ Head [5]byte }

func (e *PlainError) Error() string { return "the client speaks plain text" }

// Handshake is a connection before its first line.
type Handshake struct {
	tcp        transport.TCP
	conn       transport.HalfCloser           // tcp, or TLS over it after Secure
	client     atomic.Pointer[netip.AddrPort] // the proxy, until the client is known
	since      time.Time
	evicted    atomic.Bool
	terminated atomic.Bool
}

// New begins the handshake of a connection that was just accepted from an address. It has deadlines
// until Finish.
func New(c transport.TCP, addr netip.AddrPort) *Handshake {
	h := &Handshake{tcp: c, conn: c, since: time.Now()}
	h.client.Store(&addr)
	c.SetDeadline(h.since.Add(Timeout))
	return h
}

// ReadHeader reads a PROXY header. named says that it names a client: from then on Client returns
// that one. The error is ErrEnded, ErrHeader or ErrProbe.
func (h *Handshake) ReadHeader() (named bool, err error) {
	client, err := readHeader(h.tcp)
	switch {
	case err != nil && h.terminated.Load():
		return false, ErrEnded
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed): // the last: by Abort
		return false, ErrProbe
	case err != nil:
		return false, ErrHeader
	case !client.IsValid(): // the connection is the proxy's own
		return false, nil
	}
	h.client.Store(&client)
	return true, nil
}

// Peek waits for input, for at most Timeout, and returns its first bytes, which stay unread. What has
// not come yet is 0: a client sends the beginning of TLS, or of a request, at once.
func (h *Handshake) Peek() (head [5]byte) {
	raw, err := h.tcp.SyscallConn()
	if err != nil {
		return head
	}
	raw.Read(func(fd uintptr) bool { // an error is met again by the one that reads
		n, _, err := syscall.Recvfrom(int(fd), head[:], syscall.MSG_PEEK)
		return n >= 0 && err == nil || err != syscall.EAGAIN && err != syscall.EINTR
	})
	return head
}

// Secure agrees on TLS with the client. The error is ErrEnded, ErrTimedOut, ErrFailed or a
// *PlainError.
func (h *Handshake) Secure(ctx context.Context, e *transport.Engine, config *tls.Config) error {
	t := e.Secure(h.tcp, config)
	err := t.HandshakeContext(ctx)
	var head tls.RecordHeaderError
	switch {
	case err == nil:
		h.conn = t
		return nil
	case ctx.Err() != nil, h.evicted.Load(), h.terminated.Load():
		return ErrEnded
	case errors.As(err, &head) && head.Conn != nil:
		return &PlainError{head.RecordHeader}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimedOut
	}
	return ErrFailed
}

// Finish makes a conn of the connection, which has no deadline then.
func (h *Handshake) Finish(e *transport.Engine) *transport.Conn {
	return e.ConnFromNet(h.FinishPlain(), h.tcp, h.Client())
}

// FinishPlain returns the connection as it is, for one that reads from it, and ends its deadline.
func (h *Handshake) FinishPlain() transport.HalfCloser {
	h.tcp.SetDeadline(time.Time{})
	return h.conn
}

// Conn returns the connection, for an answer to a client that is refused.
func (h *Handshake) Conn() transport.HalfCloser { return h.conn }

// Client returns the address of the client, or of its proxy as long as that has not named one.
func (h *Handshake) Client() netip.AddrPort { return *h.client.Load() }

// Since returns the time of New.
func (h *Handshake) Since() time.Time { return h.since }

// HungUp reports whether the peer has closed its side, or is gone.
func (h *Handshake) HungUp() bool { return transport.HungUp(h.tcp) }

// Evict ends the handshake so that the client can still be told why.
func (h *Handshake) Evict() {
	h.evicted.Store(true)
	h.tcp.SetReadDeadline(time.Unix(1, 0))
}

// Evicted reports whether Evict was called.
func (h *Handshake) Evicted() bool { return h.evicted.Load() }

// Terminate ends the handshake, and closes the connection.
func (h *Handshake) Terminate() {
	h.terminated.Store(true)
	h.Abort()
}

// Terminated reports whether Terminate was called.
func (h *Handshake) Terminated() bool { return h.terminated.Load() }

// Abort closes the connection. It reports false if it was closed before.
func (h *Handshake) Abort() bool { return h.tcp.Close() == nil }
