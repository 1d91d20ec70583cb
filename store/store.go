package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"

	"roomd/store/block"
	"roomd/store/wal"
)

// Schema is the version of the file's layout that this package writes.
const Schema = 2

var (
	// ErrClosed is returned for changes after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrNoRoom is returned for a room that is not there, or is deleted.
	ErrNoRoom = errors.New("no such room")
	// ErrExists is returned by Create for a name or a port that is taken.
	ErrExists = errors.New("already there")
	// ErrReadOnly is returned for changes after a failed sync. What was
	// acknowledged before is safe; nothing more is accepted until the file has
	// been opened anew.
	ErrReadOnly = errors.New("the store is read-only since a write to the disk failed")
	// ErrFull is returned for changes that the disk has no room for. Nothing of
	// the change is kept; the next one is tried.
	ErrFull = errors.New("the disk is full")
)

var (
	bucketMeta  = []byte("meta")
	bucketRooms = []byte("rooms")
	bucketHeads = []byte("heads")
	bucketNames = []byte("names")
	bucketPorts = []byte("ports")
	bucketLines = []byte("lines")
	bucketBans  = []byte("bans")
	bucketAudit = []byte("audit")

	buckets = [][]byte{bucketMeta, bucketRooms, bucketHeads, bucketNames, bucketPorts, bucketLines, bucketBans, bucketAudit}

	keySchema  = []byte("schema")
	keyRelaxed = []byte("relaxed") // there while a relaxed server runs
	keyJournal = []byte("journal") // identity and next number of the journal in use
	// See Identity.
	keyIdentity = []byte("identity")
	keyEpoch    = []byte("epoch")
)

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
	// by the clock, but see Jumped.
	Age time.Duration
	// Trash is how long a deleted room can be restored. 0: not at all.
	Trash time.Duration
	// TrashBytes is how much the rooms in the trash have together: of each the
	// bytes of its lines, and 1 KiB. Beyond it the one that was deleted first is
	// purged. 0: no limit.
	TrashBytes uint64
	// TrashRooms is how many rooms are in the trash at most. Default 10,000.
	TrashRooms int
	// LockTimeout is how long Open waits for another process to let go of
	// the file. Default 1s.
	LockTimeout time.Duration
	// PendingBytes bounds the memory of lines submitted but not yet committed;
	// at the bound Submit waits. Default 16 MiB.
	PendingBytes int64
	// CompactAbove, in bytes, lets Open compact a file that is longer and more
	// than half free. 0: never.
	CompactAbove int64
	// Progress, if not nil, is called while Open writes an older file, or one that
	// is mostly free, anew, and by Compact.
	Progress Progress
	// Context, if not nil, ends what Open or Compact rewrites when it is done:
	// they fail with its cause, and what was there stays.
	Context context.Context
	// Latched, if not nil, is called on the committer's goroutine when the store
	// becomes read-only, with the reason, and with nil when it has healed. It
	// must not block, nor call the store.
	Latched func(why error)
	// Filled, if not nil, is called on the committer's goroutine when something is
	// refused because the disk is full, and when the next change is kept. It must
	// not block, nor call the store.
	Filled func(full bool)
	// Evicted, if not nil, is called on the committer's goroutine when rooms have to
	// leave the trash before their time, as it is full, with how many. It must not
	// block, nor call the store.
	Evicted func(rooms int)
	// Jumped, if not nil, is called on the committer's goroutine when the wall
	// clock has jumped ahead while there is something that can get too old: for
	// an hour the jump does not count. It must not block, nor call the store.
	Jumped func(by time.Duration)
	// Stalled, if not nil, is called when the disk has not answered for a second,
	// and once more, with over, when it has; on a goroutine of its own.
	Stalled func(took time.Duration, over bool)
	// Observe, if not nil, is called on the committer's goroutine after each
	// commit: how long it took, and how many lines it kept. It must not block.
	Observe func(took time.Duration, lines int)
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
}

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	// Set by Open, then read-only.
	path     string
	real     string // path, absolute and without links
	opts     Options
	opened   time.Time
	pending  *semaphore.Weighted // bytes submitted and not yet committed
	warnings []string

	retention atomic.Pointer[Retention] // replaced as a whole
	replan    atomic.Bool               // it has been

	// Held by readers while they read, and by the committer while the store is
	// suspended. It comes before mu.
	files sync.RWMutex
	db    *bolt.DB    // replaced by Resume
	file  fs.FileInfo // of db

	// Set by Start, then read-only.
	deliver func([]*Post)

	damaged atomic.Uint64          // blocks and records that could not be read
	rotten  sync.Map               // rooms with such blocks
	spoilt  atomic.Pointer[spoilt] // replaced as a whole, by load
	stall   stall
	full    atomic.Bool // the last change was refused for want of space

	closeOnce sync.Once
	closeErr  error

	done chan struct{} // closed when the committer has ended
	wake chan struct{} // capacity 1: the queue has something, or closing

	in      sync.Mutex // guards the queue
	queue   []item
	started bool
	closing bool

	mu        sync.Mutex
	identity  string
	epoch     string
	heads     map[uint64]*head // rooms that are not deleted; written by the committer only
	broken    error            // why the store is read-only
	suspended *suspension      // the file is somebody else's

	// Owned by the committer.
	journal   *wal.File
	record    []byte // of the journal, under way
	unwritten int    // lines in it; with Relaxed they are delivered already
	spare     []byte // the record that is being written behind the committer
	behind    int    // lines in it; 0: nobody else has the journal
	since     time.Time
	written   chan error // capacity 1: what became of it
	doubtful  int        // the transaction that could not be taken back; 0: none
	backups   []backup
	stuck     error   // why it could not be written; nil: not tried yet
	batches   uint64  // so many times lines were numbered
	touched   []*head // rooms with lines that are numbered and not yet published
	dirty     []*head // rooms that differ from the database
	tails     int     // bytes of lines in memory that are only in the journal
	logged    int     // bytes written to the journal since it began anew
	folding   []foldedRoom
	sweeps    int // blocks that the transaction may yet take out
	chores    []chore
	waiting   map[chore]bool // which chores there are
	trash     trash
	round     []uint64     // rooms that planTidy has not looked at yet
	aging     bool         // there may be something that gets too old
	clock     clock        // says what does
	posts     []*Post      // space for a batch
	away      bool         // the file is closed, as the store is suspended
	late      func() error // what Open had no space for; lines wait for it
}

