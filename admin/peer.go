package admin

import (
	"errors"
	"net"
)

// peer is the user at the other end and its groups, the own one first, as far as the
// system tells them: see credentials of each.
func peer(c *net.UnixConn) (uid int, gids []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { uid, gids, failed = credentials(int(fd)) })
	return uid, gids, errors.Join(err, failed)
}
