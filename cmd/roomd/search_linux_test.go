package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"roomd/store"
)

// A stop does not wait for what operators have asked for, nor for those who have
// left meanwhile: it ends in time, with status 0.
func TestStopUnderSearches(t *testing.T) {
	p := newProcess(t, "")
	st, err := store.Open(filepath.Join(p.dir, "roomd.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st.Start(store.Follower{})
	const lines = 60_000
	var in strings.Builder
	fmt.Fprintf(&in, `{"room":{"name":"big","port":%d},"last":%d}`+"\n", p.first, lines)
	for i := range lines {
		fmt.Fprintf(&in, `{"seq":%d,"time":"2026-11-23T12:00:00Z","kind":"message","from":"ann","text":"%s"}`+"\n", i+1, strings.Repeat("hay ", 20))
	}
	if _, _, err := st.Import(strings.NewReader(in.String()), func(name string) (string, error) { return name, nil }, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	p.start()
	for i := range 40 {
		c, err := net.Dial("unix", filepath.Join(p.dir, "roomd.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintln(c, []string{"search big needle", "search * needle --count", "doctor --full", "read big -n 60000"}[i%4])
		if i%2 == 1 {
			c.Close()
		}
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
