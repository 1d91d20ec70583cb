package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loops serve all plain descriptors: connections edge-triggered, listeners
// level-triggered. An idle connection costs no goroutine, no buffer, no timer.
type loops struct {
	each      []*loop
	next      atomic.Uint32
	conns     table[Conn]
	listeners table[Listener]
	tasks     sync.WaitGroup
}

// loop is one goroutine over one epoll(7) descriptor. It waits for that in the
// runtime's own poller: in a system call it would keep a processor from others
// until the runtime notices.
type loop struct {
	engine *Engine
	ep     int
	file   *os.File // of ep; nil before poll
	wait   syscall.RawConn
	event  int // an eventfd, to wake it
	turns  atomic.Uint64
	quit   atomic.Bool

	parking atomic.Pointer[parking] // not nil: it is to stand still

	// Owned by the loop's goroutine.
	buf  []byte
	more []*Conn // were not read to the end, and their read locks are ours
}

const (
	loopBuffer = 64 << 10 // bytes read from a connection at a time
	loopEvents = 256
	// maxPending bounds the pending input of all conns. At the bound nobody is
	// read. It is far above what ten thousand floods hold, as nobody is to be
	// stopped by others' floods.
	maxPending   = 64 << 20
	pendingPause = 5 * time.Millisecond
)

const (
	eventConn = iota // kinds of descriptors, in the event's data
	eventListener
	eventWake
)

// open makes the event loops. What is added to them waits, and wakes nobody, until
// they poll, and is served when they run.
func (ls *loops) open(e *Engine) error {
	for range min(runtime.GOMAXPROCS(0), 4) {
		l, err := newLoop(e)
		if err != nil {
			return fmt.Errorf("start an event loop: %w", err)
		}
		ls.each = append(ls.each, l)
	}
	return nil
}

// poll prepares the loops to run.
func (ls *loops) poll() error {
	for _, l := range ls.each {
		l.file = os.NewFile(uintptr(l.ep), "epoll")
		var err error
		if l.wait, err = l.file.SyscallConn(); err != nil {
			return fmt.Errorf("start an event loop: %w", err)
		}
	}
	return nil
}

// run starts the loops.
func (ls *loops) run() {
	for _, l := range ls.each {
		ls.tasks.Go(l.run)
	}
}

func newLoop(e *Engine) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, err
	}
	l := &loop{engine: e, ep: ep, event: event, buf: make([]byte, loopBuffer)}
	err = unix.SetNonblock(ep, true) // or os would not poll it
	if err = errors.Join(err, l.add(event, eventWake, unix.EPOLLIN)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	unix.Close(l.event)
	if l.file == nil {
		unix.Close(l.ep)
		return
	}
	l.file.Close()
}

// stop ends all loops. Nothing may be registered any more.
func (ls *loops) stop() {
	for _, l := range ls.each {
		l.quit.Store(true)
		l.wake()
	}
	ls.tasks.Wait()
	for _, l := range ls.each {
		l.close()
	}
}

// turn wakes all loops, and returns what tells whether each has come round since.
func (ls *loops) turn() (turned func() bool) {
	var before []uint64
	for _, l := range ls.each {
		before = append(before, l.turns.Load())
		l.wake()
	}
	return func() bool {
		for i, l := range ls.each {
			if l.turns.Load() == before[i] {
				return false
			}
		}
		return true
	}
}

// parking is where loops stand still.
type parking struct {
	arrived sync.WaitGroup
	leave   chan struct{}
}

// park makes all loops stand still, with no event half handled, until leave is
// called. It fails if one does not within ctx.
func (ls *loops) park(ctx context.Context) (leave func(), err error) {
	p := &parking{leave: make(chan struct{})}
	leave = func() {
		for _, l := range ls.each {
			l.parking.Store(nil)
		}
		close(p.leave)
	}
	p.arrived.Add(len(ls.each))
	for _, l := range ls.each {
		l.parking.Store(p)
		l.wake()
	}
	all := make(chan struct{})
	go func() {
		p.arrived.Wait()
		close(all)
	}()
	select {
	case <-all:
		return leave, nil
	case <-ctx.Done():
		leave() // the goroutine ends when the loop that hangs comes by
		return nil, ctx.Err()
	}
}

