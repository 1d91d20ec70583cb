package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user and the group at the other end (SO_PEERCRED, unix(7)).
func peer(c *net.UnixConn) (uid, gid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), int(cred.Gid), nil
}
