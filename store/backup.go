package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
)

// BackupRate is how many bytes a second Backup writes if it is not told.
const BackupRate = 32 << 20

// writebackBytes is how much the disk is given at a time: much at once would hold up
// the syncs of the lines.
const writebackBytes = 1 << 20

// existsError is the refusal to write over the file of that name. It is fs.ErrExist.
type existsError string

func (e existsError) Error() string      { return string(e) + " is there already" }
func (existsError) Is(target error) bool { return target == fs.ErrExist }

// WriteBackup makes a file at path, with mode 0600, of what fill writes: a database
// as Snapshot writes it. It is synced, opened and checked before it gets its name;
// ctx ends that. If there is a file with that name, keep files are kept: path,
// path.1 and so on, the newest first; with keep 0 it is fs.ErrExist, and always what is
// there and no file. A link at path stays, and leads to the new file. It returns the size of the backup.
func WriteBackup(ctx context.Context, path string, keep int, fill func(io.Writer) error) (size int64, err error) {
	if path, err = disk.Resolve(path); err != nil {
		return 0, err
	}
	switch st, err := os.Lstat(path); {
	case err == nil && !st.Mode().IsRegular(): // a rename would take the place of a device
		return 0, fmt.Errorf("%s is not a file", path)
	case keep == 0 && !errors.Is(err, fs.ErrNotExist):
		return 0, errors.Join(existsError(path), err)
	}
	f, err := disk.CreateTemp(path, disk.ForBackup)
	if err != nil {
		return 0, err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	out := &writebackFile{f: f}
	if err = fill(out); err == nil {
		removeStaleTempFiles(path) // ours is locked still
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := finishCopy(ctx, tmp); err != nil {
		return 0, fmt.Errorf("check the backup: %w", err)
	}
	if err := rotate(path, keep); err != nil {
		return 0, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return 0, err
	}
	return out.done, disk.SyncDir(filepath.Dir(path))
}

// rotate gives keep-1 older backups their next names. The newest has both of its
// names then: there is a backup at path all the time.
func rotate(path string, keep int) error {
	for i := keep - 1; i > 0; i-- {
		from, to := BackupName(path, i-1), BackupName(path, i)
		if i == 1 {
			if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// BackupName is the name of an older backup: the i-th, or for 0 the newest.
func BackupName(path string, i int) string {
	if i == 0 {
		return path
	}
	return fmt.Sprint(path, ".", i)
}

// writebackFile writes to a file, and gives the disk some of it at a time.
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

// Snapshot writes the database as it is to w, everything that was said before the
// call and nothing after, while lines go on, at rate bytes a second (0:
// BackupRate). progress, if not nil, is called at the beginning and now and then.
// The database does not reuse space meanwhile. It ends when ctx is done, or the
// store is closed or suspended; if w has a SetWriteDeadline it is not waited for
// then. It returns how many bytes it has written. See WriteBackup for what they
// need to be a backup.
func (s *Store) Snapshot(ctx context.Context, w io.Writer, rate int64, progress func(done, total int64)) (int64, error) {
	if rate <= 0 {
		rate = BackupRate
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tx *bolt.Tx
	var begun error
	// On the committer's goroutine: nothing comes between the fold and this.
	c := &task{checkpoint: true, then: func() {
		if tx, begun = s.file.db.Begin(false); begun == nil {
			s.backups = slices.DeleteFunc(s.backups, func(b backup) bool { return b.ctx.Err() != nil })
			s.backups = append(s.backups, backup{ctx, cancel})
		}
	}}
	err := s.do(c)
	if err = errors.Join(err, begun); err != nil {
		return 0, err
	}
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		defer context.AfterFunc(ctx, func() { d.SetWriteDeadline(time.Unix(1, 0)) })()
	}
	out := &rateWriter{ctx: ctx, w: w, rate: rate, start: time.Now(), total: tx.Size(), progress: progress}
	if progress != nil {
		progress(0, tx.Size())
	}
	n, err := tx.WriteTo(out)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // and not what came of it
	}
	return n, errors.Join(err, tx.Rollback())
}

// backup is one under way. The file cannot be closed before it has ended.
type backup struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// endBackups ends backups under way. It is called by the committer, or when
// that has ended, before the file is closed, which waits for them.
func (s *Store) endBackups() {
	for _, b := range s.backups {
		b.cancel(errors.New("the database was closed meanwhile"))
	}
	s.backups = nil
}

// rateWriter writes no faster than its rate.
type rateWriter struct {
	ctx         context.Context
	w           io.Writer
	rate        int64
	start       time.Time
	done, total int64
	reported    int64
	progress    func(done, total int64)
}

func (p *rateWriter) Write(b []byte) (n int, err error) {
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
		if p.progress != nil && (p.done-p.reported) > p.total/20 {
			p.reported = p.done
			p.progress(p.done, p.total)
		}
		early := time.Duration(float64(p.done)/float64(p.rate)*float64(time.Second)) - time.Since(p.start)
		if early > 0 {
			t := time.NewTimer(early)
			select {
			case <-t.C:
			case <-p.ctx.Done():
				t.Stop()
			}
		}
	}
	return n, nil
}

// ReadFrom is what tx.WriteTo would use; through Write it is paced.
func (p *rateWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// finishCopy makes a copy of a database that was in use one that is not, whose
// history is of another epoch, and checks it.
func finishCopy(ctx context.Context, path string, audit ...Audit) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if string(meta.Get(keySchema)) == string(u64(Schema)) { // else the next start rewrites it first
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
