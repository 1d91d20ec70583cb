package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// database is the file. Readers hold mu while they read, and the committer while
// the file is closed, or another one is opened; mu comes before Store.mu.
type database struct {
	mu   sync.RWMutex
	db   *bolt.DB    // nil: it could not be opened again
	info fs.FileInfo // of db
	away bool        // it is closed, as the store is suspended; owned by the committer
}

// view runs fn in a read transaction. A file that is damaged where bbolt does
// not look gives an error.
func (f *database) view(fn func(*bolt.Tx) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return viewDB(f.db, fn)
}

// close closes the file, if a failed recovery has left it open.
func (f *database) close() error {
	if f.db == nil {
		return nil
	}
	return f.db.Close()
}

func viewDB(db *bolt.DB, fn func(*bolt.Tx) error) error {
	if db == nil {
		return errClosedFile
	}
	err := guard(func() error { return db.View(fn) })
	if errors.Is(err, berrors.ErrDatabaseNotOpen) { // another process has the file for good
		return ErrClosed
	}
	return err
}

var errClosedFile = errors.New("the database could not be opened again")

var errFile = errors.New("the file is damaged")

// guard turns what bbolt does on damaged files into an error.
func guard(fn func() error) (err error) {
	// What cannot be read of a mapped file is a fault and not a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errFile, p)
		}
	}()
	return fn()
}

// InPlace returns an error if the path of the database does not lead to the file
// that is open any more: it was removed, moved or replaced. What is open goes on,
// but it must not be closed to be opened again: the lines of it would be lost.
func (s *Store) InPlace() error {
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	is, err := os.Lstat(s.path)
	switch {
	case err != nil:
		return fmt.Errorf("the database was removed or moved while it is in use: %w; lines go to the file that is open, and backup copies it", err)
	case !os.SameFile(s.file.info, is):
		return fmt.Errorf("the database was replaced while it is in use: %s is another file; lines go to the file that is open, and backup copies it", s.path)
	}
	return nil
}

// Path is the absolute path of the database, without any link in it, as it was
// when it was opened.
func (s *Store) Path() string { return s.real }
