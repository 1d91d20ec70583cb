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

	"roomd/store/boltcheck"
	"roomd/store/disk"
	"roomd/store/wal"
)

// Info is what a file holds.
type Info struct {
	Schema  uint64
	Bytes   int64 // of the file
	Free    int64 // of those, what is free for what comes
	Journal int64 // lines in the journal, not in the file yet
	Rooms   int
	Trash   int // rooms that are deleted and not gone yet
	Lines   uint64
	Bans    int
	Audits  int
}

// Inspect reads a database that no server has open, without changing anything.
// If check is set it reads all of it, and compares; what it finds damaged is in
// problems, and the rest is right. The error says why it could not even begin.
func Inspect(path string, check bool) (info Info, problems []error, err error) {
	if path, err = disk.Resolve(path); err != nil {
		return info, nil, err
	}
	if st, err := os.Stat(path); err != nil {
		return info, nil, err
	} else if st.Mode().IsRegular() && st.Size() < boltcheck.MinFileSize() {
		return info, nil, fmt.Errorf("%s is damaged or not a roomd database: it has only %d bytes", path, st.Size())
	}
	db, err := openReadOnly(path)
	if err != nil {
		return info, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	bad := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	s := &Store{path: path, heads: make(map[uint64]*head)} // as far as replay needs one
	var key []byte
	bad(viewDB(db, func(tx *bolt.Tx) (err error) {
		if info.Schema, err = schemaOf(tx); err != nil || info.Schema != Schema {
			return err
		}
		info.Bytes = tx.Size()
		key = append(key, tx.Bucket(bucketMeta).Get(keyWAL)...)
		left, _ := readHeads(tx, s.heads)
		s.corruption.skipped.Store(left)
		for _, l := range left.sentences {
			if !check { // which says it, too
				bad(errors.New(l))
			}
		}
		info.count(tx)
		return nil
	}))
	if info.Schema != Schema || s.corruption.skipped.Load() == nil {
		return info, problems, nil
	}
	st := db.Stats()
	info.Free = int64(st.FreePageN+st.PendingPageN) * int64(db.Info().PageSize)
	before := info.Lines
	_, err = s.replayWAL(key)
	bad(err)
	for _, w := range s.warnings {
		bad(errors.New(w))
	}
	for _, h := range s.heads {
		for i := range h.tail {
			info.Journal += int64(h.tail[i].Lines)
		}
	}
	info.Lines = before + uint64(info.Journal)
	bad(s.writer.wal.Close())
	if check {
		bad(viewDB(db, checkTx))
	}
	return info, problems, nil
}

func (info *Info) count(tx *bolt.Tx) {
	info.Bans = tx.Bucket(bucketBans).Stats().KeyN
	info.Audits = tx.Bucket(bucketAudit).Stats().KeyN
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

// Compact rewrites a database that no server has open without the space that is
// free, and without what opts do not let it keep any more. The old file is kept until the
// new one is checked. It returns the sizes before and after.
func Compact(path string, opts Options) (before, after int64, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, 0, err // opening would make it
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

// compact is Compact for a store that is not started. It is closed after.
func (s *Store) compact() (before, after int64, err error) {
	before, err = sizeOf(s.path)
	s.retention.schedule(s.retention.now(), s.heads)
	for s.runJobs() && s.opts.Context.Err() == nil {
	}
	if err == nil {
		err = s.finish()
	}
	if err == nil && s.writer.wal.Exists() {
		err = ErrFull // for which finish leaves the journal
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

var errNotCompacted = errors.New("what is damaged is not copied; `roomd store check` lists it: restore a backup, or export all rooms and import them into a new database")

func sizeOf(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// RestoreFile puts a backup in the place of a database that no server has open,
// after a check. What is there is refused (fs.ErrExist), unless force is set: then it is kept
// beside, with its journal, as kept. The new file has the owner and the mode of
// the old one, and entries in its audit. progress, if not nil, is told of the copy, which ctx ends.
func RestoreFile(ctx context.Context, backup, path string, force bool, progress Progress, audit ...Audit) (kept string, err error) {
	if path, err = disk.Resolve(path); err != nil {
		return "", err
	}
	if there, err := os.Stat(path); err == nil {
		if is, err := os.Stat(backup); err == nil && os.SameFile(is, there) {
			return "", fmt.Errorf("%s is the database itself, and no backup of it", backup)
		}
		if !force {
			return "", existsError(path)
		}
		// Until the new file is there nobody else opens the old one.
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
		return "", fmt.Errorf("the backup %s is not good: %w", backup, err)
	}
	tmp, err := copyFile(ctx, backup, path, progress)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	if err := finishCopy(ctx, tmp, audit...); err != nil {
		return "", fmt.Errorf("the copy of the backup: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		if !force { // since a moment ago
			return "", existsError(path)
		}
		kept = fmt.Sprintf("%s.before-%s", path, time.Now().UTC().Format("20060102-150405"))
		if err := keepOld(path, kept); err != nil {
			return "", err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return kept, err
	}
	if kept != "" { // the new file has no journal; that of the old one has another name, too
		if err := os.Remove(wal.Path(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return kept, err
		}
	}
	return kept, disk.SyncDir(filepath.Dir(path))
}

// lockFile takes the lock of a database, which may be damaged, until the file is
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

// keepOld gives a database that nobody has open a second name, and its journal
// that of it: whatever ends this, the two are together under one of them.
func keepOld(path, kept string) error {
	if err := disk.LinkOrCopy(path, kept); err != nil {
		return fmt.Errorf("keep the old file as %s: %w", kept, err)
	}
	if err := disk.LinkOrCopy(wal.Path(path), wal.Path(kept)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep the old journal as %s: %w", wal.Path(kept), err)
	}
	return nil
}

// copyFile copies a file into a new one beside path, synced, and returns that.
func copyFile(ctx context.Context, from, path string, progress Progress) (tmp string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := disk.CreateTemp(path, disk.ForDatabase)
	if err != nil {
		return "", err
	}
	st, err := in.Stat()
	if err == nil {
		_, err = io.Copy(&progressWriter{ctx, out, progress, 0, st.Size()}, in)
	}
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), nil
}

// progressWriter tells of what is written.
type progressWriter struct {
	ctx context.Context // ends it
	io.Writer
	progress    Progress
	done, total int64
}

func (c *progressWriter) Write(b []byte) (n int, err error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err = c.Writer.Write(b)
	if c.done += int64(n); c.progress != nil {
		c.progress(c.done, c.total)
	}
	return n, err
}

// openReadOnly opens a file that nobody has open for writing.
func openReadOnly(path string) (db *bolt.DB, err error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	err = catchFaults(func() error {
		db, err = bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second})
		if err != nil {
			return openError(path, err)
		}
		return checkLength(db)
	})
	if err != nil && db != nil {
		err = errors.Join(err, db.Close())
	}
	return db, err
}