// readAgain has all conns read on that are parked.
func (ls *loops) readAgain() {
	for c := range ls.conns.all() {
		c.readAgain()
	}
}

// parkUnread parks the conns whose turn does not come any more, but those that another
// process has. The loops stand still.
func (ls *loops) parkUnread() {
	for _, l := range ls.each {
		for _, c := range l.more {
			if !c.is(isDropped) {
				c.park()
			}
		}
		l.more = nil
	}
}

// pick returns the loop for the next connection.
func (ls *loops) pick() *loop { return ls.each[int(ls.next.Add(1))%len(ls.each)] }

func (l *loop) wake() {
	one := [8]byte{1}
	unix.Write(l.event, one[:]) // EAGAIN: it is awake
}

func (l *loop) add(fd int, kind int32, events uint32) error {
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: kind})
}

const connEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// run is the loop's goroutine.
func (l *loop) run() {
	buf := make([]unix.EpollEvent, loopEvents)
	for {
		if p := l.parking.Load(); p != nil {
			p.arrived.Done()
			<-p.leave
		}
		events, err := l.events(buf)
		l.turns.Add(1)
		if err != nil {
			l.engine.Log.Error("event loop cannot wait for events", "error", err)
			return // the descriptor is broken, which cannot be
		}
		for _, ev := range events {
			l.handle(ev)
		}
		if l.quit.Load() {
			return
		}
		unread := l.more
		l.more = nil
		for _, c := range unread {
			l.read(c, true)
		}
	}
}

// events waits for events, but not while somebody has more to be read; unless
// that one has to wait for a while.
func (l *loop) events(buf []unix.EpollEvent) (events []unix.EpollEvent, err error) {
	if len(l.more) > 0 {
		if l.engine.pending.Load() >= maxPending {
			time.Sleep(pendingPause)
		}
		return pollEvents(l.ep, buf)
	}
	waiting := l.wait.Read(func(uintptr) bool {
		events, err = pollEvents(l.ep, buf)
		return len(events) > 0 || err != nil
	})
	return events, errors.Join(err, waiting)
}

func (l *loop) handle(ev unix.EpollEvent) {
	switch ev.Pad {
	case eventWake:
		var b [8]byte
		unix.Read(l.event, b[:])
	case eventListener:
		if ln := l.engine.loops.listeners.get(int(ev.Fd)); ln != nil {
			ln.accept()
		}
	default:
		// What is in the table may have closed meanwhile, or be a new one with
		// the same number: then this looks once in vain.
		c := l.engine.loops.conns.get(int(ev.Fd))
		if c == nil {
			return
		}
		if ev.Events&unix.EPOLLOUT != 0 && (c.Full() || c.Writing()) {
			c.writable()
		}
		if ev.Events&^unix.EPOLLOUT == 0 {
			return
		}
		if c.read.Acquire() {
			l.read(c, ev.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0)
			return
		}
		c.handler.Signal() // the goroutine that closes it waits for this
	}
}

// read reads a conn whose read lock we have. A panic ends that conn only.
func (l *loop) read(c *Conn, toEnd bool) {
	defer c.recovered()
	c.take(l, l.buf, toEnd)
}

// writable tells the handler of a conn that it takes more. A panic ends that conn
// only.
func (c *Conn) writable() {
	defer func() {
		if p := recover(); p != nil {
			c.handler.Panicked(p, debug.Stack())
		}
	}()
	c.flags.And(^uint32(isFull))
	if c.stream != nil {
		if gone, _ := c.stream.cipher.flush(); !gone {
			return
		}
		c.handler.Signal() // the goroutine that closes it may wait for this
	}
	c.handler.Writable()
}
