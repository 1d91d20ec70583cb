//go:build !linux

package netsvc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// loops are had on Linux only.
type loops struct{}

func openLoops(func(string, ...any)) (*loops, error) { return &loops{}, nil }

func (*loops) poll() error { return nil }
func (*loops) run()        {}
func (*loops) stop()       {}

func (*loops) turn() func() bool { return func() bool { return true } }

// socket is a connection that was accepted and is nobody's yet.
type socket struct{ tcp *net.TCPConn }

// listener is a listening port, and the goroutine that accepts from it and gives
// each connection to admit.
type listener struct {
	ln    *net.TCPListener
	addr  netip.AddrPort
	svc   *Service
	admit func(socket, netip.AddrPort)
	busy  string
	quit  chan struct{} // closed by end
	ended chan struct{} // closed when the goroutine has
	once  sync.Once
}

// listenOn binds a port on an address. Port 0 lets the system choose.
func (s *Service) listenOn(a netip.Addr, port int) (*listener, error) {
	third := max(s.opts().DeadPeer/6, time.Second) // idle for two, and then three probes
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
	tcp := ln.(*net.TCPListener)
	return &listener{ln: tcp, addr: tcp.Addr().(*net.TCPAddr).AddrPort(), svc: s, quit: make(chan struct{}), ended: make(chan struct{})}, nil
}

// retune does nothing: what is accepted has what was set at first.
func (l *listener) retune() error { return nil }

// listenGiven makes a listener of a descriptor that listens already.
func (s *Service) listenGiven(fd int) (*listener, error) {
	f := os.NewFile(uintptr(fd), "master")
	defer f.Close() // FileListener has one of its own
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		ln.Close()
		return nil, errors.New("it is not a TCP socket")
	}
	return &listener{ln: tcp, addr: tcp.Addr().(*net.TCPAddr).AddrPort(), svc: s, quit: make(chan struct{}), ended: make(chan struct{})}, nil
}

// waited is known on Linux only.
func (l *listener) waited() bool { return false }

func (l *listener) port() int { return int(l.addr.Port()) }

// open begins to accept.
func (l *listener) open(admit func(socket, netip.AddrPort), busy string) error {
	l.admit, l.busy = admit, busy
	go l.accept()
	return nil
}

// accept accepts until close, or until end and nobody is left in the backlog.
func (l *listener) accept() {
	defer close(l.ended)
	var until time.Time // when the end has an end; zero: it has not begun
	empty := 0
	for {
		select {
		case <-l.quit:
			// A round in which nobody comes says that the backlog is empty; the
			// first one may have been cut short by end.
			now := time.Now()
			if until.IsZero() {
				until = now.Add(backlogTime)
			}
			if !now.Before(until) {
				l.ln.Close()
				return
			}
			l.ln.SetDeadline(now.Add(lastRound))
		default:
		}
		c, err := l.ln.AcceptTCP()
		switch {
		case err == nil:
			l.svc.counters.accepted.Add(1)
			a, _ := c.RemoteAddr().(*net.TCPAddr)
			l.admit(socket{c}, netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()))
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			if empty++; !until.IsZero() && empty > 1 {
				l.ln.Close()
				return
			}
		default:
			if l.svc.reserve.refuse(l, err, l.busy) {
				continue
			}
			l.svc.log.Warn("accept", "listener", l.addr.String(), "error", err)
			t := time.NewTimer(20 * time.Millisecond)
			select {
			case <-t.C:
			case <-l.quit:
			}
			t.Stop()
		}
	}
}

// end stops to listen. Who connected before is in the backlog and is admitted
// first, which by then means to be told why not.
func (l *listener) end() {
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

// close stops to listen at once.
func (l *listener) close() { l.ln.Close() }

// yield stops listening as end does, so that another socket can listen on an
// address that covers this one; after it comes again or release.
func (l *listener) yield() { l.end() }

// again listens once more on an address after yield.
func (l *listener) again() (*listener, error) {
	return l.svc.listenOn(l.addr.Addr(), l.port())
}

// release gives up an address after yield.
func (l *listener) release() {}

// refuse accepts one connection on the reserve, says busy, and closes it. It
// reports false if err is something else, or the reserve could not be used.
func (v *reserve) refuse(l *listener, err error, busy string) bool {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file == nil {
		v.fill()
		return false
	}
	v.file.Close()
	v.file = nil
	defer v.fill()
	l.ln.SetDeadline(time.Now().Add(time.Millisecond))
	c, err := l.ln.AcceptTCP()
	l.ln.SetDeadline(time.Time{})
	if err != nil {
		return false
	}
	l.svc.counters.accepted.Add(1)
	l.svc.counters.refused(noRoomLeft)
	c.SetWriteDeadline(time.Now().Add(time.Millisecond))
	c.Write([]byte(busy))
	c.Close()
	return true
}

// engine is what serves plain connections.
func (s *Service) engine() string { return "goroutines" }

// link makes a member's connection of it.
func (s *Service) link(c socket, _ netip.AddrPort) link { return newStream(c.tcp) }

// linkOf makes a member's connection of one that was a net.Conn for a while.
func (s *Service) linkOf(c conn, _ netip.AddrPort) link { return newStream(c) }

// conn makes a net.Conn of it.
func (c socket) conn(netip.AddrPort) conn { return c.tcp }

// tell writes a line, of which nobody waits to hear, and closes.
func (c socket) tell(line string) {
	c.tcp.SetWriteDeadline(time.Now().Add(time.Second)) // its buffer is empty: it does not wait
	io.WriteString(c.tcp, line)
	c.tcp.Close()
}
