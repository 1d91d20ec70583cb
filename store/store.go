package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sync/semaphore"
)

// Schema is the version of the file's layout that this package writes.
const Schema = 1

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
)

// Durability says when a line is shown, relative to when it is on disk.
type Durability int

const (
	Commit  Durability = iota // synced, then shown
	Relaxed                   // shown, then written within the flush interval
)

// Options are read once, by Open. The zero value is usable.
type Options struct {
	// Durability of lines. Everything else is always committed first.
	Durability Durability
	// FlushInterval bounds how long a relaxed line is not on disk. Default 50ms.
	FlushInterval time.Duration
	// Lines kept per room; older ones are trimmed. 0: no limit. A room may
	// have about 2 % more for a while, as trimming is done in strides.
	Lines uint64
	// Age of the oldest line kept, looked at once a minute. 0: no limit.
	Age time.Duration
	// Trash is how long a deleted room can be restored. 0: not at all.
	Trash time.Duration
	// LockTimeout is how long Open waits for another process to let go of
	// the file. Default 1s.
	LockTimeout time.Duration
	// PendingBytes bounds the memory of lines submitted but not yet committed;
	// at the bound Submit waits. Default 16 MiB.
	PendingBytes int64
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
	if o.PendingBytes <= 0 {
		o.PendingBytes = 16 << 20
	}
}

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	// Set by Open, then read-only.
	path    string
	opts    Options
	pending *semaphore.Weighted // bytes submitted and not yet committed
	space   func()              // by OnSpace

	retention atomic.Pointer[Retention] // replaced as a whole

	// Held by readers while they read, and by the committer while the store is
	// suspended. It comes before mu.
	files sync.RWMutex
	db    *bolt.DB // replaced by Resume

	// Set by Start, then read-only.
	deliver func([]*Post)

	refused atomic.Bool // TrySubmit has returned false since space was called

	closeOnce sync.Once
	closeErr  error

	done chan struct{} // closed when the committer has ended
	wake chan struct{} // capacity 1: the queue has something, or closing

	mu      sync.Mutex
	heads   map[uint64]*head // rooms that are not deleted
	queue   []item
	started bool
	closing bool
	broken  error // why the store is read-only

	suspended *suspension // the file is somebody else's

	// Owned by the committer.
	unwritten []*Post // relaxed: delivered, not yet on disk
	stuck     error   // why unwritten could not be written; nil: not tried yet
	chores    []chore
	putting   int // lines in the transaction under way
}

// head is what is known of a room without reading the file.
type head struct {
	Last    uint64 // the newest sequence number given
	Lines   uint64
	Bytes   uint64 // of keys and values
	Trimmed uint64 // the newest sequence number that retention has removed

	written uint64 // the newest sequence number that is on disk

	own Settings // of the room; for what is kept
}

// Open opens the database at path, making it if it is not there. A file made
// by a newer roomd, a damaged one, or one that another process holds is
// refused with an error that says so.
func Open(path string, opts Options) (*Store, error) {
	opts.setDefaults()
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create the database %s: %w", path, err)
	}
	db, err := openBolt(path, opts.LockTimeout)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path:    path,
		db:      db,
		opts:    opts,
		pending: semaphore.NewWeighted(opts.PendingBytes),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
	}
	s.SetRetention(Retention{Lines: opts.Lines, Age: opts.Age, Trash: opts.Trash})
	if err := s.load(); err != nil {
		db.Close()
		return nil, fmt.Errorf("read the database %s: %w", path, err)
	}
	return s, nil
}

func boltOptions(lockTimeout time.Duration) *bolt.Options {
	return &bolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bolt.FreelistMapType,
		// Growing the memory map waits for every open reader. A gigabyte of
		// address space, none of it memory, makes that rare.
		InitialMmapSize: 1 << 30,
	}
}

// openBolt opens an existing file. bbolt panics on some damaged files: that is
// an error here, and the file stays locked for as long as the process lives.
func openBolt(path string, lockTimeout time.Duration) (db *bolt.DB, err error) {
	// What cannot be read of a mapped file is a fault and not a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the database %s is damaged: %v", path, p)
		}
	}()
	// bbolt would make a database of an empty file.
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Size() < int64(2*os.Getpagesize()) {
		return nil, fmt.Errorf("%s is damaged or not a roomd database: it has only %d bytes", path, st.Size())
	}
	if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: true}); err == nil {
		if err := errors.Join(whole(db), db.Close()); err != nil {
			return nil, fmt.Errorf("the database %s is damaged: %w", path, err)
		}
		db, err = bolt.Open(path, 0o600, boltOptions(lockTimeout))
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("the database %s is in use by %s", path, lockHolder(path))
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%s is damaged or not a roomd database: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return db, nil
}

