package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Resolve follows symbolic links and returns the path of the file that path leads to.
// The file need not exist. The files that belong to a database are beside that file, by
// whichever path it was reached. Root follows a link of another user only to files of
// that user.
func Resolve(path string) (string, error) {
	links := []string{}
	for range 40 { // as many as Linux follows
		to, err := os.Readlink(path)
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			return path, checkLinkOwners(links, path)
		}
		if err != nil {
			return "", err
		}
		links = append(links, path)
		// The target is relative to the real folder of the link.
		dir, name := filepath.Split(to)
		if !filepath.IsAbs(to) {
			in, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			dir = in + string(filepath.Separator) + dir
		}
		if dir, err = filepath.EvalSymlinks(cmp.Or(dir, ".")); err != nil {
			return "", fmt.Errorf("follow the link %s: %w", path, err)
		}
		path = filepath.Join(dir, name)
	}
	return "", fmt.Errorf("follow the link %s: %w", path, syscall.ELOOP)
}

// checkLinkOwners refuses links by which the user of a service could have root write to
// files of other users.
func checkLinkOwners(links []string, path string) error {
	if len(links) == 0 || os.Geteuid() != 0 {
		return nil
	}
	to, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		to, err = os.Stat(filepath.Dir(path))
	}
	for _, l := range links {
		var st fs.FileInfo
		if err == nil {
			st, err = os.Lstat(l)
		}
		if err != nil {
			return err
		}
		if by := st.Sys().(*syscall.Stat_t).Uid; by != 0 && by != to.Sys().(*syscall.Stat_t).Uid {
			return fmt.Errorf("the link %s is of user %d, and %s is not: root does not follow it", l, by, path)
		}
	}
	return nil
}

// RealPath returns the absolute path of the file that path leads to, without symbolic
// links. The file need not exist, but its folder.
func RealPath(path string) (string, error) {
	path, err := Resolve(path)
	if err != nil {
		return "", err
	}
	dir, name := filepath.Split(path)
	if dir, err = filepath.EvalSymlinks(cmp.Or(dir, ".")); err != nil { // before Abs, which removes a/.. even if a is a link
		return "", err
	}
	return filepath.Abs(filepath.Join(dir, name))
}

// FileID identifies the file that path leads to among all files of this machine,
// whatever its name; empty: there is none.
func FileID(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sys := st.Sys().(*syscall.Stat_t)
	return fmt.Sprint(sys.Dev, ":", sys.Ino)
}

// FirstProtected returns the first of files that must not be written to: its real path
// is one of paths, or its FileID is one of identities. Empty: there is none.
func FirstProtected(files, paths, identities []string) string {
	for _, f := range files {
		if f == "" {
			continue
		}
		at, err := RealPath(f)
		if id := FileID(f); err == nil && slices.Contains(paths, at) || id != "" && slices.Contains(identities, id) {
			return f
		}
	}
	return ""
}
