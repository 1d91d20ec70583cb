package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
	"roomd/store/lineid"
)

var (
	// ErrClosed is returned for changes after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrNoRoom is returned for a room that does not exist, or is deleted.
	ErrNoRoom = errors.New("no such room")
	// ErrExists is returned for a name or a port that another room has.
	ErrExists = errors.New("already in use")
	// ErrUsed is returned by DeleteUnused for a room that is kept.
	ErrUsed = errors.New("the room is in use")
	// ErrReadOnly is returned for changes after a failed write. Everything that was
	// acknowledged before is safe; no change is accepted until the file has been
	// opened again (Reopen).
	ErrReadOnly = errors.New("the store is read-only since a write to the disk failed")
	// ErrFull is returned for changes that the disk has no space for. Nothing of
	// the change is kept; the next one is tried.
	ErrFull = errors.New("the disk is full")
)

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	// Set by Open, then read-only.
	path     string
	realPath string // absolute and without symbolic links
	opts     Options

	warnings []string // written by Open and Resume
	follower Follower // set by Start, then read-only

	queue      queue // the work of the committer
	file       database
	health     health
	corruption corruption
	commits    commits

	mu        sync.Mutex
	identity  string
	epoch     string
	heads     map[uint64]*head // of the rooms that are not deleted; written by the committer only
	suspended *suspension      // not nil: another process has the file

	closeOnce func() error
	done      chan struct{} // closed when the committer has ended

	// Owned by the committer.
	batch      batch
	writer     writer
	checkpoint checkpoint
	retention  retention // but for the fields that say so
	positions  positions // but for the fields that say so
	ids        lineid.Index
	recovery   recovery
	backups    []backup
}

// Open opens the database at path, and creates it if it does not exist. A file of a
// newer roomd, a corrupt one, or one that another process has locked is refused with
// an error that says so.
func Open(path string, opts Options) (*Store, error) {
	opts.setDefaults()
	path, err := disk.Resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	modified := lastModified(path) // opening writes
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create the database %s: %w", path, err)
	}
	s := &Store{
		path:   path,
		opts:   opts,
		done:   make(chan struct{}),
		writer: newWriter(path),
	}
	if err := s.file.open(&s.opts, path, opts.Progress); err != nil {
		return nil, err
	}
	if s.realPath, err = disk.RealPath(path); err != nil {
		return nil, errors.Join(err, s.file.close())
	}
	s.closeOnce = sync.OnceValue(s.close)
	s.warnings = removeStaleTempFiles(path)
	s.queue.init(opts.PendingBytes)
	s.health.events, s.health.slowDisk.notify = &s.opts.Events, opts.Events.SlowDisk
	s.retention.init(&s.opts, modified)
	s.SetRetention(opts.Retention)
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("read the database %s: %w", path, errors.Join(err, s.writer.wal.Close(), s.file.close()))
	}
	size, free, err := s.Size()
	if err != nil || opts.CompactAbove == 0 || size <= opts.CompactAbove || free <= size/2 {
		return s, nil // readers get the error again
	}
	return s.reopenCompacted(size, free)
}

// reopenCompacted compacts the file of a store that is not started, and opens the new
// file. If the file cannot be compacted it is opened as it is, with a warning.
func (s *Store) reopenCompacted(size, free int64) (*Store, error) {
	before, after, failed := s.compact()
	if s.opts.Context.Err() != nil {
		return nil, failed
	}
	opts := s.opts
	opts.CompactAbove = 0
	compacted, err := Open(s.path, opts)
	if err != nil {
		return nil, err
	}
	compacted.retention.clock = s.retention.clock // the modification time of the new file means nothing
	// The new store has not found what was wrong with the WAL: that has been read.
	compacted.warnings = append(slices.DeleteFunc(s.warnings, func(w string) bool { return slices.Contains(compacted.warnings, w) }), compacted.warnings...)
	if failed != nil {
		compacted.warnings = append(compacted.warnings, fmt.Sprintf("%d of the %d bytes of the database are free, and it could not be compacted: %v", free, size, failed))
	} else {
		compacted.warnings = append(compacted.warnings, fmt.Sprintf("the database was compacted, from %d bytes to %d", before, after))
	}
	return compacted, nil
}

// Warnings returns sentences about the work of Open: lines that are lost because a
// file is corrupt or missing; rooms and other records that are skipped, as they are
// corrupt (SkippedRecords); that the file was compacted.
func (s *Store) Warnings() []string { return s.warnings }

// Start begins to accept lines and changes, and tells f of them. Everything that was
// read from the store before Start is the state to which f's changes apply. From then
// on no change needs a file descriptor that the store does not have.
func (s *Store) Start(f Follower) {
	if s.follower = f; f.Lines == nil {
		s.follower.Lines = func([]*Post) {}
	}
	s.openWAL()
	s.queue.start()
	go s.runCommitter()
}

