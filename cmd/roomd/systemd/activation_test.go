package systemd

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

func TestSockets(t *testing.T) {
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
		{pid, "x", int(f.Fd()), 0, "LISTEN_FDS"},
		{pid, "1", int(r.Fd()), 0, "TCP socket"},
	} {
		env := map[string]string{"LISTEN_PID": c.pid, "LISTEN_FDS": c.fds}
		fds, addrs, err := sockets(func(k string) string { return env[k] }, c.first)
		if len(fds) != c.want || len(addrs) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %v, %v, %v", c, fds, addrs, err)
		}
	}
}
