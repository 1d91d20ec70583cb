package transport

import (
	"cmp"
	"crypto/tls"
	"io"
	"runtime/debug"
	"sync/atomic"
)

// stream is what a conn has beside its descriptor: TLS, or, where no event loop serves it,
// a connection with a goroutine that reads and one that writes. An engine with such
// goroutines is never frozen.
type stream struct {
	conn HalfCloser

	cipher *cipherSocket // beneath TLS, on an event loop: the fields below are not set then

	engine *Engine
	tcp    TCP           // beneath conn, or conn itself
	work   chan struct{} // capacity 1: output is pending
	busy   atomic.Bool   // the reader handles input
}

func (e *Engine) newStream(c HalfCloser, tcp TCP) *Conn {
	return &Conn{stream: &stream{engine: e, conn: c, tcp: tcp, work: make(chan struct{}, 1)}}
}

// IsTLS reports whether the connection is behind TLS.
func (c *Conn) IsTLS() bool {
	if c.stream == nil {
		return false
	}
	_, ok := c.stream.conn.(*tls.Conn)
	return ok
}

func (c *Conn) startStream() {
	go c.streamWriter()
	go c.streamReader()
	c.stream.wake()
}

// streamReader gives the handler all input, and then ends the session.
func (c *Conn) streamReader() {
	k, h := c.stream, c.handler
	c.readLock.TryAcquire() // it is this goroutine's for good
	next := Stop
	defer func() {
		if p := recover(); p != nil {
			h.Panicked(p, debug.Stack())
		}
		if next != Replaced {
			h.Finish()
		}
	}()
	for next = h.Resume(); next == Continue; { // input may be pending from before Start
		var err error
		k.busy.Store(false)
		next, err = k.read(h)
		k.busy.Store(true)
		switch {
		case err != nil && !c.is(isReadStopped):
			next = h.PeerClosed(err)
		case next == Defer:
			next = h.Resume()
		}
	}
}

// read waits for input and gives it to the handler.
func (k *stream) read(h Handler) (Outcome, error) {
	if k.conn == k.tcp { // TLS holds a buffer while it waits
		if err := k.await(); err != nil {
			return Stop, err
		}
	}
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	n, err := k.conn.Read(k.engine.limitRead(*b))
	k.busy.Store(true)
	if n == 0 {
		return Stop, cmp.Or(err, io.ErrNoProgress)
	}
	return h.Data((*b)[:n]), nil
}

// await waits for input without a buffer.
func (k *stream) await() error {
	raw, err := k.tcp.SyscallConn()
	if err != nil {
		return err
	}
	var met error // the kernel gives the error of a reset once
	err = raw.Read(func(fd uintptr) (ok bool) {
		ok, met = canRead(fd)
		return ok
	})
	return cmp.Or(err, met)
}

// streamWriter writes the pending output each time it is woken.
func (c *Conn) streamWriter() {
	for range c.stream.work {
		if c.writeLock.Acquire() {
			c.handler.WritePending()
		}
		if c.is(isWriteStopped) {
			return
		}
	}
}

// wake tells the writer that output is pending.
func (k *stream) wake() {
	select {
	case k.work <- struct{}{}:
	default:
	}
}
