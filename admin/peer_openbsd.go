package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user and the group at the other end (SO_PEERCRED, getsockopt(2):
// a struct of uid, gid and pid). The package unix has no such struct; that of
// another option is eight words as well.
func peer(c *net.UnixConn) (uid int, gids []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var words *unix.ICMPv6Filter
	var cerr error
	err = raw.Control(func(fd uintptr) {
		words, cerr = unix.GetsockoptICMPv6Filter(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, cerr); err != nil {
		return 0, nil, err
	}
	return int(words.Filt[0]), []int{int(words.Filt[1])}, nil
}
