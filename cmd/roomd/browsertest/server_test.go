package browsertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is a roomd of a test's own.
type server struct {
	t    testing.TB
	dir  string
	port int       // the master port
	room int       // the first port for rooms, which the room lobby has
	cmd  *exec.Cmd // that we started
	pid  int       // of the process that serves: another one after an upgrade
	log  *os.File
}

// serve starts a server with these lines of configuration beside those that tests need.
func serve(t testing.TB, config string) *server {
	t.Helper()
	return serveAt(t, int(nextPort.Take(40))-40, config)
}

// serveAt is serve with the master port base, and the ports behind it for rooms.
func serveAt(t testing.TB, base int, config string) *server {
	t.Helper()
	needs(t)
	s := &server{t: t, dir: t.TempDir(), port: base, room: base + 1}
	for key, value := range map[string]string{"irc.listen": "[]", "rooms.max": "30", "limits.lines_per_second": "1e6", "limits.burst": "1000", "limits.connects_per_second": "1e4"} {
		if !strings.Contains(config, key) {
			config += "\n" + key + " = " + value
		}
	}
	config = fmt.Sprintf("server.port = %d\nrooms.ports = \"%d-%d\"\n%s\n", base, base+1, base+39, config)
	if err := os.WriteFile(filepath.Join(s.dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	t.Cleanup(func() {
		s.kill()
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the server's log:\n%s", text)
		}
	})
	s.start()
	return s
}

var common struct {
	server *server
	once   sync.Once
}

// shared is the server of the tests that leave it as it was, each with rooms of its own.
func shared(t testing.TB) *server {
	t.Helper()
	needs(t)
	common.once.Do(func() { common.server = serve(lasting{t}, "server.create = [\"lobby\"]") })
	if common.server == nil {
		t.Fatal("the shared server did not start")
	}
	s := *common.server
	s.t = t
	return &s
}

// lasting is a test whose folders and processes outlive it: they are of all tests of the package.
type lasting struct{ testing.TB }

func (l lasting) Cleanup(end func()) { tools.end = append(tools.end, end) }

func (l lasting) Failed() bool { return false }

func (l lasting) TempDir() string {
	dir, err := os.MkdirTemp(tools.dir, "")
	if err != nil {
		l.Fatal(err)
	}
	return dir
}

// start runs the server and waits until it says that it is ready.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(tools.program, "serve", "--config", filepath.Join(s.dir, "config.toml"))
	s.cmd.Stderr = s.log
	// A pipe of our own: those who take over from it have it too.
	out, in, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { out.Close() })
	s.cmd.Stdout = in
	err = s.cmd.Start()
	in.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	s.pid = s.cmd.Process.Pid
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "ready") {
			return
		}
	}
	s.t.Fatal("the server did not become ready")
}

// kill ends it as kill -9 does. The first process ends as the one does that has taken over.
func (s *server) kill() {
	if s.cmd != nil {
		syscall.Kill(s.pid, syscall.SIGKILL)
		s.cmd.Wait()
		s.cmd = nil
	}
}

// admin runs a command of the console and returns what it prints.
func (s *server) admin(words ...string) string {
	s.t.Helper()
	cmd := exec.Command(tools.program, append([]string{"admin", "--socket", filepath.Join(s.dir, "roomd.sock")}, words...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v: %s", words, err, out)
	}
	return string(out)
}

// upgrade has another process take over.
func (s *server) upgrade() {
	s.t.Helper()
	var u struct{ PID int }
	if err := json.Unmarshal([]byte(s.admin("upgrade", "--json")), &u); err != nil || u.PID == 0 {
		s.t.Fatal(u, err)
	}
	s.pid = u.PID
}

// url is an address of the page.
func (s *server) url(path string) string { return fmt.Sprintf("http://localhost:%d%s", s.port, path) }

// ask makes a request of the master port and returns the first line of the answer.
func (s *server) ask(request string) string {
	s.t.Helper()
	c := s.dial(s.port)
	defer c.Close()
	fmt.Fprintln(c, request)
	return c.until("")
}

// create makes a room for the time of the test and returns its port.
func (s *server) create(name, password string) (port int) {
	s.t.Helper()
	if _, err := fmt.Sscanf(s.ask(strings.TrimSpace("CREATE "+name+" "+password)), "OK "+name+" %d", &port); err != nil {
		s.t.Fatal(name, err)
	}
	s.t.Cleanup(func() {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil { // it may have been killed
			fmt.Fprintf(c, "DELETE %s\n", name)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
	})
	return port
}

// line is a client of lines, as nc is.
type line struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (s *server) dial(port int) *line {
	s.t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * patience))
	return &line{c, s.t, bufio.NewReader(c)}
}

// enter is a member of a room by lines, with a nick.
func (s *server) enter(port int, nick string) *line {
	s.t.Helper()
	c := s.dial(port)
	fmt.Fprintf(c, "/nick %s\n", nick)
	c.until(" is now " + nick)
	return c
}

// until reads on to a line that holds the text.
func (l *line) until(text string) string {
	l.t.Helper()
	for {
		got, err := l.in.ReadString('\n')
		if err != nil {
			l.t.Fatalf("waiting for %q: %q, %v", text, got, err)
		}
		if strings.Contains(got, text) {
			return got
		}
	}
}
