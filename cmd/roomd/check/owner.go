package check

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// owner is the user with whose rights the checks run.
type owner struct {
	uid, gid int
	groups   []int
	name     string // empty: the user of this process
}

// ownerOf returns the user that the server runs as, if root asks: the owner of the database,
// or, before the first start, of its folder. For other users it returns the caller.
func ownerOf(data string) owner {
	me := owner{uid: os.Geteuid(), gid: os.Getegid()}
	me.groups, _ = os.Getgroups() // on an error: no groups
	if me.uid != 0 {
		return me
	}
	st, err := os.Stat(data)
	if err != nil {
		st, err = os.Stat(filepath.Dir(data))
	}
	if err != nil {
		return me
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || s.Uid == 0 {
		return me
	}
	o := owner{uid: int(s.Uid), gid: int(s.Gid), name: "user " + strconv.Itoa(int(s.Uid))}
	if u, err := user.LookupId(strconv.Itoa(o.uid)); err == nil {
		o.name = u.Username
		if gid, err := strconv.Atoi(u.Gid); err == nil {
			o.gid = gid
		}
		ids, _ := u.GroupIds() // on an error: no further groups
		for _, id := range ids {
			if gid, err := strconv.Atoi(id); err == nil {
				o.groups = append(o.groups, gid)
			}
		}
	}
	return o
}

// inGroup reports whether the owner can give a file to a group.
func (o owner) inGroup(gid string) bool {
	n, err := strconv.Atoi(gid)
	return o.uid == 0 || err == nil && (n == o.gid || slices.Contains(o.groups, n))
}

func (o owner) String() string {
	if o.name != "" {
		return o.name
	}
	return "your user"
}
