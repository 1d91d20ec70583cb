package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// LinkOrCopy gives a file a second name, or copies it where the filesystem has no
// links.
func LinkOrCopy(path, as string) error {
	err := os.Link(path, as)
	if errors.Is(err, fs.ErrExist) {
		// An earlier attempt may have been interrupted just after the link.
		one, e1 := os.Stat(path)
		two, e2 := os.Stat(as)
		if e1 == nil && e2 == nil && os.SameFile(one, two) {
			return nil
		}
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	from, open := os.Open(path)
	if open != nil {
		return open
	}
	defer from.Close()
	to, err := os.OpenFile(as, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, CopyOwner(to, path), to.Sync(), to.Close())
}

// Replaced reports whether path does not lead to the file f any more: another process
// has put a new one there while this process waited for the lock.
func Replaced(path string, f *os.File) bool {
	here, err := f.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(path)
	return err != nil || !os.SameFile(here, there)
}

// Rename gives a file beside path that name, and syncs the folder.
func Rename(from, path string) error {
	if err := os.Rename(from, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// RemoveIfExists removes a file, unless it does not exist.
func RemoveIfExists(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDir brings the entries of a folder to disk, after a file was created, renamed or
// removed.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
