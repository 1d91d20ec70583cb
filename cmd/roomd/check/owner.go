package check

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// owner is whose rights a trial has.
type owner struct {
	uid, gid int
	groups   []int
	name     string // "": who asks
}

// ownerOf is the user whom a database belongs to, if root asks, and that is not
// root: the one that the server runs as. Before the first start it is the owner
// of the folder.
func ownerOf(data string) owner {
	me := owner{uid: os.Geteuid(), gid: os.Getegid()}
	me.groups, _ = os.Getgroups() // there are none then
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
		ids, _ := u.GroupIds() // those that cannot be found give no rights
		for _, id := range ids {
			if gid, err := strconv.Atoi(id); err == nil {
				o.groups = append(o.groups, gid)
			}
		}
	}
	return o
}

// inGroup reports whether the owner may give a file to a group.
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
