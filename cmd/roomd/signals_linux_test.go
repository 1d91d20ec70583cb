package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// procs are the processes of this server, those that have ended and are not waited
// for left out, and which of them has the database.
func (p *process) procs() (all, serving []int) {
	config, data := filepath.Join(p.dir, "config.toml"), filepath.Join(p.dir, "roomd.db")
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		words, _ := os.ReadFile(name)
		dir := filepath.Dir(name)
		pid, err := strconv.Atoi(filepath.Base(dir))
		// "serve" as a word of its own: not a client, nor a shell that starts it.
		if err != nil || pid == os.Getpid() || !bytes.Contains(words, []byte("\x00serve\x00")) || !bytes.Contains(words, []byte(config)) {
			continue
		}
		all = append(all, pid)
		fds, _ := filepath.Glob(dir + "/fd/*")
		if slices.ContainsFunc(fds, func(fd string) bool { to, _ := os.Readlink(fd); return to == data }) {
			serving = append(serving, pid)
		}
	}
	return all, serving
}

// settles waits until one process serves, which is not one of those, and there are
// so many in all.
func (p *process) settles(n int, not ...int) int {
	p.t.Helper()
	var serving []int
	await(p.t, func() string {
		var all []int
		if all, serving = p.procs(); len(all) == n && len(serving) == 1 && !slices.Contains(not, serving[0]) {
			return ""
		}
		return fmt.Sprintf("processes %v, of them serve %v; want %d, and not one of %v", all, serving, n, not)
	})
	return serving[0]
}

// allGone waits until none of its processes is left.
func (p *process) allGone() {
	p.t.Helper()
	await(p.t, func() string {
		all, serving := p.procs()
		if len(all) == 0 {
			return ""
		}
		return fmt.Sprintf("processes %v are left, of them serve %v", all, serving)
	})
}

// followed is a manager that follows MAINPID, or none at all, and how many
// processes a server has after an upgrade.
func followed(t *testing.T, test func(t *testing.T, p *process, n int)) {
	for _, follows := range []bool{true, false} {
		t.Run(fmt.Sprintf("followed=%v", follows), func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "")
			n := 2
			if follows {
				n = 1
				m := newStandIn(t, filepath.Join(p.dir, "notify"))
				p.env = []string{"NOTIFY_SOCKET=" + m.name}
				go func() { // a manager always reads
					for b := make([]byte, 4096); ; {
						if _, err := m.conn.Read(b); err != nil {
							return
						}
					}
				}()
			}
			p.start()
			test(t, p, n)
		})
	}
}

// end stops the server by a signal to the process that was started first, or to the
// one that serves if it is gone, and no process is left.
func (p *process) end() {
	p.t.Helper()
	_, serving := p.procs()
	p.cmd.Process.Signal(syscall.SIGTERM)
	err := p.cmd.Wait()
	if len(serving) == 1 && serving[0] != p.cmd.Process.Pid {
		syscall.Kill(serving[0], syscall.SIGTERM) // unless it was passed on
	}
	p.allGone()
	if err != nil {
		p.t.Error("the first process ended so:", err)
	}
	p.cmd = nil
}

// Two upgrades in a row by signal, and a reload a few milliseconds behind one: each
// is done by the process that serves then, nobody is left over, members stay.
func TestSignalsDuringUpgrade(t *testing.T) {
	followed(t, func(t *testing.T, p *process, n int) {
		ann := p.come(p.first)
		ann.hear("you are guest-1")
		first := p.settles(1)
		p.cmd.Process.Signal(syscall.SIGUSR2)
		<-time.After(20 * time.Millisecond) // in the middle of it, as a person is
		p.cmd.Process.Signal(syscall.SIGUSR2)
		p.hasUpgraded(2)
		second := p.settles(n, first)
		ann.say("after two\n")
		ann.hear("<guest-1> after two")
		p.configure("rooms.replay = 7")
		syscall.Kill(second, syscall.SIGUSR2)
		<-time.After(4 * time.Millisecond)
		syscall.Kill(second, syscall.SIGHUP)
		p.hasUpgraded(3)
		third := p.settles(n, first, second)
		eventually(t, "the configuration is read again", func() bool {
			out, _, _ := p.admin("config", "--json")
			return strings.Contains(out, `"7"`)
		})
		ann.say("after three\n")
		ann.hear("<guest-1> after three")
		if got := p.settles(n); got != third {
			t.Errorf("process %d serves, and not %d", got, third)
		}
		p.end()
	})
}

