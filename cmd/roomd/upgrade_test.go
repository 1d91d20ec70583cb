package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/admin"
	"roomd/cmd/roomd/roomdtest"
)

// upgrade has another process take over, and returns how that went.
func (p *process) upgrade(binary ...string) admin.Upgrade {
	p.t.Helper()
	out, errs, status := p.admin(append([]string{"upgrade", "--json"}, binary...)...)
	var u admin.Upgrade
	if err := json.Unmarshal([]byte(out), &u); err != nil || status != exitOK {
		p.t.Fatalf("status %d, %s%s, %v", status, out, errs, err)
	}
	p.succeeded(u.PID)
	return u
}

// succeeded notes that another process is the server now. Where a manager follows
// the one before ends; else the first process waits for the server's end.
func (p *process) succeeded(pid int) {
	p.t.Helper()
	err := error(nil)
	switch {
	case p.orphan:
		p.gone()
	case slices.ContainsFunc(p.env, func(kv string) bool { return strings.HasPrefix(kv, "NOTIFY_SOCKET=") }):
		err = p.cmd.Wait()
	default:
		p.parent = p.cmd
	}
	if err != nil {
		p.t.Errorf("the process that has handed over ended so: %v", err)
	}
	next, err := os.FindProcess(pid)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = &exec.Cmd{Process: next}
	p.orphan = true
}

// member is a member that remembers where it has read to.
type member struct {
	p    *process
	conn interface{ Write([]byte) (int, error) }
	in   *bufio.Reader
}

func (p *process) come(port int) *member {
	p.t.Helper()
	c := p.dial(port)
	return &member{p, c, bufio.NewReader(c)}
}

func (m *member) say(text string) {
	m.p.t.Helper()
	if _, err := m.conn.Write([]byte(text)); err != nil {
		m.p.t.Fatal(err)
	}
}

// hear reads up to a line with that in it, and returns it.
func (m *member) hear(want string) string {
	m.p.t.Helper()
	for {
		l, err := m.in.ReadString('\n')
		if err != nil {
			m.p.t.Fatalf("waiting for %q: %q, %v", want, l, err)
		}
		if strings.Contains(l, want) {
			return l
		}
	}
}

// Everything that a connection has goes over: nick, mode, half a line, what it
// has not read, and on the master port what it may delete.
func TestUpgrade(t *testing.T) {
	port := nextPort.Take(1) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", port))
	p.start()
	ann, bob, bot := p.come(p.first), p.come(p.first), p.come(p.first)
	master := p.come(p.master)
	master.say("CREATE den secret\n")
	key := master.hear("OK den ")
	den := p.first + 1
	gate := p.come(den)
	gate.hear("this room has a password")
	gate.say("/pa")
	ann.say("/nick ann\n/echo off\n")
	ann.hear("not shown to you")
	bob.say("/nick bob\n/raw\n")
	bob.hear("every line is text")
	bot.say("/json\n/nick bot\n")
	bot.hear(`"command":"nick"`)
	ann.say("half a ")
	master.say("LIS")
	before, _, _ := p.admin("members", "lobby", "--json")
	for i := range 3 {
		u := p.upgrade()
		if u.Members != 3 || u.PID == 0 {
			t.Errorf("%+v", u)
		}
		t.Log("pause", u.Pause, "of", u.Took)
		bob.say(fmt.Sprintf("/after %d\n", i))
		ann.hear(fmt.Sprintf("<bob> /after %d", i))
		bot.hear(fmt.Sprintf(`"from":"bob","text":"/after %d"`, i))
		bob.hear(fmt.Sprintf("<bob> /after %d", i))
	}
	if after, _, _ := p.admin("members", "lobby", "--json"); keep(before, "id", "since", "remote", "nick") != keep(after, "id", "since", "remote", "nick") {
		t.Errorf("members:\n%s%s", before, after)
	}
	ann.say("line\n/ping\n")
	bob.hear("<ann> half a line")
	// Before it there may be that somebody joined: who says nothing is told of later.
	for l := ann.hear(""); !strings.HasPrefix(l, "* pong "); l = ann.hear("") {
		if strings.HasPrefix(l, "<ann>") {
			t.Errorf("ann sees her own line: %q", l)
		}
	}
	master.say("T\n")
	master.hear("OK 2")
	gate.say("ss secret\nhi\n")
	gate.hear("<guest-1> hi")
	master.say("DELETE den\n")
	if l := master.hear(" den"); !strings.HasPrefix(l, "OK den") {
		t.Errorf("the creator may not delete: %q, %q", l, key)
	}
	gate.hear("chat room being deleted")
	newcomer := p.come(p.first)
	newcomer.hear("4 here, you are guest-4")
	if text, _ := roomdtest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port)); !strings.Contains(text, "roomd_lines_total 5\n") {
		t.Error("metrics", grep(text, "roomd_lines_total"))
	}
	if audit, _, _ := p.admin("audit"); strings.Count(audit, "upgrade") != 3 {
		t.Error(audit)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

func grep(text, what string) (found []string) {
	for l := range strings.Lines(text) {
		if strings.Contains(l, what) {
			found = append(found, l)
		}
	}
	return found
}

// keep is a JSON array of objects with these fields only.
func keep(text string, names ...string) string {
	var all []map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return err.Error() + text
	}
	for _, o := range all {
		for k := range o {
			used := false
			for _, n := range names {
				used = used || n == k
			}
			if !used {
				delete(o, k)
			}
		}
	}
	out, _ := json.Marshal(all)
	return string(out)
}

