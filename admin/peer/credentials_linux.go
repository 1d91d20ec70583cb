package peer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials returns the user and all groups of the other end as they were when it connected
// (SO_PEERCRED, SO_PEERGROUPS, unix(7)).
func credentials(fd int) (uid int, gids []int, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, nil, err
	}
	groups, err := groupsOf(fd)
	gids = []int{int(cred.Gid)}
	for _, g := range groups {
		gids = append(gids, int(g))
	}
	return int(cred.Uid), gids, err
}

// groupsOf reads SO_PEERGROUPS, which the package unix lacks. If the buffer is too small, the
// kernel returns the size.
func groupsOf(fd int) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(4 * len(groups))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case e == unix.ERANGE && int(size) > 4*len(groups):
			groups = make([]uint32, size/4)
		case e == unix.ENOPROTOOPT: // before Linux 4.13
			return nil, nil
		case e != 0:
			return nil, e
		default:
			return groups[:size/4], nil
		}
	}
}