// hasUpgraded waits until so many upgrades are complete.
func (p *process) hasUpgraded(times int) {
	p.t.Helper()
	await(p.t, func() string {
		text, err := os.ReadFile(p.log.Name())
		if err != nil {
			p.t.Fatal(err)
		}
		n := bytes.Count(text, []byte("another process serves"))
		if n >= times {
			return ""
		}
		return fmt.Sprintf("%d upgrades, and not %d", n, times)
	})
}

// A successor that gets SIGHUP and SIGUSR2 before it can take them does not die of
// them.
func TestSignalsBeforeReady(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	path := filepath.Join(p.dir, "successor")
	script := fmt.Sprintf("#!/bin/sh\nkill -HUP $$\nkill -USR2 $$\nexec %s \"$@\"\n", os.Args[0])
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	first := p.settles(1)
	if out, errs, status := p.admin("upgrade", path); status != exitOK {
		t.Fatal(out, errs)
	}
	p.settles(2, first)
	ann.say("here\n")
	ann.hear("<guest-1> here")
	p.end()
}

// Signals that come while a server starts or stops do not end it otherwise.
func TestSignalsWhileStopping(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	for range 20 {
		p.cmd.Process.Signal(syscall.SIGHUP)
		p.cmd.Process.Signal(syscall.SIGUSR2)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	for range 20 {
		p.cmd.Process.Signal(syscall.SIGHUP)
		p.cmd.Process.Signal(syscall.SIGUSR2)
	}
	ann.hear("the server is stopping")
	if err := p.cmd.Wait(); err != nil {
		t.Error(err)
	}
	p.cmd = nil
}

// Where no manager follows, the first process waits however many upgrades there
// are, and ends as the server does.
func TestWaitingParent(t *testing.T) {
	t.Parallel()
	upgraded := func(t *testing.T, p *process, times int) (serving int) {
		t.Helper()
		p.start()
		serving = p.settles(1)
		for i := range times {
			before := serving
			p.cmd.Process.Signal(syscall.SIGUSR2) // to the first process, which passes it on
			p.hasUpgraded(i + 1)
			serving = p.settles(2, before)
		}
		return serving
	}
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		p := newProcess(t, "")
		upgraded(t, p, 3)
		m := p.come(p.first)
		m.hear("you are guest-1")
		p.end()
		m.hear("the server is stopping")
	})
	t.Run("group", func(t *testing.T) { // as timeout(1), tini -g and systemd do
		t.Parallel()
		p := newProcess(t, "")
		p.prefix = []string{"setsid"}
		upgraded(t, p, 2)
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
		p.cmd = nil
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		p := newProcess(t, "")
		serving := upgraded(t, p, 2)
		syscall.Kill(serving, syscall.SIGKILL)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("the parent of a server that was killed: %v", err)
		}
		p.cmd = nil
	})
	t.Run("failed", func(t *testing.T) { // a Go program ends so at SIGABRT
		t.Parallel()
		p := newProcess(t, "")
		serving := upgraded(t, p, 1)
		syscall.Kill(serving, syscall.SIGABRT)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("the parent of a server that ended with status 2: %v", err)
		}
		p.cmd = nil
	})
	t.Run("orphaned", func(t *testing.T) {
		t.Parallel()
		p := newProcess(t, "")
		upgraded(t, p, 2)
		m := p.come(p.first)
		m.hear("you are guest-1")
		p.cmd.Process.Kill()
		p.cmd.Wait()
		m.hear("the server is stopping")
		p.allGone() // none serves on, and nobody knows of it
		p.cmd = nil
		p.start() // which a supervisor does
	})
	t.Run("container", func(t *testing.T) { // process 1 of a PID namespace
		t.Parallel()
		if out, err := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "true").CombinedOutput(); err != nil {
			t.Skipf("a namespace of processes: %v %s", err, out)
		}
		p := newProcess(t, "")
		p.prefix = []string{"unshare", "--user", "--map-root-user", "--pid", "--mount-proc", "--fork", "--kill-child"}
		p.start()
		m := p.come(p.first)
		m.hear("you are guest-1")
		for i := range 3 {
			if out, errs, status := p.admin("upgrade"); status != exitOK {
				t.Fatal(out, errs)
			}
			m.say(fmt.Sprintln("still here", i))
			m.hear(fmt.Sprint("> still here ", i))
		}
		all, serving := p.procs()
		if len(serving) != 1 {
			t.Fatal(all, serving)
		}
		one, err := strconv.Atoi(strings.TrimSpace(children(t, p.cmd.Process.Pid)))
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(one, syscall.SIGTERM)
		m.hear("the server is stopping")
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
		p.cmd = nil
	})
}

// children are the PIDs of a process's children.
func children(t *testing.T, pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Skip(err)
	}
	return string(text)
}
