package store

import (
	"context"
	"time"
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
	// Events are told of what happens inside.
	Events Events
}

// Events are called on the committer's goroutine, except for Stalled: they must not
// block, nor call the store. Each may be nil.
type Events struct {
	// Latched is called when the store becomes read-only, with the reason, and with
	// nil when it is writable again.
	Latched func(why error)
	// Filled is called when something is refused because the disk is full, and when
	// the next change is kept.
	Filled func(full bool)
	// Evicted is called when rooms have to leave the trash before their time, as it
	// is full, with how many.
	Evicted func(rooms int)
	// Jumped is called when the wall clock has jumped ahead while there is something
	// that can get too old: for an hour the jump does not count.
	Jumped func(by time.Duration)
	// Stalled is called when the disk has not answered for a second, and once more,
	// with over, when it has; on a goroutine of its own.
	Stalled func(took time.Duration, over bool)
	// Observe is called after each commit: how long it took, and how many lines it
	// kept.
	Observe func(took time.Duration, lines int)
}

func (e *Events) setDefaults() {
	if e.Latched == nil {
		e.Latched = func(error) {}
	}
	if e.Filled == nil {
		e.Filled = func(bool) {}
	}
	if e.Evicted == nil {
		e.Evicted = func(int) {}
	}
	if e.Jumped == nil {
		e.Jumped = func(time.Duration) {}
	}
	if e.Stalled == nil {
		e.Stalled = func(time.Duration, bool) {}
	}
	if e.Observe == nil {
		e.Observe = func(time.Duration, int) {}
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
