package peer

import (
	"errors"
	"net"
)

// Credentials are the user at the other end of a unix socket and its groups, the own one
// first: all of them on Linux (before 4.13, and on NetBSD and OpenBSD, the own one only),
// up to sixteen on macOS and FreeBSD. It may be called from any goroutine, for as long as c is open.
func Credentials(c *net.UnixConn) (uid int, gids []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { uid, gids, failed = credentials(int(fd)) })
	return uid, gids, errors.Join(err, failed)
}
