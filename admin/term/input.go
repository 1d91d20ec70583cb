package term

import (
	"io"
	"sync"
)

// input is a stream whose Read ends when it is closed. The read that is under way then
// goes on by itself, as it cannot be ended, and what it gets is dropped.
type input struct {
	in     io.Reader
	end    sync.Once
	closed chan struct{}
}

func newInput(in io.Reader) *input { return &input{in: in, closed: make(chan struct{})} }

// Read is for one goroutine at a time.
func (i *input) Read(p []byte) (int, error) {
	select {
	case <-i.closed:
		return 0, io.EOF
	default:
	}
	type chunk struct {
		text []byte
		err  error
	}
	got := make(chan chunk, 1)
	go func() {
		b := make([]byte, len(p))
		n, err := i.in.Read(b)
		got <- chunk{b[:n], err}
	}()
	select {
	case c := <-got:
		return copy(p, c.text), c.err
	case <-i.closed:
		return 0, io.EOF
	}
}

// Close may be called from any goroutine, and more than once.
func (i *input) Close() { i.end.Do(func() { close(i.closed) }) }
