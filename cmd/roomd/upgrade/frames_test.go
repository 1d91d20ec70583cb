package upgrade

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// Frames and their descriptors arrive as they were sent.
func TestFrames(t *testing.T) {
	a, file, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	b, err := pairOn(uintptr(fd))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a.SetTimeout(patience)
	b.SetTimeout(patience)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	many := make([]int, maxDescriptors)
	for i := range many {
		many[i] = int(w.Fd())
	}
	big := strings.Repeat("x", 1<<20)
	go func() {
		if err := errors.Join(a.Send("one", big, many...), a.Send("two", 2), a.Send("three", 3, int(w.Fd()))); err != nil {
			t.Error(err)
		}
		w.Close()
	}()
	for _, want := range []struct {
		kind string
		size int
		fds  int
	}{{"one", len(big) + 2, maxDescriptors}, {"two", 1, 0}, {"three", 1, 1}} {
		kind, body, fds, err := b.Receive()
		if err != nil || kind != want.kind || len(body) != want.size || len(fds) != want.fds {
			t.Fatalf("%q, %d bytes, %d descriptors, %v; want %+v", kind, len(body), len(fds), err, want)
		}
		for _, fd := range fds {
			if _, err := syscall.Write(fd, []byte{'.'}); err != nil {
				t.Error(err)
			}
			syscall.Close(fd)
		}
	}
	if got, err := io.ReadAll(r); err != nil || len(got) != maxDescriptors+1 {
		t.Error(len(got), err)
	}
	if err := a.Send("failed", "no room"); err != nil {
		t.Fatal(err)
	}
	var no remoteError
	if err := b.Expect("hello", nil); !errors.As(err, &no) || string(no) != "no room" {
		t.Error(err)
	}
	a.Send("hi", 1)
	if err := b.Expect("hello", nil); err == nil || !strings.Contains(err.Error(), `"hi"`) {
		t.Error(err)
	}
	b.SetTimeout(time.Millisecond)
	if err := b.Expect("hello", nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	b.SetTimeout(patience)
	a.conn.Write(make([]byte, 3))
	a.Close()
	if err := b.Expect("hello", nil); !errors.Is(err, io.EOF) {
		t.Error("half a header:", err)
	}
	if _, _, _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Error("the end:", err)
	}
}
