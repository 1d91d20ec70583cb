package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// The uses of a temporary file. Its name is the name of the file that it is for, the
// use, and a number.
const (
	ForDatabase = "new"  // it will take the place of a database
	ForBackup   = "part" // it will be a backup
)

var tempName = regexp.MustCompile(`^\.(new|part)-[0-9]{1,10}\.tmp$`)

// WithTemp makes a temporary file as CreateTemp does and calls fn, which writes and
// closes it and gives it its final name. After an error the file is removed.
func WithTemp(path, use string, fn func(f *os.File) error) error {
	f, err := CreateTemp(path, use)
	if err != nil {
		return err
	}
	if err = fn(f); err != nil {
		f.Close() // unless fn has done so
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// CreateTemp makes a temporary file beside path: for a backup with the owner of this
// process, for a database with the owner and the mode of the file at path (CopyOwner).
// The file is locked until it is closed (flock(2)): an unlocked one is of a process
// that has ended.
func CreateTemp(path, use string) (f *os.File, err error) {
	f, err = os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"."+use+"-*.tmp")
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("%s cannot create a file in %s: %w", currentUser(), filepath.Dir(path), err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if use == ForDatabase {
		err = errors.Join(err, CopyOwner(f, path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// currentUser returns the name of the user of this process.
func currentUser() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// CopyOwner gives f the owner and the mode of the file at path. If there is none, the
// mode is 0600 and the owner is this process; root gives f to the owner of the folder,
// unless everybody may write to the folder.
func CopyOwner(f *os.File, path string) error {
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
			return f.Chmod(mode) // everybody may write there, as in /tmp
		}
	}
	is, err := f.Stat()
	if err != nil {
		return err
	}
	want, has := as.Sys().(*syscall.Stat_t), is.Sys().(*syscall.Stat_t)
	if want.Uid != has.Uid || want.Gid != has.Gid {
		err := f.Chown(int(want.Uid), int(want.Gid))
		// A group without any permission does not matter.
		if err != nil && (want.Uid != has.Uid || mode&0o070 != 0) {
			return fmt.Errorf("give the new file the owner %d:%d of %s: %w", want.Uid, want.Gid, path, err)
		}
	}
	return f.Chmod(mode)
}

// StaleTempFiles lists the temporary files for path, a database or a backup, of
// processes that were killed. It lists no file that is in use, and none that only has
// such a name: isDatabase reports whether bytes are the beginning of a database.
func StaleTempFiles(path string, isDatabase func([]byte) bool) (files []string) {
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
		if len(e.Name()) <= len(base) || e.Name()[:len(base)] != base || !tempName.MatchString(e.Name()[len(base):]) {
			continue
		}
		if name := filepath.Join(dir, e.Name()); e.Type().IsRegular() && isStale(name, isDatabase) {
			files = append(files, name)
		}
	}
	return files
}

// isStale reports whether a file is the beginning of a database, and no process has
// locked it.
func isStale(name string, isDatabase func([]byte) bool) bool {
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
	return len(bytes.Trim(head[:n], "\x00")) == 0 || isDatabase(head[:n])
}
