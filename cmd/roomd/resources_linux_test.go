package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// idles expects that the process soon takes next to no processor time, once what was said to it before
// is done.
func (p *process) idles() {
	p.t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 10 {
		before, began := p.cpu(), time.Now()
		<-tick.C
		took, of := p.cpu()-before, time.Since(began)
		if took <= of/5 {
			return
		}
		p.t.Logf("it took %v of processor time in %v", took, of)
	}
	p.t.Error("it does not come to rest")
}

// With 256 descriptors the 300th client is refused in one line, at no cost,
// those inside go on, and who comes later gets in as others leave.
func TestFewDescriptors(t *testing.T) {
	p := newProcess(t, "")
	p.prefix = []string{"sh", "-c", `ulimit -n 256; exec "$0" "$@"`}
	p.start()
	var inside []visitor
	for n := 1; n <= 300; n++ {
		v := p.visit(p.first)
		l, err := v.in.ReadString('\n')
		if err != nil {
			t.Fatalf("client %d: %q, %v", n, l, err)
		}
		if strings.Contains(l, "you are guest-") {
			inside = append(inside, v)
			continue
		}
		if !strings.HasPrefix(l, "* lobby: the server has ") || !strings.HasSuffix(l, " connections, which is the limit; try again later\n") {
			t.Fatalf("client %d is told %q", n, l)
		}
		if _, err := v.in.ReadString('\n'); err == nil {
			t.Fatalf("client %d is told more", n)
		}
		v.Close()
	}
	if n := len(inside); n < 100 || n > 220 {
		t.Errorf("%d are inside", n)
	}
	p.idles()
	fmt.Fprintln(inside[0], "still here")
	for _, v := range inside {
		v.until(t, "> still here")
	}
	inside[1].Close()
	await(t, func() string {
		v := p.visit(p.first)
		defer v.Close()
		if l, err := v.in.ReadString('\n'); err != nil || !strings.Contains(l, "you are") {
			return fmt.Sprintf("nobody gets in any more: %q, %v", l, err)
		}
		return ""
	})
}

// When there is no descriptor left at all, who connects is told busy, CREATE is
// refused in words, the server idles, and it recovers by itself.
func TestNoDescriptors(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	ann := p.visit(p.first)
	ann.until(t, "joined")
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	master := p.visit(p.master)
	fmt.Fprintln(master, "LIST nowhere")
	master.until(t, "OK 0")
	setDescriptorLimit(t, p.cmd.Process.Pid, uint64(len(open)+1))
	var outside []visitor
	for range 30 {
		outside = append(outside, p.visit(p.first))
	}
	busy := 0
	soon := time.Now().Add(5 * time.Second)
	for _, v := range outside {
		v.SetDeadline(soon)
		if l, err := v.in.ReadString('\n'); err == nil && strings.Contains(l, "busy: the server has no descriptor left") {
			busy++
		}
	}
	if busy < 20 {
		t.Errorf("%d of 30 were told busy", busy)
	}
	fmt.Fprintln(master, "CREATE dev")
	if l := master.until(t, "ERR"); !strings.HasPrefix(l, "ERR busy ") || !strings.Contains(l, "too many open files") {
		t.Errorf("CREATE is answered %q", l)
	}
	p.idles()
	fmt.Fprintln(ann, "still here")
	ann.until(t, "still here")
	setDescriptorLimit(t, p.cmd.Process.Pid, 256)
	for _, v := range outside {
		v.Close()
	}
	p.visit(p.first).until(t, "you are guest-")
	fmt.Fprintln(master, "CREATE dev")
	master.until(t, "OK dev")
}

// On a full disk who speaks is told so and nobody sees the line; what needs no
// disk goes on; and when there is space again lines are kept again.
func TestFullDisk(t *testing.T) {
	p := newProcess(t, `server.data = "small/roomd.db"`)
	small := filepath.Join(p.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	p.prefix = []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=8m none "$SMALL" && exec "$0" "$@"`}
	t.Setenv("SMALL", small)
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs none "$SMALL"`).CombinedOutput(); err != nil {
		t.Skipf("a namespace to mount in: %v %s", err, out)
	}
	p.start()
	ann, bob := p.visit(p.first), p.visit(p.first)
	ann.until(t, "you are guest-1")
	bob.until(t, "you are guest-2")
	ballast := fmt.Sprintf("/proc/%d/root%s/ballast", p.cmd.Process.Pid, small)
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	// There may be free pages inside the file: they are used up first.
	go func() {
		for range 3000 {
			if _, err := fmt.Fprintln(ann, strings.Repeat("x", 4000)); err != nil {
				return
			}
		}
	}()
	ann.until(t, "* not sent: the disk is full")
	if text, err := os.ReadFile(p.log.Name()); err != nil || !strings.Contains(string(text), "disk is full: lines and changes are refused") {
		t.Error("the log does not say it", err)
	}
	master := p.visit(p.master)
	fmt.Fprintln(master, "LIST")
	master.until(t, "lobby ")
	fmt.Fprintln(bob, "/who")
	bob.until(t, "guest-1, here since")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eve := p.visit(p.first)
	eve.until(t, "you are guest-3")
	for end := time.Now().Add(patience); ; {
		fmt.Fprintln(eve, "space again")
		if l := eve.until(t, ""); l == "<guest-3> space again\n" {
			break
		} else if time.Now().After(end) {
			t.Fatal("it does not recover")
		}
	}
	bob.until(t, "<guest-3> space again")
}
