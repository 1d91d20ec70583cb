package peer

import (
	"errors"
	"net"
)

// ErrNoOwner means that the system does not say whose process has the other end of a connection.
var ErrNoOwner = errors.New("the owner of the connection is not known")

// Owner returns the user whose process has the other end of a TCP connection within this machine.
// On Linux it reads the tables of proc(5), which takes longer the more connections the machine
// has. On other systems, and for a connection whose other end is closed already, it returns
// ErrNoOwner. It may be called from any goroutine while c is open.
func Owner(c net.Conn) (uid int, err error) {
	there, ok := c.RemoteAddr().(*net.TCPAddr)
	here, also := c.LocalAddr().(*net.TCPAddr)
	if !ok || !also {
		return 0, ErrNoOwner
	}
	return owner(there.AddrPort(), here.AddrPort())
}
