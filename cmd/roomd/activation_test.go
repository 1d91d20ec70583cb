package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The service manager holds the master port: who connects while the server is
// stopped waits for its start, and an upgrade keeps the socket.
func TestActivation(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `access.delete = "auto"`)
	ln, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", p.master))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p.configure("server.port = 1") // which is not taken
	p.files = []*os.File{file}
	p.prefix = []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh"}
	early := p.come(p.master)
	early.say("LIST\n")
	for range 2 {
		p.start()
		early.hear("OK ") // at the very first start the room comes later
		p.upgrade()
		early.say("DELETE lobby\n")
		early.hear("ERR denied only who created lobby may delete it") // others can reach the master port
		if out, errs, status := p.admin("reload"); status != exitDone {
			t.Error(out, errs)
		}
		early.say("LIST\n")
		early.hear("OK 1")
		if err := p.kill(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		early = p.come(p.master)
		early.say("LIST\n")
	}
}

func TestActivated(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	f, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	pid := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		pid, fds string
		first    int
		want     int
		err      string
	}{
		{"", "", 0, 0, ""},
		{"1", "1", int(f.Fd()), 0, ""},
		{pid, "1", int(f.Fd()), 1, ""},
		{pid, "x", int(f.Fd()), 0, "no number of sockets"},
		{pid, "1", int(r.Fd()), 0, "not a TCP socket that listens"},
	} {
		env := map[string]string{"LISTEN_PID": c.pid, "LISTEN_FDS": c.fds}
		fds, addrs, err := activated(func(k string) string { return env[k] }, c.first)
		if len(fds) != c.want || len(addrs) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %v, %v, %v", c, fds, addrs, err)
		}
	}
}
