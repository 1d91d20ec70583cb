package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/disk"
)

var (
	// ErrClosed is returned for changes after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrNoRoom is returned for a room that is not there, or is deleted.
	ErrNoRoom = errors.New("no such room")
	// ErrExists is returned by Create for a name or a port that is taken.
	ErrExists = errors.New("already there")
	// ErrReadOnly is returned for changes after a failed sync. What was
	// acknowledged before is safe; nothing more is accepted until the file has
	// been opened again.
	ErrReadOnly = errors.New("the store is read-only since a write to the disk failed")
	// ErrFull is returned for changes that the disk has no room for. Nothing of
	// the change is kept; the next one is tried.
	ErrFull = errors.New("the disk is full")
)

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	// Set by Open, then read-only.
	path     string
	realPath string // path, absolute and without links
	opts     Options

	warnings []string // written by Open and Resume
	follower Follower // set by Start, then read-only

	queue      queue      // what the committer is to do
	file       database   // what readers read
	health     health     // how the disk does
	corruption corruption // what cannot be read

	mu        sync.Mutex
	identity  string
	epoch     string
	heads     map[uint64]*head // rooms that are not deleted; written by the committer only
	suspended *suspension      // the file is somebody else's

	closeOnce sync.Once
	closeErr  error
	done      chan struct{} // closed when the committer has ended

	// Owned by the committer.
	batch      batch
	writer     writer
	checkpoint checkpoint
	retention  retention // but for what its fields say
	recovery   recovery
	backups    []backup
}

// Open opens the database at path, making it if it is not there. A file made
// by a newer roomd, a damaged one, or one that another process holds is
// refused with an error that says so.
func Open(path string, opts Options) (*Store, error) {
	opts.setDefaults()
	path, err := disk.Resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	used := lastModified(path) // opening writes
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create the database %s: %w", path, err)
	}
	db, err := openFile(opts.Context, path, opts.LockTimeout, opts.Progress)
	if err != nil {
		return nil, err
	}
	real, err := disk.RealPath(path)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{
		path:     path,
		realPath: real,
		opts:     opts,
		done:     make(chan struct{}),
		writer:   newWriter(path),
	}
	s.warnings = removeStaleTempFiles(path)
	s.queue.init(opts.PendingBytes)
	s.file.db, s.file.info = db, file
	s.health.events, s.health.slowDisk.notify = &s.opts.Events, opts.Events.SlowDisk
	s.retention.init(&s.opts, used)
	s.SetRetention(Retention{Lines: opts.Lines, Bytes: opts.Bytes, Age: opts.Age, Trash: opts.Trash, TrashBytes: opts.TrashBytes})
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("read the database %s: %w", path, errors.Join(err, s.writer.wal.Close(), db.Close()))
	}
	size, free, err := s.Size()
	if err != nil || opts.CompactAbove == 0 || size <= opts.CompactAbove || free <= size/2 {
		return s, nil // the reader finds what cannot be read
	}
	opts.CompactAbove = 0
	first := s
	before, after, failed := first.compact()
	if opts.Context.Err() != nil {
		return nil, failed
	}
	if s, err = Open(path, opts); err != nil {
		return nil, err
	}
	s.retention.clock = first.retention.clock // the file is new, and says nothing
	// The journal is read, and what was wrong with it not found again.
	s.warnings = append(slices.DeleteFunc(first.warnings, func(w string) bool { return slices.Contains(s.warnings, w) }), s.warnings...)
	if failed != nil {
		s.warnings = append(s.warnings, fmt.Sprintf("the database has %d of %d bytes to give back and could not be compacted: %v", free, size, failed))
	} else {
		s.warnings = append(s.warnings, fmt.Sprintf("the database was compacted, from %d bytes to %d", before, after))
	}
	return s, nil
}

// Warnings are sentences about what Open has found and done: lines that are lost
// because a file is damaged, or not there; rooms and other records that are left
// out, as they are damaged (see LeftOut); that it has compacted the file.
func (s *Store) Warnings() []string { return s.warnings }

// Start begins to accept lines and changes, of which f is told from then on: with
// what was read before Start it knows the state at every moment. From then on no
// change needs a descriptor that the store does not have.
func (s *Store) Start(f Follower) {
	if s.follower = f; f.Lines == nil {
		s.follower.Lines = func([]*Post) {}
	}
	s.openWAL()
	s.queue.start()
	go s.runCommitter()
}

// Close commits what has been submitted, delivers it, and closes the file. The
// error says so if lines that Relaxed has delivered could not be written.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	if !s.queue.close() {
		return errors.Join(s.unmarkRunning(), s.writer.wal.Close(), s.file.db.Close())
	}
	s.mu.Lock()
	if s.suspended != nil {
		close(s.suspended.end)
	}
	s.mu.Unlock()
	s.queue.wake()
	<-s.done
	if s.file.released { // another process has the file
		return nil
	}
	s.endBackups()
	return errors.Join(s.finish(), s.writer.wal.Close(), s.file.close())
}

