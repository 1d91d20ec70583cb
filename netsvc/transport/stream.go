package transport

import (
	"cmp"
	"crypto/tls"
	"io"
	"runtime/debug"
	"sync/atomic"
)

// stream is what a conn has beside its descriptor: TLS, or, where no event loop serves it,
// a connection with a goroutine that reads and one that writes. While the engine is
// suspended the reader calls no handler.
type stream struct {
	conn HalfCloser // of a conn of ConnFromFrames a FrameConn

	cipher *cipherSocket // beneath TLS, on an event loop: the fields below are not set then

	engine *Engine
	tcp    TCP           // beneath conn, or conn itself
	work   chan struct{} // capacity 1: output is pending
	busy   atomic.Bool   // the reader handles input
}

func (e *Engine) newStream(c HalfCloser, tcp TCP) *Conn {
	return &Conn{stream: &stream{engine: e, conn: c, tcp: tcp, work: make(chan struct{}, 1)}}
}

// FrameConn is a connection of whole messages: with one, a conn has a goroutine that reads and one that
// writes also where there are event loops, and cannot be handed over.
type FrameConn interface {
	HalfCloser
	// Await waits, and holds no buffer meanwhile, until a read does not wait for the beginning of a
	// message, or returns the error that the read would meet.
	Await() error
	// WriteFrame writes one message: the head, a line end, and p. It waits, and writes all or fails.
	WriteFrame(head string, p []byte) error
}

// ConnFromFrames makes a conn of a connection of messages. tcp is beneath it.
func (e *Engine) ConnFromFrames(c FrameConn, tcp TCP) *Conn { return e.newStream(c, tcp) }

// Frames returns the connection of a conn of ConnFromFrames.
func (c *Conn) Frames() FrameConn { return c.stream.conn.(FrameConn) }

// WriteFrame is Write for a conn of ConnFromFrames: it writes one message.
func (c *Conn) WriteFrame(head string, p []byte) (int, error) {
	if err := c.Frames().WriteFrame(head, p); err != nil {
		return 0, err
	}
	return len(p), nil
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
	for next = c.untilThawed(h.Resume); next == Continue; { // input may be pending from before Start
		var err error
		k.busy.Store(false)
		next, err = c.readStream()
		k.busy.Store(true)
		switch {
		case err != nil && !c.is(isReadStopped):
			next = c.untilThawed(func() Outcome { return h.PeerClosed(err) })
		case next == Defer:
			next = c.untilThawed(h.Resume)
		}
	}
}

// untilThawed calls a method of the handler while the engine is not suspended, and again after a thaw
// if it returns Retry. If there is no thaw it returns Stop, when StopReading was called.
func (c *Conn) untilThawed(call func() Outcome) Outcome {
	e := c.stream.engine
	for {
		if o, ok := e.whileRunning(call); ok && o != Retry {
			return o
		}
		if !e.AwaitThaw() {
			for !c.is(isReadStopped) {
				c.handler.WaitSignal(lingerPoll)
			}
			return Stop
		}
	}
}

// whileRunning calls a method of a handler as a reader that Freeze waits for, unless the engine is
// suspended.
func (e *Engine) whileRunning(call func() Outcome) (o Outcome, ok bool) {
	e.freeze.readers.Add(1)
	defer e.freeze.readers.Add(-1)
	if e.Suspended() { // asked after readers is counted: Freeze does it the other way round
		return Stop, false
	}
	return call(), true
}

// readStream waits for input and gives it to the handler.
func (c *Conn) readStream() (Outcome, error) {
	k := c.stream
	if err := k.await(); err != nil {
		return Stop, err
	}
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	n, err := k.conn.Read(k.engine.limitRead(*b))
	k.busy.Store(true)
	if n == 0 {
		return Stop, cmp.Or(err, io.ErrNoProgress)
	}
	return c.untilThawed(func() Outcome { return c.handler.Data((*b)[:n]) }), nil
}

// await waits for input without a buffer, if it can: TLS holds one.
func (k *stream) await() error {
	if f, ok := k.conn.(FrameConn); ok {
		return f.Await()
	}
	if k.conn != k.tcp {
		return nil
	}
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
