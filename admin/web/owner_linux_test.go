package web_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"roomd/admin/web"
)

// getAs makes a request as another user of the machine and returns the status.
func getAs(uid int, addr, path, cookie string) (status int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with us: what it is, is for good
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETUID, uintptr(uid), 0, 0); e != 0 {
			err = e
			return
		}
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", path, addr, cookie)
		var res *http.Response
		if res, err = http.ReadResponse(bufio.NewReader(c), nil); err == nil {
			status = res.StatusCode
			res.Body.Close()
		}
	}()
	<-done
	return status, err
}

// Another user of the machine is refused, with the right cookie, too. Root accepts the user that has
// called sudo.
func TestAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	const caller, other = 65533, 65532
	t.Setenv("SUDO_UID", fmt.Sprint(caller))
	o := start(t, web.Options{})
	b := o.enter()
	addr := strings.TrimPrefix(o.at, "http://")
	for uid, want := range map[int]int{0: http.StatusOK, caller: http.StatusOK, other: http.StatusForbidden} {
		for _, path := range []string{"/", b.path} {
			if status, err := getAs(uid, addr, path, b.cookie); err != nil || status != want {
				t.Errorf("user %d, %s: %d %v", uid, path, status, err)
			}
		}
	}
}
