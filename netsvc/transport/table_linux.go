package transport

import (
	"iter"
	"sync"
	"sync/atomic"
)

// table maps descriptors to conns or listeners. Its memory is in pieces: descriptors are
// small numbers, but their limit may be a large one.
type table[T any] struct {
	mu     sync.Mutex // of writers
	pieces atomic.Pointer[[]*tablePiece[T]]
}

const pieceSize = 1024

type tablePiece[T any] [pieceSize]atomic.Pointer[T]

func (t *table[T]) get(fd int) *T {
	pieces := t.pieces.Load()
	if pieces == nil || fd/pieceSize >= len(*pieces) {
		return nil
	}
	return (*pieces)[fd/pieceSize][fd%pieceSize].Load()
}

// all yields the values that are in the table when their turn comes.
func (t *table[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		pieces := t.pieces.Load()
		if pieces == nil {
			return
		}
		for _, piece := range *pieces {
			for i := range piece {
				if v := piece[i].Load(); v != nil && !yield(v) {
					return
				}
			}
		}
	}
}

func (t *table[T]) set(fd int, v *T) {
	pieces := t.pieces.Load()
	if pieces == nil || fd/pieceSize >= len(*pieces) {
		t.mu.Lock()
		defer t.mu.Unlock()
		var grown []*tablePiece[T]
		if pieces = t.pieces.Load(); pieces != nil {
			grown = append(grown, *pieces...)
		}
		for len(grown) <= fd/pieceSize {
			grown = append(grown, new(tablePiece[T]))
		}
		t.pieces.Store(&grown)
		pieces = &grown
	}
	(*pieces)[fd/pieceSize][fd%pieceSize].Store(v)
}