// head is what is known of a room without reading the file. Its counts are
// written by the committer only, under Store.mu.
type head struct {
	Last    uint64 // the newest sequence number that is delivered
	Lines   uint64
	Bytes   uint64 // the lines' weights
	Trimmed uint64 // the newest sequence number that retention has removed

	own   Settings      // of the room; for what is kept
	tail  []block.Block // the newest lines: in the journal, not in the database
	topic *string       // the newest topic in tail; nil: what the database says

	// Owned by the committer.
	id      uint64
	next    uint64 // the newest sequence number given in the batch
	batch   uint64 // the newest batch that the room was in
	dirty   bool   // the database differs
	listed  bool   // it is in Store.dirty
	unswept bool   // lines up to Trimmed may be in the database
}

// Open opens the database at path, making it if it is not there. A file made
// by a newer roomd, a damaged one, or one that another process holds is
// refused with an error that says so.
func Open(path string, opts Options) (*Store, error) {
	opts.setDefaults()
	path, err := Resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	used := lastUsed(path) // opening writes
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create the database %s: %w", path, err)
	}
	db, err := openFile(opts.Context, path, opts.LockTimeout, opts.Progress)
	if err != nil {
		return nil, err
	}
	real, err := Real(path)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	file, err := os.Lstat(path)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{
		path:    path,
		real:    real,
		db:      db,
		file:    file,
		opts:    opts,
		opened:  time.Now(),
		clock:   clock{wall: used},
		journal: wal.New(path),
		pending: semaphore.NewWeighted(opts.PendingBytes),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		written: make(chan error, 1),
		waiting: make(map[chore]bool),
		trash:   trash{draining: make(map[uint64]trashed)},
	}
	s.warnings = removeLeftBehind(path)
	s.stall.tell = opts.Stalled
	s.SetRetention(Retention{Lines: opts.Lines, Bytes: opts.Bytes, Age: opts.Age, Trash: opts.Trash, TrashBytes: opts.TrashBytes})
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("read the database %s: %w", path, errors.Join(err, s.journal.Close(), db.Close()))
	}
	size, free, err := s.Size()
	if err != nil || opts.CompactAbove == 0 || size <= opts.CompactAbove || free <= size/2 {
		return s, nil // what cannot be read is found by who reads
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
	s.opened, s.clock = first.opened, first.clock // the file is new, and says nothing
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

// Start begins to accept changes. deliver is called on the committer's
// goroutine with lines in their order, each with its sequence number or with
// the error that kept it out; it must not block, nor call the store. From then
// on no change needs a descriptor that the store does not have.
func (s *Store) Start(deliver func([]*Post)) {
	s.openJournal()
	s.in.Lock()
	s.started = true
	s.in.Unlock()
	s.deliver = deliver
	go s.commit()
}

// Close commits what has been submitted, delivers it, and closes the file. The
// error says so if lines that Relaxed has delivered could not be written.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	s.in.Lock()
	started := s.started
	s.closing = true
	s.in.Unlock()
	if !started {
		return errors.Join(s.unmark(), s.journal.Close(), s.db.Close())
	}
	s.mu.Lock()
	if s.suspended != nil {
		close(s.suspended.end)
	}
	s.mu.Unlock()
	s.nudge()
	<-s.done
	if s.away { // the file is left to who has it
		return nil
	}
	s.endBackups()
	return errors.Join(s.finish(), s.journal.Close(), s.closeFile())
}

