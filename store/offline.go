package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
	"roomd/store/lineid"
	"roomd/store/wal"
)

// Info describes a database file.
type Info struct {
	Schema       uint64
	Bytes        int64 // size of the file
	Free         int64 // bytes of it that are free
	WALLines     int64 // lines in the WAL that are not in the file yet
	Rooms        int
	Trash        int // deleted rooms that are still in the file
	Lines        uint64
	Bans         int
	AuditEntries int
	Readers      int // whose positions are kept
	LineIDs      uint64
}

// Inspect reads a database that no server has open, and changes nothing. If check is
// set it reads the whole file. problems are the corrupt records and pages that it has
// found; info counts the others. The error says why the file cannot be read at all.
func Inspect(path string, check bool) (info Info, problems []error, err error) {
	if path, err = disk.Resolve(path); err != nil {
		return info, nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return info, nil, err
	}
	db, err := openToCheck(path)
	if err != nil {
		return info, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	bad := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	s := &Store{path: path, heads: make(map[uint64]*head)} // with the fields that replayWAL needs
	var key []byte
	bad(viewDB(db, func(tx *bolt.Tx) (err error) {
		if info.Schema, err = schemaOf(tx); err != nil || info.Schema != Schema {
			return err
		}
		info.Bytes = tx.Size()
		key = append(key, tx.Bucket(bucketMeta).Get(keyWAL)...)
		left, _ := readHeads(tx, s.heads)
		s.corruption.skipped.Store(left)
		if !check { // which reports them, too
			for _, l := range left.sentences {
				bad(errors.New(l))
			}
		}
		info.count(tx)
		return nil
	}))
	if info.Schema != Schema || s.corruption.skipped.Load() == nil {
		return info, problems, nil
	}
	info.Free = freeBytes(db)
	before := info.Lines
	_, err = s.replayWAL(key)
	bad(err)
	for _, w := range s.warnings {
		bad(errors.New(w))
	}
	for _, h := range s.heads {
		for i := range h.tail {
			info.WALLines += int64(h.tail[i].Lines)
		}
	}
	info.Lines = before + uint64(info.WALLines)
	bad(s.writer.wal.Close())
	if check {
		bad(viewDB(db, checkTx))
	}
	return info, problems, nil
}

func (info *Info) count(tx *bolt.Tx) {
	info.Bans = tx.Bucket(bucketBans).Stats().KeyN
	info.AuditEntries = tx.Bucket(bucketAudit).Stats().KeyN
	info.Readers = countReaders(tx)
	info.LineIDs = lineid.Count(tx.Bucket(bucketIDs))
	for k, v := range records(tx.Bucket(bucketRooms)) {
		r, h, err := readRoom(tx, k, v)
		switch {
		case err != nil:
			continue // the room is skipped
		case r.Deleted.IsZero():
			info.Rooms++
		default:
			info.Trash++
		}
		info.Lines += h.Lines
	}
}

// Compact rewrites a database that no server has open without its free pages, and
// without the lines and rooms that exceed the limits in opts. The old file is kept until
// the new one is checked. It returns the sizes before and after.
func Compact(path string, opts Options) (before, after int64, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, 0, err // opening would create it
	}
	opts.CompactAbove = 0
	s, err := Open(path, opts)
	if err != nil {
		return 0, 0, err
	}
	if before, after, err = s.compact(); err != nil {
		return before, after, fmt.Errorf("compact %s: %w", path, err)
	}
	return before, after, nil
}

// compact is Compact for a store that is not started. The store is closed afterwards.
func (s *Store) compact() (before, after int64, err error) {
	before, err = sizeOf(s.path)
	s.retention.schedule(s.retention.now(), s.heads)
	for s.runJobs() && s.opts.Context.Err() == nil {
	}
	if err == nil {
		err = s.finish()
	}
	if err == nil && s.writer.wal.Exists() {
		err = ErrFull // finish keeps the WAL on a full disk, without an error
	}
	if n, _ := s.SkippedRecords(); err == nil && n > 0 {
		err = errNotCompacted
	}
	if err == nil {
		err = replace(s.opts.Context, s.file.db, s.path, "", s.opts.Progress)
	}
	if err = errors.Join(err, s.writer.wal.Close(), s.file.db.Close()); err == nil {
		after, err = sizeOf(s.path)
	}
	return before, after, err
}