// Close commits and delivers what has been submitted, and closes the file. The error
// says so if relaxed lines that were delivered could not be written.
func (s *Store) Close() error { return s.closeOnce() }

func (s *Store) close() error {
	if !s.queue.close() {
		return errors.Join(s.unmarkRunning(), s.writer.wal.Close(), s.file.close())
	}
	s.mu.Lock()
	if s.suspended != nil {
		close(s.suspended.end)
	}
	s.mu.Unlock()
	s.queue.wake()
	<-s.done
	if s.file.released {
		return nil
	}
	s.endBackups()
	return errors.Join(s.finish(), s.writer.wal.Close(), s.file.close())
}

// unmarkRunning removes the mark of markRunning.
func (s *Store) unmarkRunning() error {
	if s.opts.Durability != Relaxed || s.recovery.deferred != nil {
		return nil
	}
	return s.transact(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyRelaxed) })
}

// finish runs the last checkpoint, and removes the WAL. If the disk is too full for
// that nothing is lost: the next Open reads the WAL.
func (s *Store) finish() error {
	if err := s.flush(); err != nil {
		if s.opts.Durability == Relaxed {
			return fmt.Errorf("lines that were delivered and are lost: %d: %w", s.writer.unwritten, err)
		}
		return err
	}
	s.writePositions()
	if s.ReadOnly() != nil || s.recovery.deferred != nil || !s.writer.wal.Exists() && len(s.checkpoint.dirty) == 0 && s.opts.Durability != Relaxed {
		return nil
	}
	s.checkpoint.begin()
	err := s.transact(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		return errors.Join(s.writeDirtyRooms(tx), meta.Delete(keyWAL), meta.Delete(keyRelaxed))
	})
	if errors.Is(err, ErrFull) {
		return nil
	}
	if err == nil {
		s.checkpointDone()
		err = s.writer.wal.Remove()
	}
	return err
}

// suspension is the time for which another process has the file.
type suspension struct {
	began chan error    // the file is closed, or cannot be
	end   chan struct{} // closed by Resume or Close
}

// errSuspended is returned by Suspend if the store is suspended already.
var errSuspended = errors.New("the store is suspended already")

// Suspend commits and delivers what has been submitted and closes the file, so that
// another process can open it. Until Resume, changes wait in the queue, and readers
// wait too. After an error the store goes on as before. Suspend is quick after
// Checkpoint: the lines since then stay in the WAL.
func (s *Store) Suspend() error {
	p := &suspension{began: make(chan error, 1), end: make(chan struct{})}
	s.mu.Lock()
	if s.suspended != nil {
		s.mu.Unlock()
		return errSuspended
	}
	s.suspended = p
	s.mu.Unlock()
	err := s.queue.put(item{suspension: p})
	if err == nil {
		err = <-p.began
	}
	if err != nil {
		s.mu.Lock()
		s.suspended = nil
		s.mu.Unlock()
	}
	return err
}

// Resume opens the file again after Suspend. After an error the store is still
// suspended, and Resume may be called again.
func (s *Store) Resume() error {
	p := s.suspension()
	if p == nil {
		return nil
	}
	// The committer holds file.mu, and waits for end.
	if err := s.file.open(&s.opts, s.path, nil); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return errors.Join(fmt.Errorf("read the database %s: %w", s.path, err), s.file.close())
	}
	s.openWAL()
	s.mu.Lock()
	s.suspended = nil
	s.mu.Unlock()
	close(p.end)
	return nil
}

func (s *Store) suspension() *suspension {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspended
}

// flushForSuccessor brings to disk what the next process that opens the file needs.
func (s *Store) flushForSuccessor() error {
	if s.opts.Durability == Relaxed {
		return s.finish() // which removes the mark that a relaxed server runs
	}
	return s.flush()
}