// whole refuses a file that is shorter than what it refers to: reading the rest
// through the memory map would kill the process. db is read-only, as opening it
// for writing reads more than the first pages.
func whole(db *bolt.DB) error {
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
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new*")
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
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, u64(Schema))
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what another process has put
	// there in the meantime.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load checks the schema and reads the heads.
func (s *Store) load() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	crashed := false // a relaxed server ended without Close
	lacking := false // a bucket that came later than the file
	heads := make(map[uint64]*head)
	err = s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil || len(meta.Get(keySchema)) != 8 {
			return errors.New("this is not a roomd database")
		}
		if v := binary.BigEndian.Uint64(meta.Get(keySchema)); v != Schema {
			return fmt.Errorf("its schema is version %d, this roomd knows version %d: use a newer roomd", v, Schema)
		}
		crashed = meta.Get(keyRelaxed) != nil
		for _, name := range buckets {
			lacking = lacking || tx.Bucket(name) == nil
		}
		return tx.Bucket(bucketRooms).ForEach(func(k, v []byte) error {
			var r Room
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("room %x: %w", k, err)
			}
			if !r.Deleted.IsZero() {
				return nil
			}
			h, err := decodeHead(tx.Bucket(bucketHeads).Get(k))
			if err != nil {
				return fmt.Errorf("room %q: %w", r.Name, err)
			}
			h.own = r.Own
			heads[binary.BigEndian.Uint64(k)] = h
			return nil
		})
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.heads = heads
	s.mu.Unlock()
	relaxed := s.opts.Durability == Relaxed
	if !crashed && !relaxed && !lacking {
		return nil
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if crashed {
			for id, h := range heads {
				h.Last += maxUnwritten
				h.written = h.Last
				if err := tx.Bucket(bucketHeads).Put(u64(id), h.encode()); err != nil {
					return err
				}
			}
		}
		if relaxed {
			return tx.Bucket(bucketMeta).Put(keyRelaxed, []byte{1})
		}
		return tx.Bucket(bucketMeta).Delete(keyRelaxed)
	})
}

// Start begins to accept changes. deliver is called on the committer's
// goroutine with lines in their order, each with its sequence number or with
// the error that kept it out; it must not block, nor call the store.
func (s *Store) Start(deliver func([]*Post)) {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
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
	s.mu.Lock()
	started, away := s.started, s.suspended
	s.closing = true
	s.mu.Unlock()
	if away != nil { // the file is left to who has it
		close(away.end)
		<-s.done
		return nil
	}
	if started {
		s.nudge()
		<-s.done
	}
	var err error
	if n := len(s.unwritten); n > 0 {
		err = fmt.Errorf("%d lines that were delivered are lost: %w", n, s.stuck)
	} else if s.Broken() == nil {
		err = s.leaveClean()
	}
	return errors.Join(err, s.db.Close())
}

// Size is what the file takes, in bytes, and how much of that is free for what
// comes.
func (s *Store) Size() (file, free int64, err error) {
	s.files.RLock()
	defer s.files.RUnlock()
	err = s.db.View(func(tx *bolt.Tx) error { file = tx.Size(); return nil })
	st := s.db.Stats()
	return file, int64(st.FreePageN+st.PendingPageN) * int64(s.db.Info().PageSize), err
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
func (s *Store) Check() error {
	if err := s.Flush(); err != nil {
		return err
	}
	if s.Broken() != nil {
		return s.view(checkTx) // nothing writes any more
	}
	// bbolt's check reads the free list, which every writer changes: it runs
	// where they run. Nothing is committed.
	var found error
	err := s.update(func(tx *bolt.Tx) error { found = checkTx(tx); return errNothing }, nil)
	if errors.Is(err, errNothing) {
		err = nil
	}
	return errors.Join(err, found)
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (h *head) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32), h.Last)
	b = binary.BigEndian.AppendUint64(b, h.Lines)
	b = binary.BigEndian.AppendUint64(b, h.Bytes)
	return binary.BigEndian.AppendUint64(b, h.Trimmed)
}

func decodeHead(b []byte) (*head, error) {
	if len(b) != 32 {
		return nil, fmt.Errorf("its head has %d bytes instead of 32", len(b))
	}
	h := &head{
		Last:    binary.BigEndian.Uint64(b),
		Lines:   binary.BigEndian.Uint64(b[8:]),
		Bytes:   binary.BigEndian.Uint64(b[16:]),
		Trimmed: binary.BigEndian.Uint64(b[24:]),
	}
	h.written = h.Last
	return h, nil
}
