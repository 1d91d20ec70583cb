package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Frames and their descriptors arrive as they were sent.
func TestHandoff(t *testing.T) {
	a, file, err := newHandoff()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	b, err := handoffOn(uintptr(fd))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	a.within(patience)
	b.within(patience)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	many := make([]int, mostDescriptors)
	for i := range many {
		many[i] = int(w.Fd())
	}
	big := strings.Repeat("x", 1<<20)
	go func() {
		if err := errors.Join(a.send("one", big, many...), a.send("two", 2), a.send("three", 3, int(w.Fd()))); err != nil {
			t.Error(err)
		}
		w.Close()
	}()
	for _, want := range []struct {
		kind string
		size int
		fds  int
	}{{"one", len(big) + 2, mostDescriptors}, {"two", 1, 0}, {"three", 1, 1}} {
		kind, body, fds, err := b.receive()
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
	if got, err := io.ReadAll(r); err != nil || len(got) != mostDescriptors+1 {
		t.Error(len(got), err)
	}
	if err := a.send("failed", "no room"); err != nil {
		t.Fatal(err)
	}
	var no refusedThere
	if err := b.expect("hello", nil); !errors.As(err, &no) || no.why != "no room" {
		t.Error(err)
	}
	a.send("hi", 1)
	if err := b.expect("hello", nil); err == nil || !strings.Contains(err.Error(), `"hi" instead of "hello"`) {
		t.Error(err)
	}
	b.within(time.Millisecond)
	if err := b.expect("hello", nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	b.within(patience)
	a.conn.Write(make([]byte, 3))
	a.close()
	if err := b.expect("hello", nil); !errors.Is(err, io.EOF) {
		t.Error("half a header:", err)
	}
	if _, _, _, err := b.receive(); !errors.Is(err, io.EOF) {
		t.Error("the end:", err)
	}
}