// suspend is the committer's part of Suspend: it closes the file, keeps readers out
// and waits for the end of the suspension. It returns the items that are still to be
// processed.
func (s *Store) suspend(p *suspension, items []item) []item {
	err := s.ReadOnly()
	if err == nil {
		err = s.VerifyPath()
	}
	if err == nil {
		s.writePositions()
		err = s.ReadOnly()
	}
	if err == nil {
		err = s.flushForSuccessor()
	}
	if err != nil {
		p.began <- err
		return items
	}
	s.endBackups()
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	p.began <- errors.Join(s.writer.wal.Close(), s.file.close())
	s.file.released = true
	<-p.end
	if s.suspension() != p { // it may be suspended again already
		s.file.released = false
		return items
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	// The store was closed. The follower is not told of the lines: the process that has
	// the file has the connections too.
	for _, it := range append(items, s.queue.items...) {
		if it.task != nil {
			it.task.err = ErrClosed
			close(it.task.done)
		}
	}
	s.queue.items = nil
	return nil
}

// Size returns the size of the file, and how many bytes of it are free.
func (s *Store) Size() (file, free int64, err error) {
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	if err = viewDB(s.file.db, func(tx *bolt.Tx) error { file = tx.Size(); return nil }); err != nil {
		return 0, 0, err
	}
	return file, freeBytes(s.file.db), nil
}

func freeBytes(db *bolt.DB) int64 {
	st := db.Stats()
	return int64(st.FreePageN+st.PendingPageN) * int64(db.Info().PageSize)
}

// Check reads the whole file and compares what it finds: bbolt's structure, and every
// room's head with its lines. It is for tests and for operators, and takes as long as
// reading the file does; lines wait meanwhile.
func (s *Store) Check() error { return s.CheckContext(context.Background()) }

// CheckContext is Check, but fails with the cause of ctx when ctx is done.
func (s *Store) CheckContext(ctx context.Context) error {
	if err := s.Flush(); err != nil {
		return err
	}
	var found error
	check := func(tx *bolt.Tx) error { found = checkExcept(ctx, tx, nil); return errRollback }
	var err error
	if s.ReadOnly() != nil {
		err = s.file.view(check) // there are no writers
	} else {
		// bbolt's check reads the free list, which every writer changes: it runs
		// where the writers run. Nothing is committed.
		err = s.update(check, nil)
	}
	if errors.Is(err, errRollback) {
		err = nil
	}
	return errors.Join(err, found)
}

// Durability says whether a line is on disk when it is delivered.
type Durability int

const (
	Commit  Durability = iota // synced, then delivered
	Relaxed                   // delivered, then written within the flush interval
)

// Progress is called very often, with the number of bytes that are done and, about, of
// all bytes. It must not block.
type Progress func(done, total int64)

// Options are read once, by Open. The zero value is usable.
type Options struct {
	// Durability of lines. Everything else is always committed first.
	Durability Durability
	// FlushInterval bounds the time until a relaxed line is on disk. Default 50ms.
	FlushInterval time.Duration
	// Retention can be changed later, with SetRetention.
	Retention
	// TrashRooms bounds the number of rooms in the trash. Default 10,000.
	TrashRooms int
	// LockTimeout bounds the time that Open waits for another process to release
	// the file. Default 1s.
	LockTimeout time.Duration
	// PendingBytes bounds the memory of lines submitted but not yet committed;
	// at the bound Submit waits. Default 16 MiB.
	PendingBytes int64
	// CompactAbove, in bytes, lets Open compact a file that is longer and more
	// than half free. 0: never.
	CompactAbove int64
	// Progress, if not nil, is called while Open rewrites an older file, or one that
	// is mostly free, and by Compact.
	Progress Progress
	// Context, if not nil, ends a rewrite by Open or Compact when it is done: they
	// fail with its cause, and the old file stays.
	Context context.Context
	Events  Events
}

// Events are functions that the store calls on the committer's goroutine, except for
// SlowDisk: they must not block, and must not call the store. Each may be nil.
type Events struct {
	// ReadOnly is called with the reason when the store becomes read-only, and with
	// nil when it is writable again.
	ReadOnly func(why error)
	// DiskFull is called when a change is refused because the disk is full, and when
	// the next change is kept.
	DiskFull func(full bool)
	// Evicted is called with the number of rooms that are removed from the trash
	// before their time because the trash is full.
	Evicted func(rooms int)
	// ClockJumped is called when the wall clock has jumped ahead while there is
	// something that can get too old: for an hour the jump does not count.
	ClockJumped func(by time.Duration)
	// SlowDisk is called when the disk has not answered for a second, and again,
	// with over, when it has; on a goroutine of its own.
	SlowDisk func(took time.Duration, over bool)
	// Committed is called after each commit, with its duration and the number of its
	// lines.
	Committed func(took time.Duration, lines int)
}

func (e *Events) setDefaults() {
	if e.ReadOnly == nil {
		e.ReadOnly = func(error) {}
	}
	if e.DiskFull == nil {
		e.DiskFull = func(bool) {}
	}
	if e.Evicted == nil {
		e.Evicted = func(int) {}
	}
	if e.ClockJumped == nil {
		e.ClockJumped = func(time.Duration) {}
	}
	if e.SlowDisk == nil {
		e.SlowDisk = func(time.Duration, bool) {}
	}
	if e.Committed == nil {
		e.Committed = func(time.Duration, int) {}
	}
}

func (o *Options) setDefaults() {
	o.FlushInterval = cmp.Or(max(o.FlushInterval, 0), 50*time.Millisecond)
	o.LockTimeout = cmp.Or(max(o.LockTimeout, 0), time.Second)
	o.TrashRooms = cmp.Or(max(o.TrashRooms, 0), 10_000)
	o.PendingBytes = cmp.Or(max(o.PendingBytes, 0), 16<<20)
	if o.Context == nil {
		o.Context = context.Background()
	}
	o.Events.setDefaults()
}
