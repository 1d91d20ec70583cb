package admin_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client that does not read holds nobody up: neither who suspends the store,
// as an upgrade does, nor its end.
func TestBackupIsNotWaitedFor(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	text := strings.Repeat("x", 4000)
	s.speak("lobby", slices.Repeat([]string{text}, 400)...)
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "--files= backup /not/ours --rate 1000")
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	waiting := func() (n int) {
		if err := raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
			t.Error(err)
		}
		return n
	}
	eventually(t, "the socket is full", func() bool { return waiting() > 128<<10 })
	began := time.Now()
	if err := s.Store.Suspend(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the store was suspended after %v", took)
	}
	if err := s.Store.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/not/ours"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
