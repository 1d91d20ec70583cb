package irc

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"roomd/netsvc"
)

// TestIdleMemory measures the memory of the heap for a client that is registered, in one room, and
// idle: what goroutines of the server have allocated and still use.
func TestIdleMemory(t *testing.T) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.MaxMembers, o.MaxPerAddress, o.QuietAbove = 0, 0, 1 })
	const clients = 500
	before, _ := serverHeap(t)
	for i := range clients {
		c := s.dial()
		c.in.Reset(nil)
		nick := fmt.Sprintf("nick-%d", i)
		c.send("NICK "+nick, "USER "+nick+" 0 * :"+nick, "JOIN #lobby")
	}
	eventually(t, "members are missing", func() bool { i, _ := s.Service.RoomInfo("lobby"); return i.Members == clients })
	after, sites := serverHeap(t)
	each := (after - before) / clients
	t.Logf("%d bytes for each client", each)
	const most = 1600 // 1,200, and 260 until the client's place is written
	if each > most {
		t.Errorf("an idle client takes %d bytes, more than %d; most of it in\n%s", each, most, strings.Join(sites[:min(len(sites), 20)], "\n"))
	}
}

// serverHeap returns the bytes in use that the server has allocated, and where most of them were.
func serverHeap(t *testing.T) (total int64, sites []string) {
	t.Helper()
	runtime.GC()
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, ok := runtime.MemProfile(records, false)
	if !ok {
		t.Fatal(n, "places have allocated")
	}
	type site struct {
		bytes int64
		where string
	}
	by := make(map[string]int64)
	for _, r := range records[:n] {
		where, ours, test := "", false, false
		frames := runtime.CallersFrames(r.Stack())
		for depth := 0; ; {
			f, more := frames.Next()
			test = test || strings.HasSuffix(f.File, "_test.go")
			if strings.HasPrefix(f.Function, "roomd/") {
				ours = true
			}
			if depth < 4 && (ours || depth == 0) {
				where += fmt.Sprintf(" %s:%d", f.Function, f.Line)
				depth++
			}
			if !more {
				break
			}
		}
		if ours && !test {
			total += r.InUseBytes()
			by[where] += r.InUseBytes()
		}
	}
	var all []site
	for where, bytes := range by {
		all = append(all, site{bytes, where})
	}
	slices.SortFunc(all, func(a, b site) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, a := range all {
		sites = append(sites, fmt.Sprintf("%d%s", a.bytes, a.where))
	}
	return total, sites
}
