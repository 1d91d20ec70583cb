package peer

import "golang.org/x/sys/unix"

// credentials are the user and the group at the other end (SO_PEERCRED, getsockopt(2): a
// struct of uid, gid and pid). The package unix has no such struct; that of another
// option is eight words as well.
func credentials(fd int) (uid int, gids []int, err error) {
	words, err := unix.GetsockoptICMPv6Filter(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, nil, err
	}
	return int(words.Filt[0]), []int{int(words.Filt[1])}, nil
}
