package main

import (
	"fmt"
	"net"
	"os"
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
		early.hear("ERR denied ") // others can reach the master port
		if out, errs, status := p.admin("reload"); status != exitOK {
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
