package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
)

// BackupRate is the rate of Snapshot in bytes a second if the caller gives none.
const BackupRate = 32 << 20

// writebackBytes is how much of a backup is written to the disk at a time: more at
// once would delay the syncs of the lines.
const writebackBytes = 1 << 20

// existsError refuses to overwrite the file of that name. It is fs.ErrExist.
type existsError string

func (e existsError) Error() string      { return string(e) + " already exists" }
func (existsError) Is(target error) bool { return target == fs.ErrExist }

// WriteBackup makes a backup at path, with mode 0600, of the bytes that fill writes: a
// database as Snapshot writes it. The backup is synced, opened and checked before it
// gets its name; a check is abandoned when ctx is done. If path exists, keep files are
// kept: path, path.1 and so on, the newest first; with keep 0 the error is
// fs.ErrExist. Something at path that is not a file is refused. A symbolic link at
// path stays, and leads to the new file. WriteBackup returns the size of the backup.
func WriteBackup(ctx context.Context, path string, keep int, fill func(io.Writer) error) (size int64, err error) {
	if path, err = disk.Resolve(path); err != nil {
		return 0, err
	}
	switch st, err := os.Lstat(path); {
	case err == nil && !st.Mode().IsRegular(): // a rename would replace a device
		return 0, fmt.Errorf("%s is not a file", path)
	case keep == 0 && !errors.Is(err, fs.ErrNotExist):
		return 0, errors.Join(existsError(path), err)
	}
	err = disk.WithTemp(path, disk.ForBackup, func(f *os.File) error {
		out := &writebackFile{f: f}
		err := fill(out)
		if size = out.done; err == nil {
			removeStaleTempFiles(path) // this one is still locked
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := finishCopy(ctx, f.Name()); err != nil {
			return fmt.Errorf("check the backup: %w", err)
		}
		if err := rotate(path, keep); err != nil {
			return err
		}
		return disk.Rename(f.Name(), path)
	})
	return size, err
}

// rotate gives keep-1 older backups their next names. The newest one has two names
// afterwards, so that there is a backup at path at every moment.
func rotate(path string, keep int) error {
	for i := keep - 1; i > 0; i-- {
		from, to := BackupName(path, i-1), BackupName(path, i)
		if i == 1 {
			if err := disk.RemoveIfExists(to); err != nil {
				return err
			}
			if os.Link(from, to) == nil {
				continue
			}
		}
		if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// BackupName returns the name of the i-th older backup; 0: of the newest.
func BackupName(path string, i int) string {
	if i == 0 {
		return path
	}
	return fmt.Sprint(path, ".", i)
}

// writebackFile writes to a file, and starts the writeback of some of it at a time.
type writebackFile struct {
	f           *os.File
	done, given int64
}

func (g *writebackFile) Write(b []byte) (n int, err error) {
	n, err = g.f.Write(b)
	if g.done += int64(n); g.done-g.given >= writebackBytes {
		disk.StartWriteback(g.f, g.given, g.done-g.given)
		g.given = g.done
	}
	return n, err
}

// Snapshot writes a copy of the database to w while lines go on: everything that was
// submitted before the call and nothing after, at rate bytes a second (0:
// BackupRate). progress, if not nil, is called at the beginning and after every 5 %.
// The database does not reuse space meanwhile. Snapshot ends early when ctx is done, or
// the store is closed or suspended; if w has a SetWriteDeadline, a blocked write ends
// then too. It returns the number of bytes written. WriteBackup makes a backup of them.
func (s *Store) Snapshot(ctx context.Context, w io.Writer, rate int64, progress Progress) (int64, error) {
	if rate <= 0 {
		rate = BackupRate
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tx *bolt.Tx
	// On the committer's goroutine: nothing comes between the checkpoint and this.
	if err := s.do(&task{checkpoint: true, then: func() (err error) {
		if tx, err = s.file.db.Begin(false); err == nil {
			s.backups = slices.DeleteFunc(s.backups, func(b backup) bool { return b.ctx.Err() != nil })
			s.backups = append(s.backups, backup{ctx, cancel})
		}
		return err
	}}); err != nil {
		return 0, err
	}
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		defer context.AfterFunc(ctx, func() { d.SetWriteDeadline(time.Unix(1, 0)) })()
	}
	out := &meteredWriter{ctx: ctx, w: w, rate: rate, start: time.Now(), total: tx.Size(), every: tx.Size() / 20, progress: progress}
	if progress != nil {
		progress(0, tx.Size())
	}
	n, err := tx.WriteTo(out)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // and not the error that followed from it
	}
	return n, errors.Join(err, tx.Rollback())
}

// backup is a running Snapshot. The file cannot be closed before it has ended.
type backup struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// endBackups ends the running backups. The committer calls it before it closes the
// file, which waits for them; so does Close, when the committer has ended.
func (s *Store) endBackups() {
	for _, b := range s.backups {
		b.cancel(errors.New("the database was closed during the backup"))
	}
	s.backups = nil
}

// meteredWriter passes on what is written to it, not faster than its rate, and tells
// of its progress. It fails with the cause of ctx when ctx is done.
type meteredWriter struct {
	ctx      context.Context
	w        io.Writer
	rate     int64 // bytes a second from start on; 0: no limit
	start    time.Time
	done     int64
	total    int64
	every    int64 // so many bytes are between two calls of progress
	reported int64
	progress Progress
}

func (p *meteredWriter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if p.ctx.Err() != nil {
			return n, context.Cause(p.ctx)
		}
		m, err := p.w.Write(b[n:min(n+256<<10, len(b))])
		n += m
		p.done += int64(m)
		if err != nil {
			return n, err
		}
		if p.progress != nil && p.done-p.reported > p.every {
			p.reported = p.done
			p.progress(p.done, p.total)
		}
		if p.rate > 0 {
			p.wait(time.Duration(float64(p.done)/float64(p.rate)*float64(time.Second)) - time.Since(p.start))
		}
	}
	return n, nil
}

func (p *meteredWriter) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}

// ReadFrom is called by tx.WriteTo and io.Copy; it makes them go through Write.
func (p *meteredWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// finishCopy makes the copy of a database in use a database of its own, whose history
// is of another epoch, and checks it.
func finishCopy(ctx context.Context, path string, audit ...Audit) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if string(meta.Get(keySchema)) == string(u64(Schema)) { // the next start rewrites an older one first
			if err := putAudit(tx, auditKept, audit...); err != nil {
				return err
			}
		}
		return errors.Join(meta.Delete(keyWAL), meta.Delete(keyRelaxed), clearEpoch(meta))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return runUntilDone(ctx, func() error { return checkFile(path) })
}
