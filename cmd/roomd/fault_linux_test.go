package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// fault lets system calls of the running server hang or fail, as strace is told
// (inject= in strace(1)), until end is called: a disk that is ill for a while.
func (p *process) fault(inject string) (end func()) {
	p.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		p.t.Skip("strace is needed to make the disk ill: apt-get install strace")
	}
	calls, _, _ := strings.Cut(inject, ":")
	cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+calls, "-e", "inject="+inject, "-p", fmt.Sprint(p.cmd.Process.Pid))
	out, err := cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	over := false
	end = func() {
		if !over {
			over = true
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		}
	}
	p.t.Cleanup(end)
	said, err := bufio.NewReader(out).ReadString('\n')
	switch {
	case strings.Contains(said, "attached"):
	case strings.Contains(said, "not permitted"):
		p.t.Skip("making the disk ill takes the right to trace (root, or kernel.yama.ptrace_scope = 0):", said)
	default:
		p.t.Fatal("strace: ", said, err)
	}
	return end
}

// before returns the lines up to the first that contains a text, without it.
func (v visitor) before(t testing.TB, text string) (lines []string) {
	t.Helper()
	for {
		l, err := v.in.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", text, err)
		}
		if strings.Contains(l, text) {
			return lines
		}
		lines = append(lines, l)
	}
}

// A disk that hangs: who speaks is held back and loses nothing, who reads is
// served, everything that tells how the server is says what the matter is; and
// when the disk answers, all goes on.
func TestStuckDisk(t *testing.T) {
	t.Parallel()
	port := nextPort.Take(1) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"\nhistory.lines = 100000", port))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	p.start()
	ann, bob, eve := p.visit(p.first), p.visit(p.first), p.visit(p.first)
	fmt.Fprintln(ann, "before")
	bob.until(t, "> before")
	eve.until(t, "> before")
	end := p.fault("fdatasync:delay_enter=60000000")
	fmt.Fprintln(ann, "late")
	written := make(chan int)
	go func() {
		text := strings.Repeat("x", 3000)
		n := 0
		for {
			eve.SetWriteDeadline(time.Now().Add(700 * time.Millisecond))
			m, err := fmt.Fprintf(eve, "%d %s\n", n, text)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				// What is left of the line follows when there is room again.
				written <- n
				eve.SetWriteDeadline(time.Time{})
				fmt.Fprintf(eve, "%s", fmt.Sprintf("%d %s\n", n, text)[m:])
				written <- n + 1
				return
			} else if err != nil {
				written <- n
				written <- n
				return
			}
			n++
		}
	}()
	n := <-written
	t.Logf("%d lines of 3 kB are taken from one sender who does not wait", n)
	if n > 64<<20/3000 {
		t.Error("nobody holds the sender back")
	}
	eventually(t, "readyz says it", func() bool {
		text, status := roomdtest.Get(t, url+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "the disk has not answered for")
	})
	if text, status := roomdtest.Get(t, url+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d %s", status, text)
	}
	if text, _ := roomdtest.Get(t, url+"/metrics"); strings.Contains(text, "roomd_store_slow_disk_seconds 0\n") || !strings.Contains(text, "roomd_store_slow_disk_seconds ") {
		t.Errorf("the metrics do not say it: %s", text)
	}
	for _, words := range []string{"status", "doctor"} {
		if out, errs, _ := p.admin(words); !strings.Contains(out, "has not answered for") {
			t.Errorf("%s does not say it: %s %s", words, out, errs)
		}
	}
	if !p.logged("slow disk: a write does not return") {
		t.Error("the log does not say it")
	}
	master := p.visit(p.master)
	fmt.Fprintln(master, "LIST")
	master.until(t, "lobby ")
	if out, errs, status := p.admin("read", "lobby"); status != 0 || !strings.Contains(out, "before") {
		t.Errorf("the history: %s %s", out, errs)
	}
	fmt.Fprintln(bob, "/history 5")
	if lines := bob.before(t, "> before"); strings.Contains(strings.Join(lines, ""), "late") {
		t.Errorf("what is not on disk is shown: %q", lines)
	}
	fmt.Fprintln(bob, "/who")
	if lines := bob.before(t, "guest-1, here since"); strings.Contains(strings.Join(lines, ""), "late") {
		t.Errorf("what is not on disk is shown: %q", lines)
	}
	end()
	go func() {
		for { // who does not read is not read from
			if _, err := eve.in.ReadString('\n'); err != nil {
				return
			}
		}
	}()
	bob.until(t, "<guest-1> late")
	n = <-written
	for i := range n {
		if l := bob.until(t, "<guest-3> "); !strings.HasPrefix(l, fmt.Sprintf("<guest-3> %d x", i)) {
			t.Fatalf("line %d is %.40q", i, l)
		}
	}
	eventually(t, "all is well", func() bool {
		_, status := roomdtest.Get(t, url+"/readyz")
		return status == http.StatusOK && p.logged("disk answers again")
	})
}

