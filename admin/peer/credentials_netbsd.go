package peer

import "golang.org/x/sys/unix"

// credentials are the user and the group at the other end (LOCAL_PEEREID, unix(4): a
// struct of pid, uid and gid). The package unix has no such struct; that of another
// option is eight words as well.
func credentials(fd int) (uid int, gids []int, err error) {
	const localPeerID = 3 // sys/un.h
	words, err := unix.GetsockoptICMPv6Filter(fd, 0, localPeerID)
	if err != nil {
		return 0, nil, err
	}
	return int(words.Filt[1]), []int{int(words.Filt[2])}, nil
}
