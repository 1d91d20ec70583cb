package transport

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what an Engine needs. All fields must be set.
type Options struct {
	Portable bool // serve all connections with goroutines, as where there are no event loops
	Log      *slog.Logger

	// Any goroutine may call these functions. They must not wait.

	DeadPeer         func() time.Duration // after which an idle peer that does not answer is given up, 6 s at least
	MaxRead          func() int           // bytes that a conn reads at a time, at most
	Accepted         func()               // a connection was accepted
	OutOfDescriptors func()               // a connection was closed for want of descriptors
}

// Engine serves the sockets of a server. Any goroutine may call its methods.
type Engine struct {
	Options

	loops     loops
	reserve   reserve
	freeze    freeze
	pending   atomic.Int64   // bytes of pending input that handlers keep
	lingering chan struct{}  // bounds the refused connections that linger
	refusals  sync.WaitGroup // their goroutines
}

// New makes an engine that serves nothing before Open. It can be frozen.
func New(o Options) *Engine {
	e := &Engine{Options: o, lingering: make(chan struct{}, 64)}
	e.freeze.init()
	return e
}

// Open makes what listeners and conns need. They can be added then, and are served after
// Run.
func (e *Engine) Open() error {
	e.reserve.open()
	return e.loops.open(e)
}

// Run begins to serve.
func (e *Engine) Run() error {
	if err := e.loops.poll(); err != nil {
		return err
	}
	e.loops.run()
	return nil
}

// Close ends the engine. No listener and no conn may be left.
func (e *Engine) Close() {
	e.refusals.Wait()
	e.loops.stop()
	e.reserve.close()
}

// ProbeLoops wakes all event loops, and returns a function that reports whether each has
// handled its events since.
func (e *Engine) ProbeLoops() (answered func() bool) { return e.loops.probe() }

// AddPending counts n more bytes of pending input that a handler keeps, or with a negative n
// fewer. While all handlers together keep 64 MiB nothing is read.
func (e *Engine) AddPending(n int64) { e.pending.Add(n) }

// PendingBytes is how many bytes of pending input all handlers keep.
func (e *Engine) PendingBytes() int64 { return e.pending.Load() }

// limitRead cuts a buffer to what a conn reads at a time.
func (e *Engine) limitRead(b []byte) []byte { return b[:min(len(b), e.MaxRead())] }

// TryLinger is asked before a refused connection lingers. It reports false if very many do
// already. The caller must call done when the connection is closed.
func (e *Engine) TryLinger() (done func(), ok bool) {
	select {
	case e.lingering <- struct{}{}:
		return func() { <-e.lingering }, true
	default:
		return func() {}, false
	}
}

// Refuse writes one line to a connection and closes it, without waiting. The peer may lose
// the line if very many connections are refused at a time.
func (e *Engine) Refuse(c HalfCloser, line string) {
	c.SetWriteDeadline(time.Now().Add(time.Second)) // its buffer is empty: it does not wait
	c.Write([]byte(line))
	done, ok := e.TryLinger()
	if !ok {
		c.Close()
		return
	}
	e.refusals.Go(func() {
		defer done()
		CloseLingering(c, false)
	})
}

// BeginClose counts a connection that gets nothing more and is about to be closed. EndClose
// must follow.
func (e *Engine) BeginClose() { e.freeze.closing.Add(1) }

// EndClose says that the connection is closed.
func (e *Engine) EndClose() { e.freeze.closing.Add(-1) }

// ClosingCount counts the connections that get nothing more and are not closed yet.
func (e *Engine) ClosingCount() int { return int(e.freeze.closing.Load()) + len(e.lingering) }
