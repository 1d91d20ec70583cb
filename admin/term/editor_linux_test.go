package term

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// asProgram makes the test binary read lines at its terminal, and do what they say.
const asProgram = "ROOMD_TEST_EDITOR"

func init() {
	if os.Getenv(asProgram) == "" {
		return
	}
	e, err := New(Options{In: os.Stdin, Out: os.Stdout, Prompt: "> "})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer e.Close()
	for {
		line, err := e.ReadLine()
		switch {
		case err != nil:
			e.Close()
			os.Exit(0)
		case line == "panic":
			go func() {
				defer RestoreOnPanic()
				panic("as asked")
			}()
			select {}
		}
		e.Print("read " + line)
	}
}

// program is the test binary at a terminal of its own.
type program struct {
	t          *testing.T
	tty, inner *os.File
	cmd        *exec.Cmd
	before     unix.Termios

	mu   sync.Mutex
	more *sync.Cond // of seen
	seen strings.Builder
}

func newProgram(t *testing.T) *program {
	tty, inner, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminal here:", err)
	}
	p := &program{t: t, tty: tty, inner: inner}
	p.more = sync.NewCond(&p.mu)
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	p.before = p.modes()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), asProgram+"=1", "TERM=xterm", "GORACE=atexit_sleep_ms=20")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inner, inner, inner
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			p.mu.Lock()
			p.seen.Write(b[:n])
			p.more.Broadcast()
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		inner.Close()
		tty.Close()
		<-done
	})
	p.shows("> ")
	return p
}

func (p *program) modes() unix.Termios {
	p.t.Helper()
	got, err := unix.IoctlGetTermios(int(p.inner.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *got
}

func (p *program) types(text string) {
	p.t.Helper()
	if _, err := p.tty.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// shows waits until the terminal shows a text.
func (p *program) shows(text string) {
	p.t.Helper()
	const patience = 20 * time.Second
	late := time.AfterFunc(patience, p.more.Broadcast)
	defer late.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for end := time.Now().Add(patience); !strings.Contains(p.seen.String(), text); p.more.Wait() {
		if time.Now().After(end) {
			p.t.Fatalf("%q: never; the terminal shows %q", text, p.seen.String())
		}
	}
}

// However the program ends, its terminal is as it was, and what was switched on
// there is off.
func TestTerminalIsGivenBack(t *testing.T) {
	for name, end := range map[string]func(p *program){
		"Ctrl-D":  func(p *program) { p.types("\x04") },
		"a panic": func(p *program) { p.types("panic\r"); p.shows("panic: as asked") },
		"SIGQUIT": func(p *program) { p.cmd.Process.Signal(syscall.SIGQUIT); p.shows("SIGQUIT: quit") },
		"SIGABRT": func(p *program) { p.cmd.Process.Signal(syscall.SIGABRT); p.shows("SIGABRT: abort") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			if p.modes() == p.before {
				t.Fatal("the terminal is not raw: this shows nothing")
			}
			end(p)
			p.cmd.Wait()
			if after := p.modes(); after != p.before {
				t.Errorf("the terminal was %+v and is %+v", p.before, after)
			}
			p.shows(pasteOff)
		})
	}
}

// After it was stopped, and a shell had the terminal, it has its modes again and
// the line is there.
func TestStoppedAndContinued(t *testing.T) {
	p := newProgram(t)
	p.types("half a li")
	p.shows("half a li")
	raw := p.modes()
	p.cmd.Process.Signal(syscall.SIGSTOP)
	if err := unix.IoctlSetTermios(int(p.inner.Fd()), unix.TCSETS, &p.before); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.seen.Reset()
	p.mu.Unlock()
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.shows("> half a li")
	if got := p.modes(); got != raw { // they come first
		t.Errorf("its modes are %+v, and were %+v", got, raw)
	}
	p.types("ne\r")
	p.shows("read half a line")
}
