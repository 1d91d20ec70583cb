package admin_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/admin"
)

// asOnce makes the test binary give the command that it names, separated by
// spaces, to the socket before it.
const asOnce = "ROOMD_TEST_ONCE"

func init() {
	if words := strings.Fields(os.Getenv(asOnce)); len(words) > 0 {
		os.Exit(admin.Once(words[0], words[1:], os.Stdin, os.Stdout, os.Stderr, func(string) bool { return false }))
	}
}

// termios is how a terminal is set.
func termios(t *testing.T, f *os.File) (is unix.Termios) {
	t.Helper()
	c, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got *unix.Termios
	if e := c.Control(func(fd uintptr) { got, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return *got
}

// balanced expects that what was switched on is off again.
func (s *screen) balanced() {
	s.t.Helper()
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?7l": "\x1b[?7h", "\x1b[?2004h": "\x1b[?2004l", "\x1b[?25l": "\x1b[?25h"} {
		eventually(s.t, fmt.Sprintf("%q after %q", off, on), func() bool { // what was written last may not be read yet
			s.mu.Lock()
			defer s.mu.Unlock()
			return strings.LastIndex(s.seen.String(), on) <= strings.LastIndex(s.seen.String(), off)
		})
	}
}

// However the console ends, its terminal is as it was.
func TestTerminalIsSane(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.join("lobby")
	signal := func(sig os.Signal) func(*screen) {
		return func(c *screen) {
			if err := c.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys := func(text string) func(*screen) { return func(c *screen) { c.typeIn(text) } }
	table := func(c *screen) {
		c.typeIn("watch members lobby --every 100ms\r")
		c.expect("\x1b[?1049h")
		c.expect("guest-1")
	}
	lines := func(c *screen) {
		c.typeIn("watch lobby\r")
		c.expect("(Ctrl-C ends this view)")
	}
	question := func(c *screen) {
		c.typeIn("delete lobby\r")
		c.expect("do it? [y/N] ")
	}
	for name, way := range map[string][]func(*screen){
		"Ctrl-D":                {keys("\x04")},
		"quit":                  {keys("quit\r")},
		"abbreviated":           {keys("q\r")},
		"Ctrl-C, then Ctrl-D":   {keys("half\x03"), keys("\x03\x04")},
		"SIGTERM":               {signal(syscall.SIGTERM)},
		"SIGTERM, half typed":   {keys("memb"), func(c *screen) { c.expect("memb") }, signal(syscall.SIGTERM)},
		"SIGHUP":                {signal(syscall.SIGHUP)},
		"SIGTERM in a table":    {table, signal(syscall.SIGTERM)},
		"Ctrl-C in a table":     {table, keys("\x03"), func(c *screen) { c.expect("\x1b[?1049l") }, keys("quit\r")},
		"SIGTERM in a view":     {lines, signal(syscall.SIGTERM)},
		"Ctrl-D in a view":      {lines, keys("\x04")},
		"SIGTERM at a question": {question, signal(syscall.SIGTERM)},
		"Ctrl-D at a question":  {question, keys("\x04"), func(c *screen) { c.expect("nothing was done") }, keys("\x04")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openConsole(t, s.socket, "")
			before := c.before
			c.expect("roomd> ")
			for _, step := range way {
				step(c)
			}
			c.leave()
			if after := termios(t, c.tty); after != before {
				t.Errorf("the terminal was %+v and is %+v", before, after)
			}
			c.balanced()
		})
	}
	if out := s.ok("rooms"); !strings.Contains(out, "lobby") {
		t.Error("it was not agreed to:", out)
	}
}

// A live table that a shell asked for ends by Ctrl-C, which is no failure.
func TestTableOnce(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asOnce+"="+s.socket+" top --every 100ms", "TERM=xterm", "NO_COLOR=1")
	c := openTerminal(t, cmd)
	c.expect("\x1b[?1049h")
	c.expect("0 members in 1 room, 0 lines/s")
	c.expect("\x1b[H\x1b[J") // the next frame
	c.expect("lobby")
	c.typeIn("\x03")
	c.leave()
	if after := termios(t, c.tty); after != c.before {
		t.Errorf("the terminal was %+v and is %+v", c.before, after)
	}
	c.balanced()
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Contains(c.seen.String(), "\x1b[1m") {
		t.Error("there are colours, and NO_COLOR is set")
	}
}

// The history is of its owner alone, knows no line twice, is shared by consoles
// and shown.
func TestHistory(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	file := s.dir + "/history"
	if err := os.WriteFile(file, []byte("rooms\nversion\nrooms\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, d := openConsole(t, s.socket, file), openConsole(t, s.socket, file)
	c.expect("roomd> ")
	d.expect("roomd> ")
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	c.typeIn("bans\r")
	c.expect("none")
	d.typeIn("version\r")
	d.expect("test")
	c.typeIn("bans\r")
	c.expect("none")
	c.typeIn("\x1b[A\x1b[A\x1b[A") // up: bans, version, rooms
	c.expect("rooms")
	c.typeIn("\r")
	c.expect("lobby")
	c.typeIn("history\r")
	c.expect("version\r\nbans\r\nrooms\r\nhistory\r\n")
	c.typeIn("quit\r")
	c.leave()
	text, err := os.ReadFile(file)
	if st, e := os.Stat(file); e != nil || err != nil || st.Mode().Perm() != 0o600 || string(text) != "version\nbans\nrooms\nhistory\nquit\n" {
		t.Errorf("%v %v %v %q", st.Mode(), e, err, text)
	}
	d.typeIn("\x04")
	d.leave()
}

// An hour with the console: what an operator does, in one terminal.
func TestHour(t *testing.T) {
	s := startShell(t)
	for _, room := range []string{"lobby", "dev", "ops"} {
		s.ok("create " + room)
	}
	s.speak("dev", "one", "two", "three")
	port := s.Options.Ports[0] + 1
	var dev, lobby []net.Conn
	for i := range 20 {
		room, at := &lobby, s.Options.Ports[0]
		if i%4 == 0 {
			room, at = &dev, port
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(2 * patience))
		*room = append(*room, c)
	}
	eventually(t, "all are there", func() bool { return strings.Count(s.ok("members"), "guest-") == 20 })
	c := openConsole(t, s.socket, "")
	c.expect("roomd> ")
	c.typeIn("members lo\t\r")
	c.expect("guest-15")
	c.expect("roomd> ")

	c.typeIn("watch lobby\r")
	c.expect("(Ctrl-C ends this view)")
	c.typeIn("kick gue")
	c.expect("kick gue")
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				fmt.Fprintf(lobby[i%len(lobby)], "line %d\n", i)
				<-time.After(time.Millisecond)
			}
		}
	}()
	for range 3 {
		c.expect("line ")
		c.expect("roomd> kick gue") // what is typed stands below
	}
	close(stop)
	<-done
	c.typeIn("\x03") // the view ends, and what was typed is dropped

	c.typeIn("delete dev\r")
	c.expect("this deletes dev: 5 members, 3 lines, ")
	c.expect(" B, last line ")
	c.expect("do it? [y/N] ")
	c.typeIn("y\r")
	c.expect("restore dev brings it back")
	for _, g := range dev {
		text, err := io.ReadAll(g)
		if err != nil || !strings.HasSuffix(string(text), "* dev: chat room being deleted\n") {
			t.Fatalf("%v %q", err, text)
		}
	}
	c.typeIn("trash\r")
	c.expect("dev")
	c.typeIn("restore d\t\r")
	c.expect(fmt.Sprintf("the room dev is restored on port %d", port))
	c.typeIn("read dev\r")
	c.expect("> three")

	c.typeIn("kick guest-3 --say 'go and rest'\r")
	c.expect("kicked 1 member")
	c.typeIn("ban 192.0.2.7 --for 1h --why flooding\r")
	c.expect("ban #1 is set; kicked 0 members")
	s.Stop()
	c.expect("(the server is gone; waiting for it)")
	s.Start()
	c.expect("(the server is back)")
	c.typeIn("bans --relative\r")
	c.expect("192.0.2.7")
	c.expect("in 59m")
	c.typeIn("unban \t\r")
	c.expect("ban #1 is lifted")
	c.typeIn("\x04")
	c.leave()
}