// readOnly expects what a disk that takes nothing more means for everybody: ann
// is told that her line is not kept, bob does not see it, reading goes on, and
// everything that tells how the server is says so.
func (p *process) readOnly(ann, bob visitor, url string) {
	p.t.Helper()
	fmt.Fprintln(ann, "refused")
	ann.until(p.t, "* not sent: the store is read-only since a write to the disk failed")
	if text, status := roomdtest.Get(p.t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "the store is read-only") {
		p.t.Errorf("readyz: %d %s", status, text)
	}
	if text, status := roomdtest.Get(p.t, url+"/healthz"); status != http.StatusOK {
		p.t.Errorf("healthz: %d %s", status, text)
	}
	if text, _ := roomdtest.Get(p.t, url+"/metrics"); !strings.Contains(text, "roomd_store_read_only 1\n") {
		p.t.Errorf("the metrics do not say it: %s", text)
	}
	for _, words := range []string{"status", "doctor"} {
		if out, errs, _ := p.admin(words); !strings.Contains(out, "the store is read-only since a write to the disk failed") {
			p.t.Errorf("%s does not say it: %s %s", words, out, errs)
		}
	}
	if !p.logged("database is read-only after a failed write") {
		p.t.Error("the log does not say it")
	}
	master := p.visit(p.master)
	fmt.Fprintln(master, "CREATE dev")
	if l := master.until(p.t, "ERR"); !strings.HasPrefix(l, "ERR busy") && !strings.HasPrefix(l, "ERR internal") {
		p.t.Errorf("CREATE is answered %q", l)
	}
	fmt.Fprintln(master, "LIST")
	master.until(p.t, "lobby ")
	if out, errs, status := p.admin("read", "lobby"); status != 0 || !strings.Contains(out, "before") || strings.Contains(out, "refused") {
		p.t.Errorf("the history: %s %s", out, errs)
	}
	p.visit(p.first).until(p.t, "> before")
	fmt.Fprintln(bob, "/who")
	if lines := bob.before(p.t, "guest-1, here since"); strings.Contains(strings.Join(lines, ""), "refused") {
		p.t.Errorf("what is not kept is shown: %q", lines)
	}
}

// A disk that takes nothing for a while, as one that is remounted read-only
// (which mount(8) does not do while a server has files open, but SysRq and some
// network file systems do), or that returns errors: the server goes on reading, and by itself keeps lines again when the disk does.
func TestReadOnlyDisk(t *testing.T) {
	for _, inject := range []string{"pwrite64,fsync,fdatasync,ftruncate:error=EROFS", "fsync,fdatasync:error=EIO"} {
		t.Run(inject[strings.LastIndexByte(inject, '=')+1:], func(t *testing.T) {
			t.Parallel()
			port := nextPort.Take(1) - 1
			p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", port))
			url := fmt.Sprintf("http://127.0.0.1:%d", port)
			p.start()
			ann, bob := p.visit(p.first), p.visit(p.first)
			fmt.Fprintln(ann, "before")
			bob.until(t, "> before")
			ann.until(t, "> before")
			end := p.fault(inject)
			p.readOnly(ann, bob, url)
			end()
			eventually(t, "all is well", func() bool {
				_, status := roomdtest.Get(t, url+"/readyz")
				return status == http.StatusOK && p.logged("database is writable again")
			})
			fmt.Fprintln(ann, "after")
			if lines := bob.before(t, "> after"); strings.Contains(strings.Join(lines, ""), "refused") {
				t.Errorf("what was refused is shown: %q", lines)
			}
			master := p.visit(p.master)
			fmt.Fprintln(master, "CREATE dev")
			master.until(t, "OK dev ")
			if text, _ := roomdtest.Get(t, url+"/metrics"); !strings.Contains(text, "roomd_store_read_only 0\n") {
				t.Errorf("the metrics: %s", text)
			}
		})
	}
}

// A file system that the kernel has made read-only after an error stays so until
// it is unmounted. Until then the server goes on reading, and what was
// acknowledged is there when it is started again.
func TestFileSystemError(t *testing.T) {
	port := nextPort.Take(1) - 1
	p := newProcess(t, fmt.Sprintf("server.data = \"disk/roomd.db\"\nmetrics.listen = \"127.0.0.1:%d\"", port))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	disk, image := filepath.Join(p.dir, "disk"), filepath.Join(p.dir, "image")
	if err := errors.Join(os.Mkdir(disk, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("a file system to break: %v %s", err, out)
	}
	t.Setenv("DISK", disk)
	t.Setenv("IMAGE", image)
	mount := `mount -o loop,errors=remount-ro "$IMAGE" "$DISK"`
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", mount).CombinedOutput(); err != nil {
		t.Skipf("mounting a file system to break takes root and a loop device: %v %s", err, out)
	}
	p.prefix = []string{"unshare", "--mount", "sh", "-c", mount + ` && exec "$0" "$@"`}
	p.start()
	ann, bob := p.visit(p.first), p.visit(p.first)
	fmt.Fprintln(ann, "before")
	bob.until(t, "> before")
	ann.until(t, "> before")
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	device, _, _ := strings.Cut(string(mounts[strings.LastIndex(string(mounts), "/dev/loop")+len("/dev/"):]), " ")
	if err := os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("1\n"), 0); err != nil {
		t.Skip("the kernel cannot be made to find an error:", err)
	}
	p.readOnly(ann, bob, url)
	if _, errs, status := p.admin("reopen"); status == 0 || !strings.Contains(errs, "read-only") {
		t.Errorf("reopen: %d %s", status, errs)
	}
	p.kill(syscall.SIGTERM)
	p.start() // mounts it anew
	eve := p.visit(p.first)
	if lines := eve.before(t, "end of earlier lines"); !strings.Contains(strings.Join(lines, ""), "> before") || strings.Contains(strings.Join(lines, ""), "refused") {
		t.Errorf("there are %q", lines)
	}
	fmt.Fprintln(eve, "after")
	eve.until(t, "> after")
}