// By signal, and the manager learns who the server is.
func TestUpgradeBySignal(t *testing.T) {
	p := newProcess(t, "")
	m := newStandIn(t, filepath.Join(p.dir, "notify"))
	p.env = []string{"NOTIFY_SOCKET=" + m.name}
	p.start()
	m.until("READY=1")
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	p.cmd.Process.Signal(syscall.SIGUSR2)
	told := m.until("MAINPID=")
	_, pid, _ := strings.Cut(told, "MAINPID=")
	next, err := strconv.Atoi(strings.Fields(pid)[0])
	if err != nil || next == p.cmd.Process.Pid {
		t.Fatal(told, err)
	}
	if told := m.until("READY=1"); !strings.Contains(told, "1 member in 1 room") {
		t.Error(told)
	}
	p.succeeded(next)
	ann.say("still here\n")
	ann.hear("<guest-1> still here")
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	m.until("STOPPING=1")
}

// What is behind TLS cannot be handed over: it is told so, the others see it
// leave, and it resumes at the new process.
func TestUpgradeTLS(t *testing.T) {
	p := newProcess(t, "")
	writeKeyPair(t, p.dir, "one")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	p.configure(`tls = { cert = "cert.pem", key = "key.pem" }`)
	if results, errs := p.reload(); results["tls.cert"].Result != admin.Applied {
		t.Fatal(results, errs)
	}
	secure := func(port int) *member {
		t.Helper()
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(time.Minute))
		return &member{p, c, bufio.NewReader(c)}
	}
	bob, session := secure(p.first), secure(p.master)
	bob.hear("you are guest-2")
	session.say("LIST\n")
	session.hear("OK 1")
	ann.hear("* guest-2 joined")
	bob.say("seen by all\n")
	ann.hear("<guest-2> seen by all")
	bob.hear("<guest-2> seen by all")
	if u := p.upgrade(); u.Members != 1 {
		t.Errorf("%+v", u)
	}
	bob.hear("* lobby: the server is being upgraded; come back and say /since 1")
	session.hear("ERR shutting-down the server is being upgraded; connect again")
	ann.hear("* guest-2 left (1 here)")
	if out, errs, _ := p.admin("doctor"); strings.Contains(out, "cannot be trusted") {
		t.Error(out, errs)
	}
	ann.say("missed\n")
	ann.hear("<guest-1> missed")
	bob = secure(p.first)
	bob.say("/since 1\n")
	bob.hear("* everything after 1")
	bob.hear("<guest-1> missed")
	session = secure(p.master)
	session.say("LIST\n")
	session.hear("OK 1")
}

// Who watches goes on watching the process that has taken over, and one that was
// started again.
func TestWatchThroughUpgrade(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	cmd := p.roomd("admin", "--config", filepath.Join(p.dir, "config.toml"), "watch", "lines")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	notes := bufio.NewReader(errs)
	shown := make(chan string)
	go func() {
		defer close(shown)
		for in := bufio.NewScanner(out); in.Scan(); {
			shown <- in.Text()
		}
	}()
	defer func() {
		cmd.Process.Kill()
		for range shown {
		}
		cmd.Wait()
	}()
	again := func(how string) {
		t.Helper()
		if l, err := notes.ReadString('\n'); l != "(connected again; events in between are not shown)\n" {
			t.Errorf("after %s: %q, %v", how, l, err)
		}
	}
	// sees has ann talk until the watch shows it: when it begins nobody is told.
	sees := func(ann *member, text string) {
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); {
			ann.say(text + "\n")
			ann.hear("> " + text)
			select {
			case l := <-shown:
				if strings.Contains(l, "lobby <guest-1> "+text) {
					return
				}
			default:
			}
		}
		t.Fatalf("the watch does not show %q", text)
	}
	ann := p.come(p.first)
	sees(ann, "before")
	p.upgrade()
	again("an upgrade")
	sees(ann, "after")
	p.kill(syscall.SIGKILL)
	p.start()
	again("a crash")
	sees(p.come(p.first), "back")
}

// What a client has sent is handled, though it is gone and its lines have to wait
// for its allowance while another process takes over.
func TestUpgradeOfTheGone(t *testing.T) {
	p := newProcess(t, "limits.lines_per_second = 50\nlimits.burst = 5")
	p.start()
	ann := p.come(p.first)
	ann.hear("* guest-1 joined")
	const lines = 80
	gone := p.dial(p.first).(*net.TCPConn)
	var say strings.Builder
	for i := range lines {
		fmt.Fprintf(&say, "%d %s\n", i, strings.Repeat("x", 200))
	}
	if _, err := gone.Write([]byte(say.String())); err != nil {
		t.Fatal(err)
	}
	gone.SetLinger(0)
	gone.Close() // with a reset: from now on nothing can be written to it
	ann.hear("<guest-2> 10 ")
	if u := p.upgrade(); u.Members != 2 {
		t.Errorf("%+v", u)
	}
	for i := 11; i < lines; i++ {
		if l := ann.hear("<guest-2> "); !strings.HasPrefix(l, fmt.Sprintf("<guest-2> %d ", i)) {
			t.Fatalf("line %d: %q", i, l)
		}
	}
	ann.hear("* guest-2 left (1 here)")
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
