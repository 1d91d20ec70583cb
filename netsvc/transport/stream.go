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
	c.read.Try() // it is nobody else's
	next := More
	defer func() {
		if p := recover(); p != nil {
			h.Panicked(p, debug.Stack())
		}
		if next != Gone {
			h.Finish()
		}
	}()
	if next = c.resumeStream(); next != More { // what was read before Start
		return
	}
	for {
		k.busy.Store(false)
		p, done, err := k.read()
		k.busy.Store(true)
		if err != nil {
			next = c.lastOfStream(err)
			return
		}
		next = h.Data(p)
		done()
		if next == Wait {
			next = c.resumeStream()
		}
		if next != More {
			return
		}
	}
}

// resumeStream has pending input handled: More, End or Gone follows.
func (c *Conn) resumeStream() Next {
	for {
		next := c.handler.Resume()
		if next != Park {
			return next
		}
		if !c.stream.engine.Outlast() {
			return More
		}
	}
}

// lastOfStream has the end of the input handled: End or Gone follows.
func (c *Conn) lastOfStream(err error) Next {
	for !c.is(isUnheard) {
		if next := c.handler.PeerClosed(err); next != Park {
			return next
		}
		c.stream.engine.Outlast()
	}
	return End
}

// read is ReadTCP, if the connection is nothing but TCP: others hold their buffer
// while they wait.
func (k *stream) read() (p []byte, done func(), err error) {
	if k.conn == k.tcp {
		return ReadTCP(k.tcp, k.engine.fit)
	}
	return Read(k.conn, k.engine.fit)
}

// streamWriter writes what is pending each time it is told that something is.
func (c *Conn) streamWriter() {
	for range c.stream.work {
		if c.write.Acquire() {
			c.handler.Feed()
		}
		if c.is(isDrained) {
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
