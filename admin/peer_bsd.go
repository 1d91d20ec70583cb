//go:build darwin || freebsd

package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user and the group at the other end (LOCAL_PEERCRED, unix(4)).
func peer(c *net.UnixConn) (uid, gid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Xucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptXucred(int(fd), 0, unix.LOCAL_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), int(cred.Groups[0]), nil
}
