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

// modes are those of the terminal's driver, at standard input (termios(3)).
type modes struct {
	mu       sync.Mutex
	original *unix.Termios // before we changed them; nil: they are as they were
	current  *unix.Termios // as we changed them
	ended    bool
}

// raw is for a line that is read: keys come at once, are not shown, and none is a
// signal.
func (m *modes) raw() error { return m.change(0) }

// withSignals is for the time in which no line is read: Ctrl-C is a signal, and what
// is typed waits. Ctrl-\ and Ctrl-Z are no signals: they would end or stop a
// server by a slip.
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

// reapply sets our modes once more, if there are any: the process was stopped, and
// a shell had the terminal meanwhile.
func (m *modes) reapply() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.original != nil && unix.IoctlSetTermios(int(os.Stdin.Fd()), setTermios, m.current) == nil
}

// restore sets the modes back to what they were.
func (m *modes) restore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.original != nil {
		unix.IoctlSetTermios(int(os.Stdin.Fd()), setTermios, m.original) // a terminal that has gone has none
		m.original = nil
	}
}

// end is restore, for good.
func (m *modes) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.restore()
}

// current is the editor that has the terminal.
var current atomic.Pointer[lineEditor]

// restoreOnSignal notes which editor has the terminal, for Restore, and gives the terminal
// back before a signal ends the process that is meant to show its stacks.
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

// Restore gives the terminal back as far as that can be done in an instant: the
// process is about to end.
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

// RestoreOnPanic is for the beginning of a goroutine, as "defer term.Guard()": if it
// panics, and the process ends by that, the terminal is given back first.
func RestoreOnPanic() {
	if p := recover(); p != nil {
		Restore()
		panic(p)
	}
}
