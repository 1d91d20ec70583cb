package netsvc

import (
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// direct is a link on a descriptor of its own, served by an event loop. Who has
// the member's reading reads and in the end closes it; who has its hold writes.
type direct struct {
	fd   int
	loop *loop
	m    *Member
}

func (k *direct) start(m *Member) error {
	k.m = m
	early := m.left != nil // read before it was a member; later the loop may leave something
	if early {
		m.reading.Store(held)
	}
	k.loop.all.conns.set(k.fd, k)
	if err := k.loop.add(k.fd, dataConn, connEvents); err != nil {
		k.loop.all.conns.set(k.fd, nil)
		return err
	}
	if early && !m.parked.Load() {
		k.goReadOn()
	}
	return nil
}

// goReadOn has the leftover handled, and what comes after it, by a goroutine.
func (k *direct) goReadOn() {
	k.m.room.svc.still.working.Add(1)
	go k.readOn()
}

// goLast has the end of the input handled by a goroutine.
func (k *direct) goLast(err error) {
	k.m.room.svc.still.working.Add(1)
	go k.last(err)
}

func (k *direct) unused(remote netip.AddrPort) halfCloser { return socket(k.fd).conn(remote) }

// take reads and handles what there is. The caller has the member's reading,
// which is given back when there is no more. One that is not a loop has nobody
// who waits for its turn, and l is nil. toEnd says that the end of the stream may
// be there already, for which there will be no other event.
func (k *direct) take(l *loop, buf []byte, toEnd bool) {
	m := k.m
	buf = m.fitBuffer(buf)
	for {
		if m.hasEnded() {
			go m.finish("")
			return
		}
		if l == nil && m.room.svc.still.frozen.Load() {
			m.park()
			return
		}
		if l != nil && m.room.svc.held.Load() >= maxHeld {
			l.more = append(l.more, k)
			return
		}
		n, err := unix.Read(k.fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if release(&m.reading) {
				return
			}
			continue
		case err != nil:
			k.goLast(err)
			return
		case n == 0:
			k.goLast(io.EOF)
			return
		}
		c, taken := m.input(buf[:n])
		switch {
		case !taken:
			k.goReadOn()
			return
		case c != "":
			k.goFinish(c)
			return
		}
		m.flushAll()
		switch {
		case n < len(buf) && !toEnd:
			// All there was: what comes next is a new event (epoll(7)).
			if release(&m.reading) {
				return
			}
		case l != nil:
			l.more = append(l.more, k) // others are to have their turn
			return
		}
	}
}

// last handles the end of the input, which may have to wait, and then what follows
// from it. The goroutine is the member's last one, and its stack has grown by then.
func (k *direct) last(err error) {
	if c := k.lastInput(err); c != "" {
		k.m.finish(c)
	}
}

// lastInput handles the end of the input, and ends the member for the cause that it
// returns. Empty: that is left to others. It ends it as goFinish does.
func (k *direct) lastInput(err error) (c Cause) {
	m := k.m
	defer m.room.svc.still.working.Add(-1)
	defer m.recovered()
	why, ok := m.lastInput(err)
	if !ok {
		m.park()
		return ""
	}
	m.end(why)
	return why
}

// goFinish ends the member and lets the rest be done. What has ended it is read and
// gone: it is ended here, before Freeze takes the reader to have stopped, or another
// process would have a member that waits for ever for what its /quit does.
func (k *direct) goFinish(c Cause) {
	k.m.end(c)
	go k.m.finish(c)
}

// readOn handles the member's leftover and then reads on, in a goroutine that
// may wait.
func (k *direct) readOn() {
	m := k.m
	defer m.room.svc.still.working.Add(-1)
	defer m.recovered()
	switch c := m.readOn(); {
	case c != "":
		k.goFinish(c)
		return
	case m.left != nil:
		m.park()
		return
	}
	m.flushAll()
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	k.take(nil, *b, true)
}

func (k *direct) write(p []byte) (int, error) {
	n, err := send(k.fd, p)
	if err == 0 || err == unix.EAGAIN {
		return n, nil
	}
	return 0, err
}

func (k *direct) nudge() bool { return false }

func (k *direct) movable() bool { return true }

func (k *direct) wakeReader() {
	if acquire(&k.m.reading) {
		go k.m.finish("")
	} else {
		k.m.readAgain() // nobody makes a server go on that has been left
	}
}

func (k *direct) abort() { unix.Shutdown(k.fd, unix.SHUT_RDWR) }

// park leaves reading to the goroutine that makes the server go on, or ends the
// member: either may just have been done.
func (m *Member) park() {
	m.parked.Store(true)
	if !m.room.svc.still.frozen.Load() || m.hasEnded() {
		m.readAgain()
	}
}

// readAgain lets a member that is parked be read on.
func (m *Member) readAgain() {
	if m.parked.Swap(false) {
		m.link.(*direct).goReadOn()
	}
}

// close is called by who has the member's reading and hold, for good.
func (k *direct) close(heard bool) {
	if !heard && unix.Shutdown(k.fd, unix.SHUT_WR) == nil {
		k.readOut()
	}
	k.loop.all.conns.set(k.fd, nil)
	unix.Close(k.fd)
}

// readOut reads until the peer closes its side, for a bounded time: closing with
// input unread would reset the connection, and what was written last be lost.
func (k *direct) readOut() {
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	end := time.Now().Add(readOutTime)
	for n := 0; n < readOutBytes; {
		got, err := unix.Read(k.fd, *b)
		switch {
		case got > 0:
			n += got
		case err == unix.EAGAIN:
			left := time.Until(end)
			if left <= 0 {
				return
			}
			k.m.pause(left)
		case err != unix.EINTR:
			return
		}
	}
}

func (k *direct) unanswered(limit time.Duration) (waiting, silent bool) {
	return unanswered(uintptr(k.fd), limit)
}

func (k *direct) wasReset() bool { return wasReset(uintptr(k.fd)) }

func (k *direct) hungUp() bool { return hungUp(uintptr(k.fd)) }

func (k *direct) hasInput() bool {
	return k.m.reading.Load() != free || hasUnread(uintptr(k.fd))
}
