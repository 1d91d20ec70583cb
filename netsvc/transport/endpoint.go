package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	sendBuffer = 128 << 10 // SO_SNDBUF: a larger one hides how far a member lags
	// recvBuffer is SO_RCVBUF: a larger one hides from a sender that it is throttled, and
	// thousands of floods would take gigabytes of the kernel.
	recvBuffer = 64 << 10

	// DrainAndClose admits at most so many connections of a backlog, for this time at most: a
	// flood may fill the backlog faster than it is emptied. The grace is for clients that are
	// half connected at that moment.
	drainMost  = 1 << 15
	drainTime  = time.Second
	drainGrace = 10 * time.Millisecond
)

// Endpoint is all listeners of one port. Its fields are read-only once other goroutines have
// it.
type Endpoint struct {
	Port      int
	Requested []netip.Addr // the addresses that were asked for; nil: the descriptors came from another process
	Listeners []*Listener
}

// Open opens each listener.
func (p *Endpoint) Open(admit func(Socket, netip.AddrPort), busyLine string) error {
	for _, l := range p.Listeners {
		if err := l.Open(admit, busyLine); err != nil {
			return err
		}
	}
	return nil
}

// DrainAndClose stops listening. The connections in the backlogs are admitted first, which by
// then means that they are told why they are refused. It takes a second at most for each
// listener.
func (p *Endpoint) DrainAndClose() {
	for _, l := range p.Listeners {
		l.DrainAndClose()
	}
}

// Close stops listening at once.
func (p *Endpoint) Close() {
	for _, l := range p.Listeners {
		l.Close()
	}
}

// HasBacklog reports whether a connection waits to be accepted.
func (p *Endpoint) HasBacklog() bool { return slices.ContainsFunc(p.Listeners, (*Listener).HasBacklog) }

// HandOver returns the addresses and the descriptors, for Adopt in another process. A nil
// endpoint has none.
func (p *Endpoint) HandOver() (addrs []netip.AddrPort, fds []int) {
	addrs = []netip.AddrPort{}
	if p == nil {
		return addrs, nil
	}
	for _, l := range p.Listeners {
		addrs, fds = append(addrs, l.Addr), append(fds, l.descriptor())
	}
	return addrs, fds
}

// Adopt makes an endpoint of what HandOver has returned. Without addresses it returns nil.
func (e *Engine) Adopt(addrs []netip.AddrPort, fds []int) (*Endpoint, error) {
	if len(addrs) != len(fds) {
		return nil, fmt.Errorf("%d addresses came with %d descriptors", len(addrs), len(fds))
	}
	if len(addrs) == 0 {
		return nil, nil
	}
	p := &Endpoint{Port: int(addrs[0].Port())}
	for i, a := range addrs {
		p.Listeners = append(p.Listeners, e.adoptListener(fds[i], a))
	}
	return p, nil
}

// errNoInterface is the error for an address whose zone is no interface.
var errNoInterface = errors.New("there is no such interface")

// IsPortInUse reports whether a bind failed because another program has the port.
func IsPortInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// IsAddrMissing reports whether a bind failed because the machine lacks the address.
func IsAddrMissing(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, errNoInterface)
}

// BindReason says to people why a bind failed.
func BindReason(port int, err error) string {
	if IsPortInUse(err) {
		return fmt.Sprintf("port %d is in use by another program", port)
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Sprintf("port %d: %v", port, err)
}

// AddrMissingReason is BindReason for an address that is tried again.
func AddrMissingReason(port int, err error) string {
	switch {
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return "this machine has no IPv6"
	case IsAddrMissing(err):
		return "this machine does not have the address"
	}
	return BindReason(port, err)
}

// reserve is a descriptor that is kept for the moment when there is no other one: without it
// connections could not even be refused, and listeners would spin.
type reserve struct {
	mu   sync.Mutex
	file *os.File
}

func (v *reserve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fill()
}

// fill takes a descriptor, if there is one. mu is held.
func (v *reserve) fill() { v.file, _ = os.Open(os.DevNull) }

// spend gives up the descriptor. It reports false, and tries to take one, if there is none.
// mu is held.
func (v *reserve) spend() bool {
	if v.file == nil {
		v.fill()
		return false
	}
	v.file.Close()
	v.file = nil
	return true
}

func (v *reserve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		v.file.Close()
		v.file = nil
	}
}