var errNotCompacted = errors.New("a database with corrupt records is not compacted; `roomd store check` lists them: restore a backup, or export all rooms and import them into a new database")

func sizeOf(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// RestoreFile puts a backup in the place of a database that no server has open,
// after a check. If there is a file at path the error is fs.ErrExist, unless force is
// set: then the old file is kept beside it, with its WAL, as kept. The new file has the
// owner and the mode of the old one, and entries in its audit. progress, if not nil, is
// told of the copy. RestoreFile fails with the cause of ctx when ctx is done.
func RestoreFile(ctx context.Context, backup, path string, force bool, progress Progress, audit ...Audit) (kept string, err error) {
	if path, err = disk.Resolve(path); err != nil {
		return "", err
	}
	if old, err := os.Stat(path); err == nil {
		if is, err := os.Stat(backup); err == nil && os.SameFile(is, old) {
			return "", fmt.Errorf("%s is %w", backup, errItself)
		}
		if !force {
			return "", existsError(path)
		}
		// Until the new file is in place no process can open the old one.
		lock, err := lockFile(path)
		if err != nil {
			return "", err
		}
		defer lock.Close()
		removeStaleTempFiles(path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := runUntilDone(ctx, func() error { return checkFile(backup) }); err != nil {
		return "", fmt.Errorf("the backup %s cannot be used: %w", backup, err)
	}
	err = disk.WithTemp(path, disk.ForDatabase, func(f *os.File) error {
		if err := errors.Join(copyFile(ctx, backup, f, progress), f.Close()); err != nil {
			return err
		}
		if err := finishCopy(ctx, f.Name(), audit...); err != nil {
			return fmt.Errorf("the copy of the backup: %w", err)
		}
		if _, err := os.Stat(path); err == nil {
			if !force { // another process has just made it
				return existsError(path)
			}
			kept = fmt.Sprintf("%s.before-%s", path, time.Now().UTC().Format("20060102-150405"))
			if err := keepOld(path, kept); err != nil {
				kept = ""
				return err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Rename(f.Name(), path)
	})
	if err == nil && kept != "" { // the new file has no WAL; that of the old one has another name, too
		err = disk.RemoveIfExists(wal.Path(path))
	}
	if err != nil {
		return kept, err
	}
	return kept, disk.SyncDir(filepath.Dir(path))
}

var errItself = errors.New("the database itself, and not a backup of it")

// lockFile takes the lock of a database, which may be corrupt, until the file is
// closed.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && disk.Replaced(path, f) {
			err = errReplaced
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock the database %s: %w", path, err), f.Close())
		}
		if time.Now().After(end) {
			return nil, errors.Join(&InUseError{path, disk.LockHolder(path)}, f.Close())
		}
	}
}

// keepOld gives a database that nobody has open a second name, and its WAL the name
// that belongs to it. If that is interrupted, both are still together under one name.
func keepOld(path, kept string) error {
	if err := disk.LinkOrCopy(path, kept); err != nil {
		return fmt.Errorf("keep the old file as %s: %w", kept, err)
	}
	if err := disk.LinkOrCopy(wal.Path(path), wal.Path(kept)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep the old WAL as %s: %w", wal.Path(kept), err)
	}
	return nil
}

// copyFile copies a file into another one, which it syncs.
func copyFile(ctx context.Context, from string, to *os.File, progress Progress) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err == nil {
		_, err = io.Copy(&meteredWriter{ctx: ctx, w: to, total: st.Size(), progress: progress}, in)
	}
	return errors.Join(err, to.Sync())
}

// openToCheck opens a file that no process has open for writing.
func openToCheck(path string) (*bolt.DB, error) {
	return openReadOnly(path, &bolt.Options{Timeout: time.Second, PreLoadFreelist: true})
}
