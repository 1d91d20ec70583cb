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
	all       []*loop
	next      atomic.Uint32
	conns     table[Conn]
	listeners table[Listener]
	tasks     sync.WaitGroup
}

// loop is one goroutine over one epoll(7) descriptor. It waits for that in the
// runtime's own poller: in a system call it would keep a processor from others
// until the runtime notices.
type loop struct {
	engine  *Engine
	epfd    int
	file    *os.File // of ep; nil before poll
	poller  syscall.RawConn
	eventfd int // an eventfd, to wake it
	rounds  atomic.Uint64
	quit    atomic.Bool

	frozen atomic.Pointer[loopFreeze] // not nil: it is to stand still

	// Owned by the loop's goroutine.
	buf    []byte
	unread []*Conn // were not read to the end, and their read locks are ours
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
		ls.all = append(ls.all, l)
	}
	return nil
}

// poll prepares the loops to run.
func (ls *loops) poll() error {
	for _, l := range ls.all {
		l.file = os.NewFile(uintptr(l.epfd), "epoll")
		var err error
		if l.poller, err = l.file.SyscallConn(); err != nil {
			return fmt.Errorf("start an event loop: %w", err)
		}
	}
	return nil
}

// run starts the loops.
func (ls *loops) run() {
	for _, l := range ls.all {
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
	l := &loop{engine: e, epfd: ep, eventfd: event, buf: make([]byte, loopBuffer)}
	err = unix.SetNonblock(ep, true) // or os would not poll it
	if err = errors.Join(err, l.add(event, eventWake, unix.EPOLLIN)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	unix.Close(l.eventfd)
	if l.file == nil {
		unix.Close(l.epfd)
		return
	}
	l.file.Close()
}

// stop ends all loops. Nothing may be registered any more.
func (ls *loops) stop() {
	for _, l := range ls.all {
		l.quit.Store(true)
		l.wake()
	}
	ls.tasks.Wait()
	for _, l := range ls.all {
		l.close()
	}
}

// probe wakes all loops, and returns what tells whether each has come round since.
func (ls *loops) probe() (turned func() bool) {
	var before []uint64
	for _, l := range ls.all {
		before = append(before, l.rounds.Load())
		l.wake()
	}
	return func() bool {
		for i, l := range ls.all {
			if l.rounds.Load() == before[i] {
				return false
			}
		}
		return true
	}
}

// loopFreeze is where loops stand still.
type loopFreeze struct {
	arrived sync.WaitGroup
	leave   chan struct{}
}

// freeze makes all loops stand still, with no event half handled, until leave is
// called. It fails if one does not within ctx.
func (ls *loops) freeze(ctx context.Context) (leave func(), err error) {
	p := &loopFreeze{leave: make(chan struct{})}
	leave = func() {
		for _, l := range ls.all {
			l.frozen.Store(nil)
		}
		close(p.leave)
	}
	p.arrived.Add(len(ls.all))
	for _, l := range ls.all {
		l.frozen.Store(p)
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

// thawReads has all conns read on that are parked.
func (ls *loops) thawReads() {
	for c := range ls.conns.all() {
		c.thawRead()
	}
}

// freezeUnread parks the conns whose turn does not come any more, but those that another
// process has. The loops stand still.
func (ls *loops) freezeUnread() {
	for _, l := range ls.all {
		for _, c := range l.unread {
			if !c.is(isHandedOver) {
				c.freezeRead()
			}
		}
		l.unread = nil
	}
}

// pick returns the loop for the next connection.
func (ls *loops) pick() *loop { return ls.all[int(ls.next.Add(1))%len(ls.all)] }

func (l *loop) wake() {
	one := [8]byte{1}
	unix.Write(l.eventfd, one[:]) // EAGAIN: it is awake
}

func (l *loop) add(fd int, kind int32, events uint32) error {
	return unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: kind})
}

const connEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// run is the loop's goroutine.
func (l *loop) run() {
	buf := make([]unix.EpollEvent, loopEvents)
	for {
		if p := l.frozen.Load(); p != nil {
			p.arrived.Done()
			<-p.leave
		}
		events, err := l.events(buf)
		l.rounds.Add(1)
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
		unread := l.unread
		l.unread = nil
		for _, c := range unread {
			l.read(c, true)
		}
	}
}

// events waits for events, but not while somebody has more to be read; unless
// that one has to wait for a while.
func (l *loop) events(buf []unix.EpollEvent) (events []unix.EpollEvent, err error) {
	if len(l.unread) > 0 {
		if l.engine.pending.Load() >= maxPending {
			time.Sleep(pendingPause)
		}
		return pollEvents(l.epfd, buf)
	}
	waiting := l.poller.Read(func(uintptr) bool {
		events, err = pollEvents(l.epfd, buf)
		return len(events) > 0 || err != nil
	})
	return events, errors.Join(err, waiting)
}

func (l *loop) handle(ev unix.EpollEvent) {
	switch ev.Pad {
	case eventWake:
		var b [8]byte
		unix.Read(l.eventfd, b[:])
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
		if c.readLock.Acquire() {
			l.read(c, ev.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0)
			return
		}
		c.handler.Signal() // the goroutine that closes it waits for this
	}
}

// read reads a conn whose read lock we have. A panic ends that conn only.
func (l *loop) read(c *Conn, toEnd bool) {
	defer c.recoverPanic()
	c.readAvailable(l, l.buf, toEnd)
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
