package check

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"roomd/admin/english"
)

// checkPorts binds the configured ports, except those that a server with this database
// already has open.
func (t *checker) checkPorts() {
	c := t.cfg
	ours := func(string, string) bool { return false }
	if t.running {
		var now map[string]string
		if c.Admin.Socket != "" {
			now = t.runningConfig(c.Admin.Socket)
		}
		ours = func(key, port string) bool {
			value, known := now[key]
			return !known || value == port || strings.HasSuffix(value, ":"+port)
		}
	}
	if !ours("server.port", strconv.Itoa(c.Server.Port)) {
		for _, a := range c.Server.Listen {
			t.checkPort("server.port", netip.AddrPortFrom(a, uint16(c.Server.Port)), t.fail)
		}
	}
	door := func(key string, addrs []netip.AddrPort) {
		t.checkDoor(key, addrs, func(a netip.AddrPort) bool { return ours(key, strconv.Itoa(int(a.Port()))) })
	}
	door("irc.listen", c.IRC.Listen)
	door("web.listen", c.Web.Listen.Addrs())
	if _, port, err := net.SplitHostPort(c.Metrics.Listen); err != nil || ours("metrics.listen", port) {
		return // not configured, or open already
	}
	at, err := net.ResolveTCPAddr("tcp", c.Metrics.Listen)
	if err != nil {
		t.warn("metrics.listen", "%v; the server retries", err)
		return
	}
	addr := netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), uint16(at.Port))
	if !addr.IsValid() {
		addr = netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(at.Port))
	}
	if slices.ContainsFunc(c.Server.Listen, func(a netip.Addr) bool {
		return int(addr.Port()) == c.Server.Port && (a == addr.Addr() || a.IsUnspecified() || addr.Addr().IsUnspecified())
	}) {
		t.fail("metrics.listen", "%s is the master port", c.Metrics.Listen)
		return
	}
	t.checkPort("metrics.listen", addr, t.warn) // the server retries
}

// checkDoor binds the addresses of a door that are not open already. The server goes on without one,
// and retries.
func (t *checker) checkDoor(key string, addrs []netip.AddrPort, open func(netip.AddrPort) bool) {
	for _, a := range addrs {
		switch {
		case t.cfg.IsMaster(a):
			t.warn(key, "%v is the master port; set another one", a)
		case !open(a):
			t.checkPort(key, a, t.warn)
		}
	}
}

// checkFirstRooms checks whether the rooms that the first start creates get ports.
func (t *checker) checkFirstRooms() {
	const key = "rooms.ports"
	c, found := t.cfg, 0
	var met error
	for p := c.Rooms.Ports.First; p <= c.Rooms.Ports.Last && found < len(c.Server.Create); p++ {
		if p == c.Server.Port {
			continue
		}
		free := true
		for _, a := range c.Server.Listen {
			if err := tryBind(netip.AddrPortFrom(a, uint16(p))); errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
				free, met = false, fmt.Errorf("port %d: %w", p, err)
			}
		}
		if free {
			found++
		}
	}
	if found < len(c.Server.Create) {
		t.fail(key, "the first start creates the rooms of server.create, and only %s of %v can be bound for %d: %v",
			english.Plural(found, "port"), c.Rooms.Ports, len(c.Server.Create), met)
	}
}

// checkPort binds a port and reports a problem with say. An address that the machine does not
// have is only a warning, because the server waits for it.
func (t *checker) checkPort(key string, at netip.AddrPort, say func(key, format string, args ...any)) {
	switch err := tryBind(at); {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE):
		say(key, "port %d is in use by another program at %v, or by a socket unit for the server", at.Port(), at.Addr())
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, errNoZone):
		t.warn(key, "%v is not an address of this machine now: %v; the server waits for it", at.Addr(), err)
	default:
		say(key, "%v: %v", at, err)
	}
	if at.Port() < 1024 && t.owner.name != "" {
		t.warn(key, "port %d needs a privilege (CAP_NET_BIND_SERVICE) that %s may not have", at.Port(), t.owner.name)
	}
}

var errNoZone = errors.New("there is no such interface")

// tryBind binds an address as a listener does, and closes it.
func tryBind(at netip.AddrPort) error {
	var sa unix.Sockaddr
	family := unix.AF_INET6
	if a := at.Addr().Unmap(); a.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: a.As4()}
	} else {
		six := &unix.SockaddrInet6{Port: int(at.Port()), Addr: a.As16()}
		if zone := a.Zone(); zone != "" {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return errNoZone
			}
			six.ZoneId = uint32(ifi.Index)
		}
		sa = six
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, sa)
}
