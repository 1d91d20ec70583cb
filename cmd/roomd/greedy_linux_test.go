package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// greedyBound is what a server with the default configuration may have in memory
// for itself, whatever 10,000 clients do: its heap, stacks and buffers, without the
// pages of the database and the buffers of the kernel, which are the system's.
const greedyBound = 1 << 30

// greed is what clients say who read nothing of the answers. Those without a room
// say it to the master port.
var greed = []struct {
	room  bool
	says  string
	half  bool // closes its side then
	again bool // says it for ever
}{
	{true, "/json\n" + strings.Repeat("/who\n", 300), false, false},
	{false, strings.Repeat("LIST\n", 300), false, false},
	{true, strings.Repeat("/history 100000\n", 100), false, false},
	{true, "/json\n/since 0\n", false, false},
	{true, strings.Repeat("x", 64<<10), false, true}, // no line ever
	{true, strings.Repeat("/who\n", 300), true, false},
	{true, strings.Repeat("x", 4000) + "\n", false, true},
	{false, strings.Repeat("HELP\n", 1000), false, false},
	{false, strings.Repeat("LIST *\n", 1000), false, true},
	{true, strings.Repeat("/topic\n/help\n/ping\n", 300), false, true},
}

// kept is the memory of the server that is its own (RssAnon), in bytes.
func (p *process) kept() (bytes int64) {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		p.t.Fatal(err)
	}
	return bytes << 10
}

// Clients that ask for as much as they can and read nothing fill neither the memory
// of the server, nor that of the process that takes over from it, and what they had
// is given back. ROOMD_HOSTILE makes them 10,000, which is all that the server takes.
func TestGreedyClients(t *testing.T) {
	n, hold := 200, 300*time.Millisecond
	if os.Getenv("ROOMD_HOSTILE") != "" {
		n, hold = 9990, 10*time.Second
	}
	p := newProcess(t, "limits.lines_per_second = 20.0\nlimits.burst = 40")
	if n > 1000 {
		p.binary = plainBinary(t) // the race detector needs memory of its own
	}
	p.start()
	for i := range 29 {
		if _, errs, status := p.admin("create", fmt.Sprint("room-", i)); status != exitOK {
			t.Fatal(errs)
		}
	}
	before := p.kept()
	ann := p.visit(p.first)
	ann.SetDeadline(time.Now().Add(10 * time.Minute))
	var refused atomic.Int64
	var all sync.WaitGroup
	conns := make([]*net.TCPConn, 0, n)
	for i := range n {
		kind := &greed[i%len(greed)]
		port := p.master
		if kind.room {
			port = p.first + i/len(greed)%30
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 16, byte(i>>8), byte(i))}, Timeout: patience}
		c, err := d.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			t.Fatal(err)
		}
		tcp := c.(*net.TCPConn)
		tcp.SetReadBuffer(4 << 10)
		tcp.SetWriteBuffer(32 << 10)
		conns = append(conns, tcp)
		all.Go(func() {
			for again := true; again; again = kind.again {
				if _, err := io.WriteString(tcp, kind.says); err != nil {
					refused.Add(1)
					return
				}
			}
			if kind.half {
				tcp.CloseWrite()
			}
		})
	}
	most, served := int64(0), 0
	watch := func(d time.Duration) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for until := time.Now().Add(d); time.Now().Before(until); served++ {
			<-tick.C
			most = max(most, p.kept())
			fmt.Fprintf(ann, "line %d\n", served)
			ann.until(t, fmt.Sprintf("> line %d\n", served))
		}
	}
	watch(hold)
	st := p.status()
	eventually(t, "most of them are members", func() bool {
		st = p.status()
		return st.Members >= n*6/10
	})
	u := p.upgrade()
	watch(hold)
	t.Logf("%d members, %d connections: %d MiB before, %d MiB at most; an upgrade took over %d members, pause %s of %s",
		st.Members, st.Connections, before>>20, most>>20, u.Members, u.Pause, u.Took)
	if most > greedyBound {
		t.Errorf("the server had %d MiB", most>>20)
	}
	// All leave. What they have said is heard to the end, unless they are banned.
	for _, c := range conns {
		c.Close()
	}
	all.Wait()
	if _, errs, status := p.admin("ban", "127.16.0.0/16", "--yes"); status != exitOK {
		t.Error(errs)
	}
	eventually(t, "nobody but ann is there", func() bool { st := p.status(); return st.Members == 1 && st.Connections == 1 })
}
