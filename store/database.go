package store

import (
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

// database is the open file. Readers hold mu while they read, the committer holds it
// while the file is closed or another one is opened; mu comes before Store.mu.
type database struct {
	mu       sync.RWMutex
	db       *bolt.DB    // nil: it could not be opened again
	info     fs.FileInfo // of db
	released bool        // another process has it, as the store is suspended; owned by the committer
}

// open opens an existing file and brings it to this version. The caller is alone with
// the database, or holds mu.
func (f *database) open(opts *Options, path string, progress Progress) error {
	db, err := openFile(opts, path, progress)
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	f.db, f.info = db, info
	return nil
}

// view runs fn in a read transaction. A file that is corrupt where bbolt does not
// check gives an error.
func (f *database) view(fn func(*bolt.Tx) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return viewDB(f.db, fn)
}

// close closes the file, unless a failed recovery has left it closed.
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
	if errors.Is(err, berrors.ErrDatabaseNotOpen) { // another process has the file, for good
		return ErrClosed
	}
	return err
}

var errNotReopened = errors.New("the database could not be opened again")

var (
	errCorruptFile = errors.New("the file is corrupt")
	errNotDatabase = fmt.Errorf("%w or not a roomd database", errCorruptFile)
	errNotFile     = errors.New("not a file and not a roomd database")
)

// catchFaults turns the panics of bbolt on corrupt files into errors.
func catchFaults(fn func() error) (err error) {
	// A page of a mapped file that cannot be read is a fault, and without this no panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorruptFile, p)
		}
	}()
	return fn()
}

// VerifyPath returns an error if the path of the database does not lead to the open
// file any more: it was removed, moved or replaced. The open file stays usable, but it
// must not be closed to be opened again: its lines would be lost.
func (s *Store) VerifyPath() error {
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	is, err := os.Lstat(s.path)
	switch {
	case err != nil:
		return fmt.Errorf("the database was removed or moved while it is in use: %w; lines go to the file that is open, and backup copies that file", err)
	case !os.SameFile(s.file.info, is):
		return fmt.Errorf("the database was replaced while it is in use: %s is another file; lines go to the file that is open, and backup copies that file", s.path)
	}
	return nil
}

// Path returns the absolute path of the database, without symbolic links, as it was
// when the database was opened.
func (s *Store) Path() string { return s.realPath }

func boltOptions(lockTimeout time.Duration) *bolt.Options {
	return &bolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bolt.FreelistMapType,
		// Growing the memory map waits for every open reader. A gigabyte of
		// address space, which is not memory, makes that rare; a sixteenth of it
		// where the whole address space has only 2 to 4 GB.
		InitialMmapSize: 1 << (26 + 4*(strconv.IntSize/64)),
	}
}

// allocSize is the step in which the file grows, in bytes. With bbolt's default a new
// database would have 16 MiB at once.
const allocSize = 1 << 20

// openFile opens an existing file and brings it to this version.
func openFile(opts *Options, path string, progress Progress) (*bolt.DB, error) {
	for range 10 {
		db, err := openBolt(path, opts.LockTimeout)
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
		if err := migrate(opts.Context, db, path, version, progress); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the database %s: %w", path, errReplaced)
}

var errReplaced = errors.New("another process keeps replacing the file")

// openBolt opens an existing file. bbolt panics on some corrupt files: that is an
// error here, and the file stays locked until the process ends.
func openBolt(path string, lockTimeout time.Duration) (db *bolt.DB, err error) {
	// Before anything else is read of a file that is too short.
	if db, err = openReadOnly(path, &bolt.Options{Timeout: lockTimeout}); err == nil {
		err = db.Close()
	}
	if err != nil {
		return nil, err
	}
	err = catchFaults(func() error {
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
			// Another process has migrated or compacted the database while this one
			// waited for the lock of the old file.
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

// openReadOnly opens a file for reading.
func openReadOnly(path string, opts *bolt.Options) (db *bolt.DB, err error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	opts.ReadOnly = true
	err = catchFaults(func() error {
		if db, err = bolt.Open(path, 0o600, opts); err != nil {
			return err
		}
		return checkLength(db)
	})
	if err != nil && db != nil {
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		return nil, openError(path, err)
	}
	return db, nil
}

// checkRegular refuses a path that exists and is not a regular file: opening a named
// pipe would block for ever, and no signal would end that. It refuses a file that is too
// short, too: bbolt would turn an empty one into a database.
func checkRegular(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil // the caller gets the error again
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is %w", path, errNotFile)
	case st.Size() < boltcheck.MinFileSize():
		return fmt.Errorf("the database %s: %w: it has only %d bytes", path, errNotDatabase, st.Size())
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
		return fmt.Errorf("the database %s: %w: %w", path, errNotDatabase, err)
	case errors.Is(err, errCorruptFile):
		return fmt.Errorf("the database %s: %w", path, err)
	case errors.Is(err, errReplaced):
		return err
	}
	return fmt.Errorf("open the database: %w", err)
}

// checkLength refuses a file that is shorter than its highest page: reading the missing
// pages through the memory map would kill the process. db is read-only, as opening it
// for writing reads more than the first pages.
func checkLength(db *bolt.DB) error {
	st, err := os.Stat(db.Path())
	if err != nil {
		return err
	}
	return db.View(func(tx *bolt.Tx) error {
		if st.Size() < tx.Size() {
			return fmt.Errorf("%w: %d of its %d bytes are missing", errCorruptFile, tx.Size()-st.Size(), tx.Size())
		}
		return nil
	})
}

// createFile makes an empty database at path unless the path exists. It is built in a
// temporary file and linked into place: power loss while bbolt writes its first pages
// would leave a file that cannot be opened.
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
	// A link, unlike a rename, never replaces a file that another process has made
	// meanwhile.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(path); there == nil {
			return nil // another process has made it, and removed this temporary file as a stale one
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	return disk.SyncDir(filepath.Dir(path))
}

// Files returns the paths of the files of a database in use: the database and its WAL.
func Files(path string) []string {
	if real, err := disk.Resolve(path); err == nil {
		path = real
	}
	return []string{path, wal.Path(path)}
}

// StaleTempFiles lists the temporary files of killed processes for a database or a
// backup. It lists no file that is in use, and none that only has such a name.
func StaleTempFiles(path string) []string { return disk.StaleTempFiles(path, boltcheck.HasMagic) }

// removeStaleTempFiles removes the files that StaleTempFiles lists, and returns a
// sentence for each. The caller has the lock of the database: no process makes a new
// one meanwhile.
func removeStaleTempFiles(path string) (said []string) {
	for _, name := range StaleTempFiles(path) {
		what := "is removed"
		if err := os.Remove(name); err != nil {
			what = fmt.Sprintf("cannot be removed: %v", err)
		}
		said = append(said, fmt.Sprintf("the temporary file %s was left behind by a killed process and %s", name, what))
	}
	return said
}
