//go:build !linux

package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Listener is a listening socket. While it is open a goroutine accepts connections from it
// and gives each to admit.
type Listener struct {
	Addr netip.AddrPort // read-only

	ln       *net.TCPListener
	engine   *Engine
	admit    func(Socket, netip.AddrPort)
	busyLine string
	quit     chan struct{} // closed by DrainAndClose
	ended    chan struct{} // closed when the goroutine ends
	once     sync.Once
}

func (e *Engine) newListener(ln *net.TCPListener) *Listener {
	return &Listener{Addr: ln.Addr().(*net.TCPAddr).AddrPort(), ln: ln, engine: e, quit: make(chan struct{}), ended: make(chan struct{})}
}

// Listen binds a port of an address. With port 0 the system chooses the port.
func (e *Engine) Listen(a netip.Addr, port int) (*Listener, error) {
	third := max(e.DeadPeer()/6, time.Second) // idle for two, and then three probes
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: third * 2, Interval: third, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) {
				err = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer),
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, recvBuffer))
			}), err)
		},
	}
	network := "tcp4"
	if a.Is6() {
		network = "tcp6"
	}
	ln, err := lc.Listen(context.Background(), network, netip.AddrPortFrom(a, uint16(port)).String())
	if err != nil {
		return nil, err
	}
	return e.newListener(ln.(*net.TCPListener)), nil
}

// UpdateOptions does nothing: accepted connections have the options of Listen.
func (l *Listener) UpdateOptions() error { return nil }

// ListenGiven makes a listener of a descriptor that listens already.
func (e *Engine) ListenGiven(fd int) (*Listener, error) {
	f := os.NewFile(uintptr(fd), "master")
	defer f.Close() // FileListener duplicates the descriptor
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		ln.Close()
		return nil, errors.New("it is not a TCP socket")
	}
	return e.newListener(tcp), nil
}

// HasBacklog knows nothing: false.
func (l *Listener) HasBacklog() bool { return false }

// Open begins to accept connections. Each goes to admit, which must not wait; a connection
// that there is no descriptor for is told busyLine.
func (l *Listener) Open(admit func(Socket, netip.AddrPort), busyLine string) error {
	l.admit, l.busyLine = admit, busyLine
	go l.accept()
	return nil
}

// accept accepts connections until Close, or until DrainAndClose and an empty backlog.
func (l *Listener) accept() {
	defer close(l.ended)
	var until time.Time // the end of draining; zero: it has not begun
	empty := 0
	for {
		select {
		case <-l.quit:
			// A round without a connection says that the backlog is empty; but
			// DrainAndClose may have cut the first round short.
			now := time.Now()
			if until.IsZero() {
				until = now.Add(drainTime)
			}
			if !now.Before(until) {
				l.ln.Close()
				return
			}
			l.ln.SetDeadline(now.Add(drainGrace))
		default:
		}
		c, err := l.ln.AcceptTCP()
		switch {
		case err == nil:
			l.engine.Accepted()
			a, _ := c.RemoteAddr().(*net.TCPAddr)
			l.admit(Socket{c}, netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()))
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			if empty++; !until.IsZero() && empty > 1 {
				l.ln.Close()
				return
			}
		default:
			if l.engine.reserve.refuse(l, err) {
				continue
			}
			l.engine.Log.Warn("connection cannot be accepted", "listener", l.Addr.String(), "error", err)
			t := time.NewTimer(20 * time.Millisecond)
			select {
			case <-t.C:
			case <-l.quit:
			}
			t.Stop()
		}
	}
}

// DrainAndClose stops listening. The connections in the backlog are admitted first, which by
// then means that they are told why they are refused.
func (l *Listener) DrainAndClose() {
	if l.admit == nil {
		l.ln.Close()
		return
	}
	l.once.Do(func() {
		close(l.quit)
		l.ln.SetDeadline(time.Unix(1, 0))
	})
	<-l.ended
}

// Close stops listening at once.
func (l *Listener) Close() { l.ln.Close() }

// unlisten stops listening as DrainAndClose does, so that another socket can listen on an
// address that covers this one. relisten or release must follow.
func (l *Listener) unlisten() { l.DrainAndClose() }

// relisten listens again on an address after unlisten.
func (l *Listener) relisten() (*Listener, error) {
	return l.engine.Listen(l.Addr.Addr(), int(l.Addr.Port()))
}

// release gives up an address after unlisten.
func (l *Listener) release() {}

// refuse accepts one connection with the reserve, tells it busyLine, and closes it. It
// reports false if err is another error, or the reserve could not be used.
func (v *reserve) refuse(l *Listener, err error) bool {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.spend() {
		return false
	}
	defer v.fill()
	l.ln.SetDeadline(time.Now().Add(time.Millisecond))
	c, err := l.ln.AcceptTCP()
	l.ln.SetDeadline(time.Time{})
	if err != nil {
		return false
	}
	l.engine.Accepted()
	l.engine.OutOfDescriptors()
	c.SetWriteDeadline(time.Now().Add(time.Millisecond))
	c.Write([]byte(l.busyLine))
	c.Close()
	return true
}
