package systemd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Sockets returns the listening sockets that the service manager has opened for the master
// port (LISTEN_FDS), and their addresses, which all have the same port. The caller owns the
// sockets.
func Sockets(getenv func(string) string) (fds []int, addrs []netip.AddrPort, err error) {
	return sockets(getenv, 3) // sd_listen_fds(3)
}

// sockets is Sockets for descriptors from first on.
func sockets(getenv func(string) string, first int) (fds []int, addrs []netip.AddrPort, err error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 64 {
		return nil, nil, fmt.Errorf("LISTEN_FDS=%q is not a number of sockets", getenv("LISTEN_FDS"))
	}
	for fd := first; fd < first+n; fd++ {
		unix.CloseOnExec(fd)
		addr, err := listenAddr(fd)
		if err != nil {
			return nil, nil, fmt.Errorf("descriptor %d of the service manager is not a listening TCP socket: %w", fd, err)
		}
		if len(addrs) > 0 && addr.Port() != addrs[0].Port() {
			return nil, nil, fmt.Errorf("the sockets of the service manager listen on the ports %d and %d; there is only one master port", addrs[0].Port(), addr.Port())
		}
		fds, addrs = append(fds, fd), append(addrs, addr)
	}
	return fds, addrs, nil
}

// listenAddr returns the address of a listening descriptor.
func listenAddr(fd int) (netip.AddrPort, error) {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if on == 0 {
		return netip.AddrPort{}, errors.New("the socket does not listen")
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("the address is a %T", sa)
}
