package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// LinkOrCopy lets a file be found under a second name, where links are possible, or
// copies it.
func LinkOrCopy(path, as string) error {
	err := os.Link(path, as)
	if errors.Is(err, fs.ErrExist) {
		// Power loss just after the link, when this was last tried?
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

// Replaced reports whether path does not lead to the file f any more: another
// process has put a new one there while this one waited for the lock.
func Replaced(path string, f *os.File) bool {
	here, err := f.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(path)
	return err != nil || !os.SameFile(here, there)
}

// SyncDir brings to disk which files are in a folder: after a file was made,
// renamed or removed.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
