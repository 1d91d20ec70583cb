package peer

import (
	"errors"
	"net"
)

// Errors of Owner.
var (
	ErrUnknown = errors.New("the system does not say whose process has the other end")
	ErrNoOwner = errors.New("no process has the other end: it is closed, or on another machine")
)

// Owner returns the user whose process has the other end of a TCP connection within this machine.
// On Linux it reads the tables of proc(5), which takes longer the more connections the machine
// has; other systems return ErrUnknown. It may be called from any goroutine while c is open.
func Owner(c net.Conn) (uid int, err error) {
	there, ok := c.RemoteAddr().(*net.TCPAddr)
	here, also := c.LocalAddr().(*net.TCPAddr)
	if !ok || !also {
		return 0, ErrUnknown
	}
	return owner(there.AddrPort(), here.AddrPort())
}
