package bench

import (
	"errors"

	"golang.org/x/sys/unix"
)

// bindSource sets where a connection comes from. The port is chosen when it
// connects, so that each address has all its ports for each destination.
func bindSource(fd int, addr [4]byte) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: addr}))
}
