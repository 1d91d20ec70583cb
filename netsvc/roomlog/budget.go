package roomlog

import "sync/atomic"

// Budget bounds the bytes of many logs together. Beyond it each log has only a small part of its
// window: members that lag further read from the store.
type Budget struct {
	bytes int64
	used  atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{bytes: bytes} }
