//go:build !linux

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// loops exist on Linux only: elsewhere every conn has goroutines, and nothing can be handed
// over.
type loops struct{}

func (*loops) open(*Engine) error                     { return nil }
func (*loops) poll() error                            { return nil }
func (*loops) run()                                   {}
func (*loops) stop()                                  {}
func (*loops) probe() func() bool                     { return func() bool { return true } }
func (*loops) freeze(context.Context) (func(), error) { return nil, errNoLoops }
func (*loops) thawReads()                             {}
func (*loops) freezeUnread()                          {}

// loop exists on Linux only.
type loop struct{ engine *Engine }

// cipherSocket exists on Linux only.
type cipherSocket struct{}

// Secure returns the server's end of TLS over a connection, before the handshake.
// ConnFromNet makes a conn of it after that.
func (e *Engine) Secure(c TCP, config *tls.Config) *tls.Conn { return tls.Server(c, config) }

var errNoLoops = errors.New("there are no event loops on this system")

func (c *Conn) startOnLoop(bool) error                    { return errNoLoops }
func (c *Conn) detachOnLoop(netip.AddrPort) HalfCloser    { return nil }
func (c *Conn) releaseFromLoop(netip.AddrPort) HalfCloser { return nil }
func (c *Conn) replaceOnLoop(netip.AddrPort) *Conn        { return nil }
func (c *Conn) startResume()                              {}
func (c *Conn) write([]byte) (int, error)                 { return 0, errNoLoops }
func (c *Conn) closeOnLoop(bool)                          {}

func (l *Listener) descriptor() int                           { return -1 }
func (e *Engine) adoptListener(int, netip.AddrPort) *Listener { return nil }

// AdoptConn and CloseAfterHandover belong to a handover, and are never called.

func (c *Conn) CloseAfterHandover()   {}
func (e *Engine) AdoptConn(int) *Conn { return nil }

// String names what serves connections.
func (e *Engine) String() string { return "goroutines" }

// ErrNoHandover is why an engine cannot be frozen.
var ErrNoHandover = errors.New("connections cannot be handed over on this system")

// CanHandOver reports whether another process can take connections over.
func (e *Engine) CanHandOver() bool { return false }

// NewConn makes a conn of an accepted connection.
func (e *Engine) NewConn(s Socket, _ netip.AddrPort) *Conn { return e.newStream(s.tcp, s.tcp) }

// ConnFromNet makes a conn of a connection that was a net.Conn for a while: c is tcp, or TLS
// by Secure over tcp.
func (e *Engine) ConnFromNet(c HalfCloser, tcp TCP, _ netip.AddrPort) *Conn {
	return e.newStream(c, tcp)
}

// TCPBeneath returns the TCP connection beneath one that Conn.Release, Conn.Detach or a handshake has returned.
func TCPBeneath(c HalfCloser) TCP {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn().(TCP)
	}
	return c.(TCP)
}

// Socket is a connection that was accepted and has no owner yet.
type Socket struct{ tcp *net.TCPConn }

// TCP makes a net.Conn of the connection.
func (s Socket) TCP(netip.AddrPort) TCP { return s.tcp }

// WriteAndClose writes a line, which may be lost, and closes the connection.
func (s Socket) WriteAndClose(line string) {
	s.tcp.SetWriteDeadline(time.Now().Add(time.Second)) // its buffer is empty: it does not wait
	io.WriteString(s.tcp, line)
	s.tcp.Close()
}
