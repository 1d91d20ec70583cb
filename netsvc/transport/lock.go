package transport

import "sync/atomic"

// Lock is a lock that no goroutine waits for: one that finds it locked asks the holder to
// run again, and goes away. The zero value is free.
type Lock struct{ state atomic.Int32 }

const (
	free   = iota
	locked // by one holder
	rerun  // locked, and the holder is asked to run again
)

// Acquire acquires the lock. If another goroutine has it, Acquire asks that one to run
// again, and reports false.
func (l *Lock) Acquire() bool {
	for {
		switch l.state.Load() {
		case free:
			if l.state.CompareAndSwap(free, locked) {
				return true
			}
		case locked:
			if l.state.CompareAndSwap(locked, rerun) {
				return false
			}
		default:
			return false
		}
	}
}

// Release releases the lock. If it reports false, the caller was asked to run again, and
// still has the lock.
func (l *Lock) Release() bool {
	if l.state.CompareAndSwap(locked, free) {
		return true
	}
	l.state.Store(locked)
	return false
}

// TryAcquire acquires the lock if it is free, without asking its holder for anything.
func (l *Lock) TryAcquire() bool { return l.state.CompareAndSwap(free, locked) }

// isHeld reports whether a goroutine has the lock.
func (l *Lock) isHeld() bool { return l.state.Load() != free }

// Reset releases the lock of the caller, and forgets that it was asked to run again.
func (l *Lock) Reset() { l.state.Store(free) }
