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
)

// BackupRate is how many bytes a second Backup writes if it is not told.
const BackupRate = 32 << 20

// backupStep is how much the disk is given at a time: much at once would hold up
// the syncs of the lines.
const backupStep = 1 << 20

// Backup writes everything that was said before the call to a new file at path,
// with mode 0600, while lines go on, at rate bytes a second (0: BackupRate). It
// is opened and checked before it gets its name. If there is a file with that
// name, keep files are kept: path, path.1 and so on, the newest first; with keep
// 0 it is an error. progress, if not nil, is called now and then. The database
// does not reuse space meanwhile. It returns the size of the backup.
func (s *Store) Backup(ctx context.Context, path string, keep int, rate int64, progress func(done, total int64)) (size int64, err error) {
	if _, err := os.Lstat(path); keep == 0 && !errors.Is(err, fs.ErrNotExist) {
		return 0, errors.Join(fmt.Errorf("%s is there already", path), err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*")
	if err != nil {
		return 0, err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	size, err = s.snapshot(ctx, f, rate, progress)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if err := cleanCopy(tmp); err != nil {
		return 0, fmt.Errorf("check the backup: %w", err)
	}
	for i := keep - 1; i > 0; i-- {
		if err := os.Rename(aged(path, i-1), aged(path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		return 0, err
	}
	return size, syncDir(filepath.Dir(path))
}

func aged(path string, i int) string {
	if i == 0 {
		return path
	}
	return fmt.Sprint(path, ".", i)
}

// snapshot writes the database as it is to f.
func (s *Store) snapshot(ctx context.Context, f *os.File, rate int64, progress func(done, total int64)) (int64, error) {
	if rate <= 0 {
		rate = BackupRate
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var tx *bolt.Tx
	var begun error
	// On the committer's goroutine: nothing comes between the fold and this.
	c := &change{fold: true, done: make(chan struct{}), then: func() {
		if tx, begun = s.db.Begin(false); begun == nil {
			s.backups = slices.DeleteFunc(s.backups, func(b backup) bool { return b.ctx.Err() != nil })
			s.backups = append(s.backups, backup{ctx, cancel})
		}
	}}
	if err := s.enqueue(item{change: c}); err != nil {
		return 0, err
	}
	<-c.done
	if err := errors.Join(c.err, begun); err != nil {
		return 0, err
	}
	out := &paced{ctx: ctx, f: f, rate: rate, start: time.Now(), total: tx.Size(), progress: progress}
	if progress != nil {
		progress(0, tx.Size())
	}
	n, err := tx.WriteTo(out)
	return n, errors.Join(err, tx.Rollback(), f.Sync())
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

// paced writes no faster than its rate.
type paced struct {
	ctx           context.Context
	f             *os.File
	rate          int64
	start         time.Time
	done, total   int64
	given, showed int64
	progress      func(done, total int64)
}

func (p *paced) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if p.ctx.Err() != nil {
			return n, context.Cause(p.ctx)
		}
		m, err := p.f.Write(b[n:min(n+256<<10, len(b))])
		n += m
		p.done += int64(m)
		if err != nil {
			return n, err
		}
		if p.done-p.given >= backupStep {
			trickle(p.f, p.given, p.done-p.given)
			p.given = p.done
		}
		if p.progress != nil && (p.done-p.showed) > p.total/20 {
			p.showed = p.done
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
func (p *paced) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// cleanCopy makes a copy of a database that was in use one that is not, whose
// history is of another epoch, and checks it.
func cleanCopy(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Delete(keyJournal), meta.Delete(keyRelaxed), unname(meta))
	})
	return errors.Join(err, db.Close(), checkFile(path))
}
