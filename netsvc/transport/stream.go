package transport

import (
	"runtime/debug"
	"sync/atomic"
)

// stream is what a conn has that is more than a descriptor: TLS, or, where there are no
// event loops, anything: there a goroutine reads and one writes.
type stream struct {
	conn HalfCloser

	cipher *cipherSocket // beneath TLS, on a loop: nothing else is set then

	engine *Engine
	tcp    TCP           // beneath conn, or conn itself
	work   chan struct{} // capacity 1: something is pending for the writer
	busy   atomic.Bool   // its reader handles input
}

func (e *Engine) newStream(c HalfCloser, tcp TCP) *Conn {
	return &Conn{stream: &stream{engine: e, conn: c, tcp: tcp, work: make(chan struct{}, 1)}}
}

func (c *Conn) startStream() {
	go c.streamWriter()
	go c.streamReader()
	c.stream.wake()
}

// streamReader hands what comes to the handler until there is no more, or nothing more
// is to be read.
func (c *Conn) streamReader() {
	k, h := c.stream, c.handler
	c.readLock.TryAcquire() // it is nobody else's
	next := Continue
	defer func() {
		if p := recover(); p != nil {
			h.Panicked(p, debug.Stack())
		}
		if next != Replaced {
			h.Finish()
		}
	}()
	if next = c.resumeStream(); next != Continue { // what was read before Start
		return
	}
	for {
		k.busy.Store(false)
		p, done, err := k.receive()
		k.busy.Store(true)
		if err != nil {
			next = c.streamPeerClosed(err)
			return
		}
		next = h.Data(p)
		done()
		if next == Defer {
			next = c.resumeStream()
		}
		if next != Continue {
			return
		}
	}
}

// resumeStream has pending input handled: More, End or Gone follows.
func (c *Conn) resumeStream() Outcome {
	for {
		next := c.handler.Resume()
		if next != Retry {
			return next
		}
		if !c.stream.engine.AwaitThaw() {
			return Continue
		}
	}
}

// streamPeerClosed has the end of the input handled: End or Gone follows.
func (c *Conn) streamPeerClosed(err error) Outcome {
	for !c.is(isReadStopped) {
		if next := c.handler.PeerClosed(err); next != Retry {
			return next
		}
		c.stream.engine.AwaitThaw()
	}
	return Stop
}

// receive is ReadTCP, if the connection is nothing but TCP: others hold their buffer
// while they wait.
func (k *stream) receive() (p []byte, done func(), err error) {
	if k.conn == k.tcp {
		return readTCP(k.tcp, k.engine.limitRead)
	}
	return readConn(k.conn, k.engine.limitRead)
}

// streamWriter writes what is pending each time it is told that something is.
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

// wake tells the writer that something is pending.
func (k *stream) wake() {
	select {
	case k.work <- struct{}{}:
	default:
	}
}
