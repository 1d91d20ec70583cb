package check

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"roomd/store"
)

func (t *checker) checkAdmin() {
	c := t.cfg.Admin
	if c.Group != "" {
		g, err := user.LookupGroup(c.Group)
		switch {
		case err != nil:
			t.warn("admin.group", "%v; no group may use the console", err)
		case !t.owner.inGroup(g.Gid):
			t.warn("admin.group", "%s is not in the group %s, and so cannot give the socket to it", t.owner.String(), c.Group)
		}
	}
	if c.Socket == "" {
		return
	}
	const key = "admin.socket"
	const longest = 107 // unix(7)
	dir := filepath.Dir(c.Socket)
	st, err := os.Lstat(c.Socket)
	there, folder := err == nil, os.FileInfo(nil)
	folder, err = os.Stat(dir)
	switch {
	case slices.Contains(store.Files(t.cfg.Server.Data), c.Socket):
		t.fail(key, "%s is a file of the database", c.Socket)
	case len(c.Socket) > longest:
		t.warn(key, "the path has %d bytes; a socket takes %d at most", len(c.Socket), longest)
	case errors.Is(err, fs.ErrNotExist):
		t.warn(key, "the folder %s does not exist (RuntimeDirectory= of a unit creates it at the start)", dir)
	case err != nil:
		t.warn(key, "%v", t.asOwner(err))
	case !folder.IsDir():
		t.warn(key, "%s is not a folder", dir)
	case there && st.Mode().Type() != fs.ModeSocket:
		t.fail(key, "%s is not a socket; remove it, or set another admin.socket", c.Socket)
	case there && !t.running && answers(c.Socket):
		t.fail(key, "another server answers at %s", c.Socket)
	default:
		if err := unix.Faccessat(unix.AT_FDCWD, dir, folderAccess, unix.AT_EACCESS); err != nil {
			t.warn(key, "%v", t.asOwner(&fs.PathError{Op: "use", Path: dir, Err: err}))
		}
	}
}

// answers reports whether a server answers at the socket.
func answers(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
