package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"roomd/store/boltcheck"
	"roomd/store/disk"
	"roomd/store/wal"
)

// database is the file. Readers hold mu while they read, and the committer while
// the file is closed, or another one is opened; mu comes before Store.mu.
type database struct {
	mu       sync.RWMutex
	db       *bolt.DB    // nil: it could not be opened again
	info     fs.FileInfo // of db
	released bool        // it is closed, as the store is suspended; owned by the committer
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
		return errNotReopened
	}
	err := catchFaults(func() error { return db.View(fn) })
	if errors.Is(err, berrors.ErrDatabaseNotOpen) { // another process has the file for good
		return ErrClosed
	}
	return err
}

var errNotReopened = errors.New("the database could not be opened again")

var errCorruptFile = errors.New("the file is damaged")

// catchFaults turns what bbolt does on damaged files into an error.
func catchFaults(fn func() error) (err error) {
	// What cannot be read of a mapped file is a fault and not a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorruptFile, p)
		}
	}()
	return fn()
}

// VerifyPath returns an error if the path of the database does not lead to the file
// that is open any more: it was removed, moved or replaced. What is open goes on,
// but it must not be closed to be opened again: the lines of it would be lost.
func (s *Store) VerifyPath() error {
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
func (s *Store) Path() string { return s.realPath }

func boltOptions(lockTimeout time.Duration) *bolt.Options {
	return &bolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bolt.FreelistMapType,
		// Growing the memory map waits for every open reader. A gigabyte of
		// address space, none of it memory, makes that rare. Where all of it is
		// only 2 to 4 GB, for more than one map, it is a sixteenth.
		InitialMmapSize: 1 << (26 + 4*(strconv.IntSize/64)),
	}
}

// allocSize is how much the file grows by at a time, in bytes; bbolt's own is 16
// MiB, which a new database would have at once.
const allocSize = 1 << 20

// openFile opens an existing file and brings it to this version.
func openFile(ctx context.Context, path string, lockTimeout time.Duration, progress Progress) (*bolt.DB, error) {
	for range 10 {
		db, err := openBolt(path, lockTimeout)
		if errors.Is(err, errReplaced) {
			continue
		}
		if err != nil {
			return nil, err
		}
		version := uint64(0)
		err = viewDB(db, func(tx *bolt.Tx) (err error) {
			version, err = schemaOf(tx)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the database %s: %w", path, errors.Join(err, db.Close()))
		}
		if version >= Schema {
			return db, nil
		}
		if err := migrate(ctx, db, path, version, progress); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the database %s: %w", path, errReplaced)
}

var errReplaced = errors.New("another process puts new files in its place")

// openBolt opens an existing file. bbolt panics on some damaged files: that is
// an error here, and the file stays locked for as long as the process lives.
func openBolt(path string, lockTimeout time.Duration) (db *bolt.DB, err error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	// bbolt would make a database of an empty file.
	if st, err := os.Stat(path); err == nil && st.Size() < boltcheck.MinFileSize() {
		return nil, fmt.Errorf("%s is damaged or not a roomd database: it has only %d bytes", path, st.Size())
	}
	err = catchFaults(func() error {
		if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true}); err != nil {
			return err
		}
		if err := errors.Join(checkLength(db), db.Close()); err != nil {
			return fmt.Errorf("the database %s is damaged: %w", path, err)
		}
		opts := boltOptions(lockTimeout)
		var file *os.File
		opts.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		}
		if db, err = bolt.Open(path, 0o600, opts); err != nil {
			return err
		}
		if disk.Replaced(path, file) {
			// A migration or a compaction was under way: what was waited for is
			// the old file.
			return errors.Join(errReplaced, db.Close())
		}
		db.AllocSize = allocSize
		return nil
	})
	if err != nil {
		return nil, openError(path, err)
	}
	return db, nil
}

// checkRegular refuses what is there and is not a file: opening a named pipe would wait
// for ever, and no signal would be heeded.
func checkRegular(path string) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file and not a roomd database", path)
	}
	return nil
}

// InUseError says that another process has the database.
type InUseError struct{ Path, Holder string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("the database %s is in use by %s", e.Path, e.Holder)
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return &InUseError{path, disk.LockHolder(path)}
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%s is damaged or not a roomd database: %w", path, err)
	case errors.Is(err, errCorruptFile):
		return fmt.Errorf("the database %s: %w", path, err)
	case errors.Is(err, errReplaced):
		return err
	}
	return fmt.Errorf("open the database: %w", err)
}

// checkLength refuses a file that is shorter than what it refers to: reading the rest
// through the memory map would kill the process. db is read-only, as opening it
// for writing reads more than the first pages.
func checkLength(db *bolt.DB) error {
	st, err := os.Stat(db.Path())
	if err != nil {
		return err
	}
	return db.View(func(tx *bolt.Tx) error {
		if st.Size() < tx.Size() {
			return fmt.Errorf("%d of its %d bytes are missing", tx.Size()-st.Size(), tx.Size())
		}
		return nil
	})
}

// createFile makes an empty database at path unless something is there. It is
// built beside and linked into place: power loss while bbolt writes its first
// pages would leave a file that cannot be opened.
func createFile(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := disk.CreateTemp(path, disk.ForDatabase)
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer os.Remove(tmp)
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bolt.Open(tmp, 0o600, boltOptions(time.Second))
	if err != nil {
		return err
	}
	db.AllocSize = allocSize
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		if err := putIdentity(meta, randomID(), randomID()); err != nil {
			return err
		}
		return meta.Put(keySchema, u64(Schema))
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what another process has put
	// there in the meantime.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(path); there == nil {
			return nil // of another process, which took our file for one left behind
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	return disk.SyncDir(filepath.Dir(path))
}

// Files are those of a database that is in use.
func Files(path string) []string {
	if real, err := disk.Resolve(path); err == nil {
		path = real
	}
	return []string{path, wal.Path(path)}
}

// StaleTempFiles lists the temporary files beside a database of processes that were
// killed: of a database, or of a backup. It lists no file that is in use, and none
// that only has such a name.
func StaleTempFiles(path string) []string { return disk.StaleTempFiles(path, boltcheck.HasMagic) }

// removeStaleTempFiles removes what LeftBehind lists, and says so. The caller has the
// lock of the database: nobody begins one meanwhile.
func removeStaleTempFiles(path string) (said []string) {
	for _, name := range StaleTempFiles(path) {
		if err := os.Remove(name); err != nil {
			said = append(said, fmt.Sprintf("the file %s was left behind by a process that was killed, and cannot be removed: %v", name, err))
		} else {
			said = append(said, fmt.Sprintf("the file %s was left behind by a process that was killed, and is removed", name))
		}
	}
	return said
}
