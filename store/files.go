package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"roomd/store/boltcheck"
	"roomd/store/wal"
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
			return path, trusted(links, path)
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

// trusted refuses links by which the user of a service could have root write to
// what is not the user's.
func trusted(links []string, path string) error {
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

// What a temporary file is for. Its name says so, and whose it is: the file's
// name, the use, and a number.
const (
	useNew  = "new"  // is to take the place of a database
	usePart = "part" // is to be a backup
)

var temporary = regexp.MustCompile(`^\.(new|part)-[0-9]{1,10}\.tmp$`)

// beside makes a temporary file beside path: a backup for a caller, and what is
// to take the place of a database with the owner and the mode that it has or is to
// have. It is locked until it is closed (flock(2)): an unlocked one is of a
// process that has ended.
func beside(path, use string) (f *os.File, err error) {
	f, err = os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"."+use+"-*.tmp")
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("%s cannot make a file in %s: %w", asker(), filepath.Dir(path), err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if use == useNew {
		err = errors.Join(err, own(f, path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// asker is the user that this process is.
func asker() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// own gives f the owner and the mode of the file at path. If there is none, the
// mode is 0600 and the owner who asks; root makes it for the owner of the folder,
// if that is somebody's own.
func own(f *os.File, path string) error {
	mode := fs.FileMode(0o600)
	as, err := os.Stat(path)
	switch {
	case err == nil:
		mode = as.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case os.Geteuid() != 0:
		return f.Chmod(mode)
	default:
		if as, err = os.Stat(filepath.Dir(path)); err != nil {
			return err
		}
		if as.Mode()&fs.ModeSticky != 0 || as.Mode().Perm()&0o002 != 0 {
			return f.Chmod(mode) // everybody's, as /tmp
		}
	}
	is, err := f.Stat()
	if err != nil {
		return err
	}
	want, has := as.Sys().(*syscall.Stat_t), is.Sys().(*syscall.Stat_t)
	if want.Uid != has.Uid || want.Gid != has.Gid {
		err := f.Chown(int(want.Uid), int(want.Gid))
		// A group that nothing is allowed to does not matter.
		if err != nil && (want.Uid != has.Uid || mode&0o070 != 0) {
			return fmt.Errorf("give the new file the owner %d:%d of %s: %w", want.Uid, want.Gid, path, err)
		}
	}
	return f.Chmod(mode)
}

// LeftBehind lists the temporary files beside path of processes that were killed:
// of a database, or of a backup. It lists no file that is in use, and none that
// only has such a name.
func LeftBehind(path string) (files []string) {
	path, err := Resolve(path)
	if err != nil {
		return nil
	}
	dir, base := filepath.Dir(path), filepath.Base(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if len(e.Name()) <= len(base) || e.Name()[:len(base)] != base || !temporary.MatchString(e.Name()[len(base):]) {
			continue
		}
		if name := filepath.Join(dir, e.Name()); e.Type().IsRegular() && abandoned(name) {
			files = append(files, name)
		}
	}
	return files
}

// abandoned reports whether a file is the beginning of a database, and nobody
// has it.
func abandoned(name string) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	return len(bytes.Trim(head[:n], "\x00")) == 0 || boltcheck.Begins(head[:n])
}

// removeLeftBehind removes what LeftBehind lists, and says so. The caller has the
// lock of the database: nobody begins one meanwhile.
func removeLeftBehind(path string) (said []string) {
	for _, name := range LeftBehind(path) {
		if err := os.Remove(name); err != nil {
			said = append(said, fmt.Sprintf("the file %s was left behind by a process that was killed, and cannot be removed: %v", name, err))
		} else {
			said = append(said, fmt.Sprintf("the file %s was left behind by a process that was killed, and is removed", name))
		}
	}
	return said
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

// Real is the absolute path of the file that path stands for, without any link in
// it. The file need not be there, but its folder.
func Real(path string) (string, error) {
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

// Among says which of files one is that is not to be written to: one of these
// paths, as Real gives them, or one with such an identity. Empty: none.
func Among(files, paths, identities []string) string {
	for _, f := range files {
		if f == "" {
			continue
		}
		at, err := Real(f)
		if id := FileID(f); err == nil && slices.Contains(paths, at) || id != "" && slices.Contains(identities, id) {
			return f
		}
	}
	return ""
}

// Files are those of a database that is in use.
func Files(path string) []string {
	if real, err := Resolve(path); err == nil {
		path = real
	}
	return []string{path, wal.Path(path)}
}