// unmarkRunning takes back what begin has put down.
func (s *Store) unmarkRunning() error {
	if s.opts.Durability != Relaxed || s.recovery.deferred != nil {
		return nil
	}
	return s.transact(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyRelaxed) })
}

// finish brings everything into the database, and removes the journal. A disk
// that is too full for it loses nothing: the next Open reads the journal.
func (s *Store) finish() error {
	if err := s.flush(); err != nil {
		if s.opts.Durability == Relaxed {
			return fmt.Errorf("lines that were delivered and are lost: %d: %w", s.writer.unwritten, err)
		}
		return err
	}
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

// Size is what the file takes, in bytes, and how much of that is free for what
// comes.
func (s *Store) Size() (file, free int64, err error) {
	s.file.mu.RLock()
	defer s.file.mu.RUnlock()
	if err = viewDB(s.file.db, func(tx *bolt.Tx) error { file = tx.Size(); return nil }); err != nil {
		return 0, 0, err // there is no file at the moment
	}
	st := s.file.db.Stats()
	return file, int64(st.FreePageN+st.PendingPageN) * int64(s.file.db.Info().PageSize), err
}

// Check reads the whole file and compares what it finds: bbolt's structure,
// and every room's head with its lines. It is for tests and for operators, and
// takes as long as reading the file does; lines wait meanwhile.
func (s *Store) Check() error { return s.CheckContext(context.Background()) }

// CheckContext is Check until ctx is done; the error is then ctx's.
func (s *Store) CheckContext(ctx context.Context) error {
	if err := s.Flush(); err != nil {
		return err
	}
	var found error
	check := func(tx *bolt.Tx) error { found = checkExcept(ctx, tx, nil); return errRollback }
	var err error
	if s.ReadOnly() != nil {
		err = s.file.view(check) // nothing writes any more
	} else {
		// bbolt's check reads the free list, which every writer changes: it runs
		// where they run. Nothing is committed.
		err = s.update(check, nil)
	}
	if errors.Is(err, errRollback) {
		err = nil
	}
	return errors.Join(err, found)
}

// Durability says when a line is shown, relative to when it is on disk.
type Durability int

const (
	Commit  Durability = iota // synced, then shown
	Relaxed                   // shown, then written within the flush interval
)

// Progress is told very often how many bytes of how many, about, are done. It must
// not block.
type Progress func(done, total int64)

// Options are read once, by Open. The zero value is usable.
type Options struct {
	// Durability of lines. Everything else is always committed first.
	Durability Durability
	// FlushInterval bounds how long a relaxed line is not on disk. Default 50ms.
	FlushInterval time.Duration
	// Lines kept per room; older ones are trimmed. 0: no limit. A room may
	// have about 2 % more for a while, as trimming is done in strides.
	Lines uint64
	// Bytes kept per room, as Stat counts them; the oldest lines go first. 0: no
	// limit. It has a margin of 2 %, too.
	Bytes uint64
	// Age of the oldest line kept, looked at once a minute. 0: no limit. It goes
	// by the clock, but see Events.Jumped.
	Age time.Duration
	// Trash is how long a deleted room can be restored. 0: not at all.
	Trash time.Duration
	// TrashBytes is how much the rooms in the trash have together: of each the
	// bytes of its lines, and 1 KiB. Beyond it the one that was deleted first is
	// purged. 0: no limit.
	TrashBytes uint64
	// TrashRooms is how many rooms are in the trash at most. Default 10,000.
	TrashRooms int
	// LockTimeout is how long Open waits until another process releases
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
	// Context, if not nil, ends what Open or Compact rewrites when it is done:
	// they fail with its cause, and what was there stays.
	Context context.Context
	// Events are told of what happens inside.
	Events Events
}

// Events are called on the committer's goroutine, except for Stalled: they must not
// block, nor call the store. Each may be nil.
type Events struct {
	// ReadOnly is called when the store becomes read-only, with the reason, and with
	// nil when it is writable again.
	ReadOnly func(why error)
	// DiskFull is called when something is refused because the disk is full, and when
	// the next change is kept.
	DiskFull func(full bool)
	// Evicted is called when rooms have to leave the trash before their time, as it
	// is full, with how many.
	Evicted func(rooms int)
	// ClockJumped is called when the wall clock has jumped ahead while there is something
	// that can get too old: for an hour the jump does not count.
	ClockJumped func(by time.Duration)
	// SlowDisk is called when the disk has not answered for a second, and again,
	// with over, when it has; on a goroutine of its own.
	SlowDisk func(took time.Duration, over bool)
	// Committed is called after each commit: how long it took, and how many lines it
	// kept.
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
	if o.FlushInterval <= 0 {
		o.FlushInterval = 50 * time.Millisecond
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	if o.TrashRooms <= 0 {
		o.TrashRooms = 10_000
	}
	if o.PendingBytes <= 0 {
		o.PendingBytes = 16 << 20
	}
	o.Events.setDefaults()
}
