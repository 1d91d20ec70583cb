package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/cmd/roomd/config"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// asRoomd makes the test binary behave as roomd: what is killed must be a
// process of its own.
const asRoomd = "ROOMD_TEST_RUN"

func TestMain(m *testing.M) {
	if how := os.Getenv(asSuccessor); how != "" {
		os.Exit(misbehave(how))
	}
	if how := os.Getenv(asAttacker); how != "" {
		os.Exit(attackAs(how))
	}
	if os.Getenv(asRoomd) != "" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second

// nextPort hands out master ports and rooms' ports, below the ephemeral ones.
var nextPort = netsvctest.NewPorts(16400, 32700)

// process is a roomd of its own.
type process struct {
	t      testing.TB
	dir    string
	master int
	first  int        // the first port for rooms
	binary string     // of the server; "": this one
	prefix []string   // of the command line: where it runs
	env    []string   // more environment
	files  []*os.File // descriptors from 3 on
	attr   *syscall.SysProcAttr
	orphan bool // it has taken over from the one that we started
	cmd    *exec.Cmd
	parent *exec.Cmd // the one that we started, if it waits for the server's end
	log    *os.File
}

func newProcess(t testing.TB, extra string) *process { return newProcessIn(t, t.TempDir(), extra) }

// newProcessIn is newProcess with a folder that is there.
func newProcessIn(t testing.TB, dir, extra string) *process {
	base := int(nextPort.Take(40)) - 40
	p := &process{t: t, dir: dir, master: base, first: base + 1}
	if !strings.Contains(extra, "limits.lines_per_second") {
		extra += "\nlimits.lines_per_second = 1e6\nlimits.burst = 1000"
	}
	text := fmt.Sprintf("server.port = %d\nrooms.ports = \"%d-%d\"\nrooms.max = 30\n%s\n", base, base+1, base+39, withIRC(extra))
	if err := os.WriteFile(filepath.Join(p.dir, "config.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p.log = log
	t.Cleanup(func() {
		p.kill(syscall.SIGKILL)
		p.killRest()
		log.Close()
		if t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("the server's log:\n%s", text)
			}
			return
		}
		p.checkStore()
	})
	return p
}

// withIRC closes the port of IRC in lines of a configuration that say nothing of it: it is the same
// for all servers.
func withIRC(lines string) string {
	if strings.Contains(lines, "irc.listen") {
		return lines
	}
	return "irc.listen = []\n" + lines
}

// start runs the server and waits until it says that it is ready.
func (p *process) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.binary != "" {
		self = p.binary
	}
	args := append(append([]string(nil), p.prefix...), self, "serve", "--config", filepath.Join(p.dir, "config.toml"))
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(append(os.Environ(), asRoomd+"=1"), p.env...)
	p.cmd.Stderr = p.log
	p.cmd.ExtraFiles = p.files
	p.cmd.SysProcAttr = p.attr
	// A pipe of our own: those who take over from it have it too.
	out, in, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { out.Close() })
	p.cmd.Stdout = in
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			return
		}
	}
	p.t.Fatal("the server did not become ready")
}

// configured names the configuration in the environment of a command: root takes
// none from its folder.
func (p *process) configured() string { return config.Var + "=" + filepath.Join(p.dir, "config.toml") }

// await waits until nothing lacks. It is for what other processes bring about and
// tell nobody of, so that only looking helps: what is in a file or on a screen, which
// processes there are, what a server says of itself.
func await(t testing.TB, lacks func() string) {
	t.Helper()
	const longest = 20 * time.Millisecond // between two looks: some cost a process
	for end, pause := time.Now().Add(patience), time.Millisecond; ; pause = min(2*pause, longest) {
		what := lacks()
		if what == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(pause)
	}
}

// eventually is await for what has only one name.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	await(t, func() string {
		if ok() {
			return ""
		}
		return what
	})
}

// kill ends the process by a signal and waits for its end.
func (p *process) kill(sig syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	if p.parent != nil && sig != syscall.SIGKILL {
		p.parent.Process.Signal(sig) // which passes it on
	} else {
		p.cmd.Process.Signal(sig)
	}
	if p.orphan {
		p.gone()
		var err error
		if p.parent != nil {
			err = p.parent.Wait() // which ends as the server does
		}
		p.cmd, p.parent, p.orphan = nil, nil, false
		return err
	}
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// killRest ends the servers of this folder that a failed test has lost sight of:
// one that has taken over, and was not to.
func (p *process) killRest() {
	if !p.t.Failed() {
		return
	}
	config := filepath.Join(p.dir, "config.toml")
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range all {
		words, _ := os.ReadFile(name)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && pid != os.Getpid() && strings.Contains(string(words), config) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// gone waits for the end of a process that is not our child.
func (p *process) gone() {
	p.t.Helper()
	eventually(p.t, "the process ends", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return p.cmd.Process.Signal(syscall.Signal(0)) != nil || err == nil && strings.Contains(string(text), ") Z ")
	})
}

// logged reports whether the server's log has a text.
func (p *process) logged(text string) bool {
	p.t.Helper()
	log, err := os.ReadFile(p.log.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Contains(string(log), text)
}

// cpu is the processor time that the process has taken so far.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Skip("needs proc(5):", err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int64
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * time.Second / 100 // USER_HZ, which is 100 everywhere
}

// checkStore reads the whole database while no server has it.
func (p *process) checkStore() {
	p.t.Helper()
	st, err := store.Open(filepath.Join(p.dir, "roomd.db"), store.Options{})
	if err != nil {
		p.t.Error(err)
		return
	}
	st.Start(store.Follower{})
	if err := st.Check(); err != nil {
		p.t.Error(err)
	}
	if err := st.Close(); err != nil {
		p.t.Error(err)
	}
}

func (p *process) dial(port int) net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	return c
}

// nc runs netcat-openbsd with input and returns what it printed when it ends.
func (p *process) nc(port int, input io.Reader) string {
	p.t.Helper()
	if _, err := exec.LookPath("nc"); err != nil {
		p.t.Skip("nc (netcat-openbsd) is not installed")
	}
	cmd := exec.Command("nc", "-N", "127.0.0.1", fmt.Sprint(port))
	cmd.Stdin = input
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("nc: %v", err)
	}
	return string(out)
}

// visitor is a client of either port: lines out, lines in.
type visitor struct {
	net.Conn
	in *bufio.Reader
}

func (p *process) visit(port int) visitor {
	c := p.dial(port)
	c.SetDeadline(time.Now().Add(patience))
	return visitor{c, bufio.NewReader(c)}
}

// until reads on to a line that holds the text.
func (v visitor) until(t testing.TB, text string) string {
	t.Helper()
	for {
		l, err := v.in.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %q, %v", text, l, err)
		}
		if strings.Contains(l, text) {
			return l
		}
	}
}
