package netsvc

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
	each  []*loop
	next  atomic.Uint32
	conns table[direct]
	doors table[listener]
	tasks sync.WaitGroup
}

// loop is one goroutine over one epoll(7) descriptor. It waits for that in the
// runtime's own poller: in a system call it would keep a processor from others
// until the runtime notices.
type loop struct {
	all   *loops
	log   func(msg string, args ...any)
	ep    int
	file  *os.File // of ep; nil before poll
	wait  syscall.RawConn
	event int // an eventfd, to wake it
	turns atomic.Uint64
	quit  atomic.Bool

	parking atomic.Pointer[parking] // not nil: it is to stand still

	// Owned by the loop's goroutine.
	buf  []byte
	more []*direct // were not read to the end, and their reading is ours
}

const (
	loopBuffer = 64 << 10 // bytes read from a connection at a time
	loopEvents = 256
	// maxHeld bounds the input that was read and could not be handled yet, of
	// all connections. At the bound nobody is read. It is far above what ten
	// thousand floods hold, as nobody is to be stopped by others' floods.
	maxHeld   = 64 << 20
	heldPause = 5 * time.Millisecond
)

const (
	dataConn = iota // kinds of descriptors, in the event's data
	dataDoor
	dataEvent
)

// openLoops makes the event loops. What is added to them waits, and wakes nobody,
// until they poll, and is served when they run. log is for what should not happen.
func openLoops(log func(msg string, args ...any)) (*loops, error) {
	ls := &loops{}
	for range min(runtime.GOMAXPROCS(0), 4) {
		l, err := newLoop(ls, log)
		if err != nil {
			ls.stop()
			return nil, fmt.Errorf("start an event loop: %w", err)
		}
		ls.each = append(ls.each, l)
	}
	return ls, nil
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

func newLoop(ls *loops, log func(string, ...any)) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, err
	}
	l := &loop{all: ls, log: log, ep: ep, event: event, buf: make([]byte, loopBuffer)}
	err = unix.SetNonblock(ep, true) // or os would not poll it
	if err = errors.Join(err, l.add(event, dataEvent, unix.EPOLLIN)); err != nil {
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
// Before Start there are none.
func (ls *loops) turn() (turned func() bool) {
	if ls == nil {
		return func() bool { return true }
	}
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
			l.log("wait for events", "error", err)
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
		for _, k := range unread {
			l.read(k, true)
		}
	}
}

// events waits for events, but not while somebody has more to be read; unless
// that one has to wait for a while.
func (l *loop) events(buf []unix.EpollEvent) (events []unix.EpollEvent, err error) {
	if len(l.more) > 0 {
		if l.more[0].m.room.svc.held.Load() >= maxHeld {
			time.Sleep(heldPause)
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
	case dataEvent:
		var b [8]byte
		unix.Read(l.event, b[:])
	case dataDoor:
		if d := l.all.doors.get(int(ev.Fd)); d != nil {
			d.accept()
		}
	default:
		// What is in the table may have closed meanwhile, or be a new one with
		// the same number: then this looks once in vain.
		k := l.all.conns.get(int(ev.Fd))
		if k == nil {
			return
		}
		if m := k.m; ev.Events&unix.EPOLLOUT != 0 && (m.full.Load() || m.hold.Load() != free) {
			l.write(m)
		}
		if ev.Events&^unix.EPOLLOUT == 0 {
			return
		}
		if acquire(&k.m.reading) {
			l.read(k, ev.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0)
			return
		}
		k.m.signal() // whoever closes it waits for this
	}
}

// read reads a connection whose member's reading we have. A panic ends that
// member only.
func (l *loop) read(k *direct, toEnd bool) {
	defer k.m.recovered()
	k.take(l, l.buf, toEnd)
}

func (l *loop) write(m *Member) {
	defer func() {
		if p := recover(); p != nil {
			m.panicked(p, debug.Stack())
			m.end(destroyed)
		}
	}()
	m.writable()
}

// table finds by descriptor. Its memory is in pieces, as descriptors are small
// numbers but the limit may be a large one.
type table[T any] struct {
	mu     sync.Mutex // of writers
	pieces atomic.Pointer[[]*tablePiece[T]]
}

const pieceSize = 1024

type tablePiece[T any] [pieceSize]atomic.Pointer[T]

func (t *table[T]) get(fd int) *T {
	pieces := t.pieces.Load()
	if pieces == nil || fd/pieceSize >= len(*pieces) {
		return nil
	}
	return (*pieces)[fd/pieceSize][fd%pieceSize].Load()
}

func (t *table[T]) set(fd int, v *T) {
	pieces := t.pieces.Load()
	if pieces == nil || fd/pieceSize >= len(*pieces) {
		t.mu.Lock()
		defer t.mu.Unlock()
		var grown []*tablePiece[T]
		if pieces = t.pieces.Load(); pieces != nil {
			grown = append(grown, *pieces...)
		}
		for len(grown) <= fd/pieceSize {
			grown = append(grown, new(tablePiece[T]))
		}
		t.pieces.Store(&grown)
		pieces = &grown
	}
	(*pieces)[fd/pieceSize][fd%pieceSize].Store(v)
}
