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

// loops serve all descriptors: conns edge-triggered, listeners level-triggered.
type loops struct {
	all       []*loop
	next      atomic.Uint32
	conns     table[Conn]
	listeners table[Listener]
	tasks     sync.WaitGroup
}

// loop is one goroutine over one epoll(7) descriptor. It waits for that descriptor in the
// runtime's own poller: in a system call it would keep a processor from others until the
// runtime notices.
type loop struct {
	engine  *Engine
	epfd    int
	file    *os.File // of epfd; nil before poll
	poller  syscall.RawConn
	eventfd int // wakes the loop
	rounds  atomic.Uint64
	quit    atomic.Bool

	frozen atomic.Pointer[loopFreeze] // not nil: the loop is to freeze

	// Owned by the loop's goroutine.
	buf    []byte
	unread []*Conn // may have more input; their read locks are the loop's
}

const (
	loopBuffer = 64 << 10 // bytes read from a connection at a time
	loopEvents = 256
	// maxPending bounds the pending input of all conns: at the bound no conn is read. It is
	// far above what ten thousand floods keep, as floods must not stop others.
	maxPending   = 64 << 20
	pendingPause = 5 * time.Millisecond
)

const (
	eventConn = iota // kinds of descriptors, in the event's data
	eventListener
	eventWake
)

// open makes the event loops. What is added to them waits until they run.
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
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, err
	}
	l := &loop{engine: e, epfd: epfd, eventfd: eventfd, buf: make([]byte, loopBuffer)}
	err = unix.SetNonblock(epfd, true) // package os polls no other descriptor
	if err = errors.Join(err, l.add(eventfd, eventWake, unix.EPOLLIN)); err != nil {
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

// stop ends all loops. No descriptor may be registered any more.
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

// probe is Engine.ProbeLoops.
func (ls *loops) probe() (answered func() bool) {
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

// loopFreeze is where frozen loops wait.
type loopFreeze struct{ arrived, thawed chan struct{} }

// freeze stops all loops, with no event half handled, until thaw is called. It fails if a
// loop does not stop before ctx ends.
func (ls *loops) freeze(ctx context.Context) (thaw func(), err error) {
	f := &loopFreeze{arrived: make(chan struct{}, len(ls.all)), thawed: make(chan struct{})}
	thaw = func() {
		for _, l := range ls.all {
			l.frozen.Store(nil)
		}
		close(f.thawed)
	}
	for _, l := range ls.all {
		l.frozen.Store(f)
		l.wake()
	}
	for range ls.all {
		select {
		case <-f.arrived:
		case <-ctx.Done():
			thaw()
			return nil, ctx.Err()
		}
	}
	return thaw, nil
}

// thawReads goes on reading all conns that are frozen.
func (ls *loops) thawReads() {
	for c := range ls.conns.all() {
		c.thawRead()
	}
}

// freezeUnread freezes the conns that the frozen loops were going to read, but those that
// were handed over.
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
	unix.Write(l.eventfd, one[:]) // EAGAIN: the loop is awake
}

func (l *loop) add(fd int, kind int32, events uint32) error {
	return unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: kind})
}

// remove takes a descriptor out of the loop: ENOENT says that it is not there.
func (l *loop) remove(fd int) { unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil) }

const connEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// run is the loop's goroutine.
func (l *loop) run() {
	buf := make([]unix.EpollEvent, loopEvents)
	for {
		if f := l.frozen.Load(); f != nil {
			f.arrived <- struct{}{}
			<-f.thawed
		}
		events, err := l.events(buf)
		l.rounds.Add(1)
		if err != nil {
			l.engine.Log.Error("event loop cannot wait for events", "error", err)
			return // cannot happen while the descriptor is open
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

// events waits for events. It does not wait while a conn is unread, but for a moment if no
// conn may be read now.
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
		// The conn may have been closed since, and a new one may have its number: that one
		// is read in vain.
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
		c.handler.Signal() // the goroutine that closes the conn waits for this
	}
}

// read reads a conn whose read lock the loop has. A panic ends that conn only.
func (l *loop) read(c *Conn, toEnd bool) {
	defer c.recoverPanic()
	c.readAvailable(l, l.buf, toEnd)
}

// writable tells the handler that the conn takes more. A panic ends that conn only.
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
		c.handler.Signal() // the goroutine that closes the conn may wait for this
	}
	c.handler.Writable()
}
