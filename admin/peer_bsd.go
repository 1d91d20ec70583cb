//go:build darwin || freebsd

package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user at the other end and its groups, the own one first
// (LOCAL_PEERCRED, unix(4)).
func peer(c *net.UnixConn) (uid int, gids []int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var cred *unix.Xucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptXucred(int(fd), 0, unix.LOCAL_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, nil, err
	}
	for _, g := range cred.Groups[:max(1, min(int(cred.Ngroups), len(cred.Groups)))] {
		gids = append(gids, int(g))
	}
	return int(cred.Uid), gids, nil
}
