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

// Resolve follows symbolic links to the file that path stands for. The file need
// not be there: a link that leads to nothing stands for what will be. Whatever
// lies beside a database lies beside that file, whichever way it was reached. Root
// follows a link of somebody else only to what is theirs.
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
		// The target is relative to the folder that the link is really in.
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
// what is not the user's.
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

// RealPath is the absolute path of the file that path stands for, without any link in
// it. The file need not be there, but its folder.
func RealPath(path string) (string, error) {
	path, err := Resolve(path)
	if err != nil {
		return "", err
	}
	dir, name := filepath.Split(path)
	if dir, err = filepath.EvalSymlinks(cmp.Or(dir, ".")); err != nil { // before Abs, which takes a/.. for nothing
		return "", err
	}
	return filepath.Abs(filepath.Join(dir, name))
}

// FileID says which file of this machine path leads to, whatever its name; empty:
// none.
func FileID(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sys := st.Sys().(*syscall.Stat_t)
	return fmt.Sprint(sys.Dev, ":", sys.Ino)
}

// FirstProtected says which of files one is that is not to be written to: one of these
// paths, as Real gives them, or one with such an identity. Empty: none.
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
