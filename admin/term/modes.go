package term

import (
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// modes are the modes of the terminal at standard input (termios(3)).
type modes struct {
	mu       sync.Mutex
	original *unix.Termios // before our changes; nil: nothing is changed
	current  *unix.Termios // with our changes
	ended    bool
}

// raw sets the modes for reading a line: each key arrives at once, is not shown, and is no
// signal.
func (m *modes) raw() error { return m.change(0) }

// withSignals sets the modes for the time between lines: Ctrl-C is a signal, and typed text
// stays in the queue. Ctrl-\ and Ctrl-Z are no signals, because they would end or stop a
// server by mistake.
func (m *modes) withSignals() error { return m.change(unix.ISIG) }

func (m *modes) change(local uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil
	}
	fd := int(os.Stdin.Fd())
	if m.original == nil {
		was, err := unix.IoctlGetTermios(fd, getTermios)
		if err != nil {
			return err
		}
		m.original = was
	}
	to := *m.original
	to.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	to.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	to.Cflag &^= unix.CSIZE | unix.PARENB
	to.Cflag |= unix.CS8
	to.Cc[unix.VMIN], to.Cc[unix.VTIME] = 1, 0
	if local == unix.ISIG {
		to.Lflag |= unix.ISIG
		to.Cc[unix.VQUIT], to.Cc[unix.VSUSP] = noKey, noKey
	}
	m.current = &to
	return unix.IoctlSetTermios(fd, setTermios, &to)
}

// reapply sets our modes again, if there are any, after a shell had the terminal.
func (m *modes) reapply() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.original != nil && unix.IoctlSetTermios(int(os.Stdin.Fd()), setTermios, m.current) == nil
}

// restore restores the original modes.
func (m *modes) restore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.original != nil {
		unix.IoctlSetTermios(int(os.Stdin.Fd()), setTermios, m.original) // it fails if the terminal has gone
		m.original = nil
	}
}

// end restores the original modes; later changes have no effect.
func (m *modes) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.restore()
}

// current is the editor that has the terminal.
var current atomic.Pointer[lineEditor]

// restoreOnSignal sets current, and gives the terminal back before SIGQUIT or SIGABRT ends the
// process with its stacks.
func restoreOnSignal(e *lineEditor) {
	current.Store(e)
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGQUIT, syscall.SIGABRT)
	go func() {
		select {
		case sig := <-got:
			Restore()
			signal.Reset(sig)
			syscall.Kill(os.Getpid(), sig.(syscall.Signal))
		case <-e.done:
			signal.Stop(got)
		}
	}()
}

// Restore gives the terminal back as far as possible in an instant, because the process is
// about to end.
func Restore() {
	e := current.Load()
	if e == nil {
		return
	}
	e.modes.end()
	written := make(chan struct{})
	go func() {
		defer close(written)
		e.options.Out.Write([]byte("\r\n\x1b[J" + pasteOff + wrapOn))
	}()
	select {
	case <-written:
	case <-time.After(stallTimeout / 5):
	}
}

// RestoreOnPanic gives the terminal back if the goroutine panics. Call it at the beginning of
// a goroutine: defer term.RestoreOnPanic().
func RestoreOnPanic() {
	if p := recover(); p != nil {
		Restore()
		panic(p)
	}
}
