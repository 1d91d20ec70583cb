//go:build darwin || freebsd

package peer

import "golang.org/x/sys/unix"

// credentials are the user at the other end and its groups (LOCAL_PEERCRED, unix(4)).
func credentials(fd int) (uid int, gids []int, err error) {
	cred, err := unix.GetsockoptXucred(fd, 0, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, nil, err
	}
	for _, g := range cred.Groups[:max(1, min(int(cred.Ngroups), len(cred.Groups)))] {
		gids = append(gids, int(g))
	}
	return int(cred.Uid), gids, nil
}
