package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user and the group at the other end (LOCAL_PEEREID, unix(4): a
// struct of pid, uid and gid). The package unix has no such struct; that of
// another option is eight words as well.
func peer(c *net.UnixConn) (uid int, gids []int, err error) {
	const localPeerID = 3 // sys/un.h
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var words *unix.ICMPv6Filter
	var cerr error
	err = raw.Control(func(fd uintptr) { words, cerr = unix.GetsockoptICMPv6Filter(int(fd), 0, localPeerID) })
	if err = errors.Join(err, cerr); err != nil {
		return 0, nil, err
	}
	return int(words.Filt[1]), []int{int(words.Filt[2])}, nil
}
