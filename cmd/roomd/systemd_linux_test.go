package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// aManager runs a service manager, systemd --user, in namespaces of its own, and
// then each line of its input. What is in there ends with it, and it sees no
// control group but one made for it ($2, of the first version of those if $3).
const aManager = `
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit
if test -n "$3"
then mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
else mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi || exit
export XDG_RUNTIME_DIR=$1 XDG_CONFIG_HOME=$1/config HOME=$1
/lib/systemd/systemd --user </dev/null >$1/log 2>&1 &
echo begun
while read -r line; do eval "$line" 2>&1; echo "=$?"; done`

// serviceManager is a systemd that runs the units of a folder.
type serviceManager struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startManager(t *testing.T, unit string) *serviceManager {
	t.Helper()
	for _, tool := range []string{"/lib/systemd/systemd", "systemctl", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool, "(packages systemd and util-linux) is not installed")
		}
	}
	if os.Getuid() != 0 {
		t.Skip("a service manager of our own needs root")
	}
	dir, err := os.MkdirTemp("", "sd") // the names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config/systemd/user/roomd.service", unit)
	groups, first := "/sys/fs/cgroup", ""
	if _, err := os.Stat("/sys/fs/cgroup/systemd"); err == nil {
		groups, first = "/sys/fs/cgroup/systemd", "1"
	}
	group := filepath.Join(groups, filepath.Base(dir))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("a control group for the manager:", err)
	}
	t.Cleanup(func() {
		// Its processes have ended.
		exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
	})
	cmd := exec.Command("sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group,
		"unshare", "--mount", "--pid", "--fork", "--cgroup", "--mount-proc", "--kill-child", "bash", "-c", aManager, "bash", dir, group, first)
	m := &serviceManager{t: t}
	errs := &strings.Builder{}
	cmd.Stderr = errs
	in, out := roomdtest.Begin(t, cmd)
	m.in, m.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		if text, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("the manager's log:\n%s", text)
		}
	})
	if l, _ := m.out.ReadString('\n'); l != "begun\n" {
		cmd.Wait()
		t.Skip("a service manager in namespaces of its own:", errs)
	}
	m.do("until systemctl --user is-system-running | grep -q 'running\\|degraded'; do :; done", true)
	return m
}

// do runs a line of shell in there and returns what it prints.
func (m *serviceManager) do(line string, ok bool) string {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.in, line); err != nil {
		m.t.Fatal(err)
	}
	text := ""
	for {
		l, err := m.out.ReadString('\n')
		if err != nil {
			m.t.Fatalf("%s: %s%v", line, text, err)
		}
		if status, done := strings.CutPrefix(l, "="); done {
			if (status == "0\n") != ok {
				m.t.Errorf("%s: status %s%s", line, status, text)
			}
			return text
		}
		text += l
	}
}

// show returns properties of the unit.
func (m *serviceManager) show(names ...string) string {
	m.t.Helper()
	return m.do("systemctl --user show roomd -p "+strings.Join(names, " -p "), true)
}

// until waits until a property of the unit is so.
func (m *serviceManager) until(want string) {
	m.t.Helper()
	name, _, _ := strings.Cut(want, "=")
	for end := time.Now().Add(patience); ; {
		got := strings.TrimSpace(m.show(name))
		if got == want {
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("%s; want %s", got, want)
		}
	}
}

// userUnit is the packaged unit for a server in a folder, without what only the
// system's manager can do.
func userUnit(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile("packaging/roomd.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := "[Service]\nEnvironment=" + asRoomd + "=1\nWorkingDirectory=" + dir + "\n"
	for l := range strings.Lines(string(text)) {
		switch key, _, _ := strings.Cut(l, "="); key {
		case "Type", "NotifyAccess", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "KillMode", "TimerSlackNSec", "ExecStart", "ExecReload":
			unit += l
		case "WatchdogSec":
			unit += "WatchdogSec=3s\n"
		}
	}
	return strings.NewReplacer("/usr/bin/roomd", os.Args[0], "/etc/roomd", dir).Replace(unit)
}

// The real service manager: the unit is started when every room is bound, is
// reloading while it reloads, has another main process after an upgrade, is
// started again when it hangs, and stops with a farewell.
func TestUnderSystemd(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `server.create = ["lobby"]`)
	m := startManager(t, userUnit(t, p.dir))
	m.do("systemctl --user start roomd", true)
	if got := m.show("ActiveState", "SubState", "StatusText"); got != "StatusText=0 members in 1 room\nActiveState=active\nSubState=running\n" &&
		got != "ActiveState=active\nSubState=running\nStatusText=0 members in 1 room\n" {
		t.Errorf("after the start:\n%s", got)
	}
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	pid := m.show("MainPID")

	p.configure("limits.members = 7")
	if out := m.do("systemctl --user reload roomd", true); out != "" {
		t.Errorf("reload: %s", out)
	}
	p.configure("limits.members = -1")
	m.do("systemctl --user reload roomd", false)
	p.configure()
	if got := m.show("ActiveState", "MainPID"); !strings.Contains(got, "ActiveState=active\n") || !strings.Contains(got, pid) {
		t.Errorf("after a reload:\n%s", got)
	}

	for range 2 {
		if out, errs, status := p.admin("upgrade", "--json"); status != exitOK {
			t.Fatal(out, errs)
		}
		before := strings.TrimSpace(pid)
		m.do("while systemctl --user show roomd -p MainPID | grep -qx "+before+"; do :; done", true)
		pid = m.show("MainPID")
		m.until("StatusText=1 member in 1 room")
		if got := m.show("ActiveState", "NRestarts", "MainPID"); !strings.Contains(got, "ActiveState=active\n") || !strings.Contains(got, "NRestarts=0\n") {
			t.Errorf("after an upgrade:\n%s", got)
		}
		if got := m.do("for t in /proc/"+strings.TrimPrefix(strings.TrimSpace(pid), "MainPID=")+"/task/*; do cat /proc/${t##*/}/timerslack_ns; done | sort -u", true); got != "1000000\n" {
			t.Errorf("the threads have a timer slack of %q ns", got)
		}
		ann.say("still here\n")
		ann.hear("<guest-1> still here")
	}

	// It hangs: the watchdog ends it, and it is started again, with its rooms.
	m.do("systemctl --user kill -s STOP roomd", true)
	m.until("NRestarts=1")
	m.until("ActiveState=active")
	bob := p.come(p.first)
	bob.hear("you are guest-")
	bob.hear("<guest-1> still here")
	m.do("systemctl --user stop roomd", true)
	bob.hear("* lobby: the server is stopping")
	if got := m.show("ActiveState", "Result"); !strings.Contains(got, "ActiveState=inactive\n") || !strings.Contains(got, "Result=success\n") {
		t.Errorf("after the stop:\n%s", got)
	}
}
