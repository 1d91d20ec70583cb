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
	sendBuffer = 128 << 10 // SO_SNDBUF: larger ones hide how far a member is behind
	// SO_RCVBUF: larger ones hide from a sender that it is read more slowly,
	// and thousands of floods would take gigabytes of the kernel.
	recvBuffer = 64 << 10

	// The end of a listener admits at most so many connections of its backlog, for
	// this time at most: a flood may fill the backlog faster than it is emptied.
	// lastRound is for clients that are half connected at that moment.
	drainMost  = 1 << 15
	drainTime  = time.Second
	drainGrace = 10 * time.Millisecond
)

// Endpoint is one port on all addresses that are listened on. Its fields are read-only
// once others have it.
type Endpoint struct {
	Port      int
	Requested []netip.Addr // that were asked for when it was bound; nil: it has come from elsewhere
	Listeners []*Listener
}

// Open opens each listener.
func (p *Endpoint) Open(admit func(Socket, netip.AddrPort), busy string) error {
	for _, l := range p.Listeners {
		if err := l.Open(admit, busy); err != nil {
			return err
		}
	}
	return nil
}

// DrainAndClose stops listening, once the connections in the backlog have been admitted, which
// by then means that they are told why not. It takes a second at most for each
// address.
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

// HasBacklog reports whether a client waits to be accepted.
func (p *Endpoint) HasBacklog() bool { return slices.ContainsFunc(p.Listeners, (*Listener).HasBacklog) }

// HandOver returns the addresses and the descriptors, for Adopt in another process. No
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

// Adopt is the opposite of HandOver; without addresses it returns nil.
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

// errNoInterface is the error for the zone of an address that is no interface.
var errNoInterface = errors.New("there is no such interface")

// IsPortInUse reports whether a bind failed as another program has the port.
func IsPortInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// IsAddrMissing reports whether a bind failed as the machine does not have the address.
func IsAddrMissing(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, errNoInterface)
}

// BindReason is a bind error as it is shown.
func BindReason(port int, err error) string {
	if IsPortInUse(err) {
		return fmt.Sprintf("port %d is in use by another program", port)
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return fmt.Sprintf("port %d: %v", port, sys.Err)
	}
	return fmt.Sprintf("port %d: %v", port, err)
}

// AddrMissingReason is Reason for an address that is tried again.
func AddrMissingReason(port int, err error) string {
	switch {
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return "this machine has no IPv6"
	case IsAddrMissing(err):
		return "this machine does not have the address"
	}
	return BindReason(port, err)
}

// reserve is a descriptor kept for the moment when there is none left: without it
// nobody could even be refused, and listeners would spin.
type reserve struct {
	mu   sync.Mutex
	file *os.File
}

func (v *reserve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fill()
}

// fill takes a descriptor; without one, listeners only wait. mu is held.
func (v *reserve) fill() { v.file, _ = os.Open(os.DevNull) }

func (v *reserve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		v.file.Close()
		v.file = nil
	}
}
