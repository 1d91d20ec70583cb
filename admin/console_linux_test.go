package admin_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"roomd/admin"
)

// asConsole makes the test binary behave as the console of the socket that it
// names: the editor wants a process, and a terminal, of its own.
const asConsole = "ROOMD_TEST_CONSOLE"

func init() {
	if socket := os.Getenv(asConsole); socket != "" {
		c, err := admin.NewConsole(socket, os.Getenv("ROOMD_TEST_HISTORY"))
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		c.Run()
		os.Exit(0)
	}
}

// screen is a console in a terminal of its own.
type screen struct {
	t   *testing.T
	tty *os.File
	cmd *exec.Cmd

	before unix.Termios

	mu   sync.Mutex
	seen bytes.Buffer // all that was printed
	from int          // what expect has not looked at yet
	more chan bool
}

func openConsole(t *testing.T, socket, history string) *screen {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asConsole+"="+socket, "ROOMD_TEST_HISTORY="+history, "TERM=xterm")
	return openTerminal(t, cmd)
}

// openTerminal starts a command in a terminal of its own.
func openTerminal(t *testing.T, cmd *exec.Cmd) *screen {
	tty, inner, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminal here:", err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 40, Cols: 160}); err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, tty: tty, cmd: cmd, more: make(chan bool, 1), before: termios(t, tty)}
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=20") // else each process waits a second at its end
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			s.mu.Lock()
			s.seen.Write(b[:n])
			s.mu.Unlock()
			select {
			case s.more <- true:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		inner.Close() // held until now, so that the terminal can be looked at
		tty.Close()
		<-done
	})
	return s
}

func (s *screen) typeIn(text string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until the terminal shows a text, behind what was expected before.
func (s *screen) expect(text string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		rest := s.seen.String()[s.from:]
		i := strings.Index(rest, text)
		if i >= 0 {
			s.from += i + len(text)
		}
		s.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-s.more:
		case <-deadline:
			s.t.Fatalf("the terminal does not show %q but\n%q", text, rest)
		}
	}
}

// leave waits for the end of the process, which has not failed.
func (s *screen) leave() {
	s.t.Helper()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

func TestConsole(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create dev")
	history := s.dir + "/history"
	c := openConsole(t, s.socket, history)
	c.expect("roomd> ")

	// A name completes with Tab, from what is there now.
	c.typeIn("room lo\t\r")
	c.expect("lobby ")
	c.expect("state")
	c.expect("roomd> ")

	// What is watched comes above the prompt and leaves what is typed alone.
	c.typeIn("watch lobby\r")
	c.expect("(Ctrl-C ends this view)")
	c.typeIn("mem")
	c.expect("mem")
	stop := make(chan bool)
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				s.speak("lobby", "heard "+nasty)
			}
		}
	}()
	c.expect("heard \ufffd[31m\ufffd \"quoted\"")
	c.expect("roomd> mem")
	close(stop)
	<-done
	c.typeIn("bers lobby\r")
	c.expect("members lobby")
	c.expect("none")
	c.expect("roomd> ") // from here on Ctrl-C is a key
	c.typeIn("\x03")    // ends the view, and not the console

	// What destroys asks.
	c.typeIn("delete dev\r")
	c.expect("this deletes dev: 0 members, 0 lines, 0 B")
	c.expect("do it? [y/N] ")
	c.typeIn("n\r")
	c.expect("nothing was done")
	c.typeIn("delete dev\r")
	c.expect("do it? [y/N] ")
	c.typeIn("Yes\r")
	c.expect("restore dev brings it back")

	// The server goes and comes back.
	s.Stop()
	c.expect("(the server is gone; waiting for it)")
	s.Start()
	c.expect("(the server is back)")
	c.typeIn("restore dev\r")
	c.expect("the room dev is restored on port")

	// Two at once.
	d := openConsole(t, s.socket, "")
	d.expect("roomd> ")
	d.typeIn("version\r")
	d.expect("test")
	d.typeIn("quit\r")
	d.leave()

	c.typeIn("\x04") // Ctrl-D
	c.leave()
	st, err := os.Stat(history)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	text, err := os.ReadFile(history)
	if err != nil || strings.Count(string(text), "delete dev\n") != 2 && strings.Count(string(text), "delete dev") < 1 {
		t.Errorf("%q %v", text, err)
	}
}

// SIGTERM leaves the terminal as it was.
func TestConsoleSignal(t *testing.T) {
	s := startShell(t)
	c := openConsole(t, s.socket, "")
	c.expect("roomd> ")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.leave()
}

// Who leaves is not told that the server is gone, however long it was there: what
// looks after it ends with the console.
func TestConsoleLeavesInSilence(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/console.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var all []*screen
	for range 6 { // it was a toss-up
		c := openConsole(t, l.Addr().String(), "")
		c.expect("roomd> ")
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all = append(all, c)
	}
	<-time.After(600 * time.Millisecond) // longer than it waits between two tries
	for _, c := range all {
		c.typeIn("\x04")
		c.leave()
		c.typeIn("the end") // the terminal echoes it, behind all that was written
		c.expect("the end")
		c.mu.Lock()
		if strings.Contains(c.seen.String(), "is gone") {
			t.Errorf("it says %q", c.seen.String())
		}
		c.mu.Unlock()
	}
}

// A server that ends each connection at once, as it does to those who may not use
// its console, is not asked all the time.
func TestConsoleDoesNotSpin(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/refuses.sock")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	c := openConsole(t, l.Addr().String(), "")
	c.expect("roomd> ")
	for i := range 4 { // some time passes
		c.typeIn(fmt.Sprintf("line%d", i))
		c.expect(fmt.Sprintf("line%d", i))
		<-time.After(100 * time.Millisecond)
	}
	if n := asked.Load(); n > 3 {
		t.Errorf("it was asked %d times", n)
	}
	c.typeIn("\x15\x04")
	c.leave()
}
