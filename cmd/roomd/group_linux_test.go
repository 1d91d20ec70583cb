package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"roomd/admin"
)

// asks gives the admin socket a command as another user, and returns the last
// line of the answer.
func asks(socket string, uid, gid int, line string) (verdict string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with us: what it is, is for good
		for _, call := range [][2]uintptr{{syscall.SYS_SETGROUPS, 0}, {syscall.SYS_SETGID, uintptr(gid)}, {syscall.SYS_SETUID, uintptr(uid)}} {
			if _, _, e := syscall.RawSyscall(call[0], call[1], 0, 0); e != 0 {
				err = e
				return
			}
		}
		var c net.Conn
		if c, err = net.Dial("unix", socket); err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintln(c, line)
		in := bufio.NewScanner(c)
		for in.Scan() {
			if verdict = in.Text(); !strings.HasPrefix(verdict, " ") {
				return
			}
		}
		err = in.Err()
	}()
	<-done
	return verdict, err
}

// An admin.group that a reload calls applied may use the socket, and the one
// before may not. One that the socket cannot be given to is refused, with all
// else, and keeps nobody out at the next start.
func TestReloadGroup(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	const gid, uid = 65534, 65533
	g, err := user.LookupGroupId(fmt.Sprint(gid))
	if err != nil {
		t.Skip("there is no such group here:", err)
	}
	dir, err := os.MkdirTemp("/tmp", "roomd") // open to others, as the folder of a test is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := newProcessIn(t, dir, "")
	p.start()
	socket := filepath.Join(dir, "roomd.sock")
	owner := func() uint32 {
		t.Helper()
		st, err := os.Stat(socket)
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Gid
	}
	gets := func(in bool) {
		t.Helper()
		verdict, err := asks(socket, uid, gid, "version")
		if (verdict == "OK") != in {
			t.Errorf("somebody of the group: %q %v", verdict, err)
		}
		if verdict, _ := asks(socket, uid, gid-2, "version"); verdict == "OK" {
			t.Error("anybody gets in")
		}
	}
	gets(false)
	p.configure(fmt.Sprintf("admin.group = %q", g.Name))
	if got, errs := p.reload("--dry-run"); got["admin.group"].Result != admin.WouldApply || owner() == gid {
		t.Error(got, errs)
	}
	if got, errs := p.reload(); got["admin.group"].Result != admin.Applied || owner() != gid {
		t.Error(got, errs, owner())
	}
	gets(true)
	p.upgrade()
	gets(true)
	p.configure()
	if got, errs := p.reload(); got["admin.group"].Result != admin.Applied || owner() == gid {
		t.Error(got, errs, owner())
	}
	gets(false)
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Fatal("setpriv is needed to take a right away: apt-get install util-linux")
	}
	p.prefix = []string{"setpriv", "--bounding-set=-chown", "--inh-caps=-chown"} // as any user but root
	p.orphan = false
	p.start()
	p.configure(fmt.Sprintf("admin.group = %q", g.Name), "rooms.replay = 3")
	for _, words := range [][]string{{"--dry-run"}, nil} {
		got, errs := p.reload(words...)
		if got["admin.group"].Result != admin.Refused || !strings.Contains(got["admin.group"].Why, "is not in the group") || got["rooms.replay"].Result != admin.WouldApply || !strings.Contains(errs, "nothing is changed: 1 key refused") {
			t.Errorf("%v: %v %s", words, got, errs)
		}
		gets(false)
	}
	if out, _, _ := p.admin("config", "--json"); strings.Contains(out, `"key":"rooms.replay","value":"3"`) || strings.Contains(out, g.Name) {
		t.Error("it is refused, and in effect:", out)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.start()
	if out, errs, status := p.admin("version"); status != exitOK {
		t.Error(out, errs)
	}
	if !p.logged("admin socket could not be given to admin.group") {
		t.Error("the log does not say it")
	}
	gets(false)
}
