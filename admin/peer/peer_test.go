package peer_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"roomd/admin/peer"
)

// The other end is this process, and has not gone when it closes its own side only.
func TestPeer(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	c := here.(*net.UnixConn)
	if uid, gids, err := peer.Credentials(c); err != nil || uid != os.Geteuid() || len(gids) == 0 || gids[0] != os.Getegid() {
		t.Error(uid, gids, err)
	}
	var closed atomic.Bool
	gone := make(chan bool, 1)
	stop := peer.WhenGone(c, func() { gone <- closed.Load() })
	defer stop()
	there.(*net.UnixConn).CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Fatal(b, err)
	}
	closed.Store(true)
	there.Close()
	if runtime.GOOS == "linux" && !<-gone {
		t.Error("its own side only was closed")
	}
}

// The other end of a TCP connection belongs to this process, over IPv4 and IPv6 sockets, until it
// is closed.
func TestOwner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says it")
	}
	for network, addr := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Logf("%s: %v", network, err)
			continue
		}
		there, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		here, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if uid, err := peer.Owner(here); err != nil || uid != os.Getuid() {
			t.Error(network, uid, err)
		}
		there.Close()
		io.Copy(io.Discard, here)
		if uid, err := peer.Owner(here); !errors.Is(err, peer.ErrNoOwner) {
			t.Error("a closed connection has the owner", uid, err)
		}
		here.Close()
		l.Close()
	}
	if _, err := peer.Owner(new(net.UnixConn)); !errors.Is(err, peer.ErrUnknown) {
		t.Error(err)
	}
}