// closeFile closes the database, if a failed healing has left it open.
func (s *Store) closeFile() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// unmark takes back what begin has put down.
func (s *Store) unmark() error {
	if s.opts.Durability != Relaxed || s.late != nil {
		return nil
	}
	return s.transact(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyRelaxed) })
}

// finish brings everything into the database, and removes the journal. A disk
// that is too full for it loses nothing: the next Open reads the journal.
func (s *Store) finish() error {
	if err := s.flush(); err != nil {
		if s.opts.Durability == Relaxed {
			return fmt.Errorf("lines that were delivered and are lost: %d: %w", s.unwritten, err)
		}
		return err
	}
	if s.Broken() != nil || s.late != nil || !s.journal.Exists() && len(s.dirty) == 0 && s.opts.Durability != Relaxed {
		return nil
	}
	s.beginFold()
	err := s.transact(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		return errors.Join(s.foldAll(tx), meta.Delete(keyJournal), meta.Delete(keyRelaxed))
	})
	if errors.Is(err, ErrFull) {
		return nil
	}
	if err == nil {
		s.foldedAll()
		err = s.journal.Remove()
	}
	return err
}

// Size is what the file takes, in bytes, and how much of that is free for what
// comes.
func (s *Store) Size() (file, free int64, err error) {
	s.files.RLock()
	defer s.files.RUnlock()
	if err = viewDB(s.db, func(tx *bolt.Tx) error { file = tx.Size(); return nil }); err != nil {
		return 0, 0, err // there is no file at the moment
	}
	st := s.db.Stats()
	return file, int64(st.FreePageN+st.PendingPageN) * int64(s.db.Info().PageSize), err
}

// Full reports whether the last change was refused because the disk is full.
func (s *Store) Full() bool { return s.full.Load() }

// filled notes whether there was space for a change.
func (s *Store) filled(full bool) {
	if s.full.Load() != full {
		s.full.Store(full)
		if s.opts.Filled != nil {
			s.opts.Filled(full)
		}
	}
}

// Broken says why the store is read-only, or nil.
func (s *Store) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
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
	check := func(tx *bolt.Tx) error { found = checkBut(ctx, tx, nil); return errNothing }
	var err error
	if s.Broken() != nil {
		err = s.view(check) // nothing writes any more
	} else {
		// bbolt's check reads the free list, which every writer changes: it runs
		// where they run. Nothing is committed.
		err = s.update(check, nil)
	}
	if errors.Is(err, errNothing) {
		err = nil
	}
	return errors.Join(err, found)
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
