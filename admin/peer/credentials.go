package peer

import (
	"errors"
	"net"
)

// Credentials returns the user at the other end of a unix socket and its groups, the primary
// group first. Linux has all groups (before 4.13 only the primary one, like NetBSD and
// OpenBSD), macOS and FreeBSD up to sixteen. It may be called from any goroutine while c is
// open.
func Credentials(c *net.UnixConn) (uid int, gids []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { uid, gids, failed = credentials(int(fd)) })
	return uid, gids, errors.Join(err, failed)
}
