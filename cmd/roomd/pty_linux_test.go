package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminalPair is a program at a pseudo-terminal of its own, which the test
// reads, or leaves unread.
type terminalPair struct {
	t      testing.TB
	tty    *os.File // the outer end
	inner  *os.File // held, so that the terminal can be looked at afterwards
	cmd    *exec.Cmd
	before unix.Termios
	done   chan struct{} // closed when nothing more comes
	exited chan error

	mu    sync.Mutex
	turn  *sync.Cond
	pause bool // nothing is read
	seen  []byte
	from  int // what expect has not looked at yet
}

// atTerminal starts roomd at a terminal. A file for out takes its standard
// output instead.
func (p *process) atTerminal(cols, rows int, out *os.File, args ...string) *terminalPair {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asRoomd+"=1")
	if out != nil {
		cmd.Stdout = out
	}
	return p.programAtTerminal(cols, rows, cmd)
}

// programAtTerminal starts any program at a terminal.
func (p *process) programAtTerminal(cols, rows int, cmd *exec.Cmd) *terminalPair {
	p.t.Helper()
	tty, inner, err := pty.Open()
	if err != nil {
		p.t.Skip("no pseudo-terminal here:", err)
	}
	s := &terminalPair{t: p.t, tty: tty, inner: inner, cmd: cmd, done: make(chan struct{}), exited: make(chan error, 1)}
	s.turn = sync.NewCond(&s.mu)
	s.size(cols, rows)
	s.before = s.termios()
	s.cmd.Env = append(append(s.cmd.Env, "TERM=xterm", "HOME="+p.dir, "NO_COLOR=1", atOnce), p.env...)
	s.cmd.Stdin, s.cmd.Stderr = inner, inner
	if s.cmd.Stdout == nil {
		s.cmd.Stdout = inner
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	go s.read()
	p.t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.hold(false)
		inner.Close()
		tty.Close()
		<-s.done
	})
	return s
}

func (s *terminalPair) read() {
	defer close(s.done)
	b := make([]byte, 4096)
	for {
		s.mu.Lock()
		for s.pause {
			s.turn.Wait()
		}
		s.mu.Unlock()
		n, err := s.tty.Read(b)
		s.mu.Lock()
		s.seen = append(s.seen, b[:n]...)
		s.turn.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// hold begins or ends a time in which nobody reads the terminal.
func (s *terminalPair) hold(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = is
	s.turn.Broadcast()
}

func (s *terminalPair) size(cols, rows int) {
	s.t.Helper()
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *terminalPair) termios() unix.Termios {
	s.t.Helper()
	got, err := unix.IoctlGetTermios(int(s.inner.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *got
}

// types presses keys, and gives up when the program does not take them: a
// terminal holds a few thousand bytes.
func (s *terminalPair) types(keys string) {
	s.t.Helper()
	s.tty.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(s.tty, keys); err != nil {
		s.t.Fatalf("typing %q: %v", keys, err)
	}
}

// taken reports whether the program has read all that was typed.
func (s *terminalPair) taken() bool {
	n, err := unix.IoctlGetInt(int(s.inner.Fd()), unix.TIOCINQ)
	return err == nil && n == 0
}

// expect waits until the terminal shows a text, behind what was expected before.
func (s *terminalPair) expect(text string) {
	s.t.Helper()
	s.await(fmt.Sprintf("%q", text), func() bool {
		i := bytes.Index(s.seen[s.from:], []byte(text))
		if i >= 0 {
			s.from += i + len(text)
		}
		return i >= 0
	})
}

// await waits until what the terminal has shown is as it should be.
func (s *terminalPair) await(what string, ok func() bool) {
	s.t.Helper()
	stop := time.AfterFunc(patience, s.turn.Broadcast)
	defer stop.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for end := time.Now().Add(patience); !ok(); s.turn.Wait() {
		if time.Now().After(end) {
			s.t.Fatalf("the terminal does not show %s but\n%q", what, s.seen[s.from:])
		}
	}
}

// ends waits for the end of the program, which has a bound, and expects that the
// terminal is as it was.
func (s *terminalPair) ends(bound time.Duration) error {
	s.t.Helper()
	var err error
	select {
	case err = <-s.exited:
		s.exited <- err
	case <-time.After(bound):
		s.cmd.Process.Signal(syscall.SIGQUIT) // the stacks tell where it hangs
		s.hold(false)
		select {
		case <-s.exited:
		case <-time.After(patience):
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.t.Fatalf("it does not end within %v: %s", bound, s.seen[max(0, len(s.seen)-30000):])
	}
	if after := s.termios(); after != s.before {
		s.t.Errorf("the terminal was %+v and is %+v", s.before, after)
	}
	return err
}

// cpu is the processor time of a program that has ended.
func (s *terminalPair) cpu() time.Duration {
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// shown is all that came out of the program.
func (s *terminalPair) shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.seen)
}

// balanced expects that what was switched on in the terminal is off again.
func (s *terminalPair) balanced() {
	s.t.Helper()
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?7l": "\x1b[?7h", "\x1b[?2004h": "\x1b[?2004l", "\x1b[?25l": "\x1b[?25h"} {
		s.await(fmt.Sprintf("%q behind %q", off, on), func() bool {
			return bytes.LastIndex(s.seen, []byte(on)) <= bytes.LastIndex(s.seen, []byte(off))
		})
	}
}

// slowRelay puts a relay in front of an address that holds up each connection, as a
// busy server does, and returns the relay's address. network is tcp or unix.
func slowRelay(t testing.TB, network, address string, delay time.Duration) string {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "slow.sock")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	closed := false
	keep := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			c.Close()
			return false
		}
		conns[c] = true
		return true
	}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if !keep(c) {
					return
				}
				<-time.After(delay) // this is what it is for
				s, err := net.Dial(network, address)
				if err != nil {
					return
				}
				defer s.Close()
				if !keep(s) {
					return
				}
				all.Go(func() {
					io.Copy(s, c)
					s.Close()
				})
				io.Copy(c, s)
			})
		}
	})
	return l.Addr().String()
}

// startConsole is start with the console at a terminal.
func (p *process) startConsole(cols, rows int, out *os.File) *terminalPair {
	p.t.Helper()
	s := p.atTerminal(cols, rows, out, "serve", "--console", "--config", filepath.Join(p.dir, "config.toml"))
	await(p.t, func() string { // whatever is on the screen
		c, err := net.Dial("unix", filepath.Join(p.dir, "roomd.sock"))
		if err != nil {
			return fmt.Sprintf("the server does not start: %q", s.shown())
		}
		c.Close()
		return ""
	})
	return s
}
