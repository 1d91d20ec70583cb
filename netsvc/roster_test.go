package netsvc_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// longNick is one of the longest nicks there are: 32 letters, 128 bytes.
func longNick(i int) string {
	n := []rune(strings.Repeat("\U00010330", 29))
	for range 3 {
		n = append(n, rune(0x10330+i%20))
		i /= 20
	}
	return string(n)
}

// heap is what is in use, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Members that ask for long answers and do not read cost the server a bounded
// number of bytes, and get all answers, whole, once they read.
func TestUnreadAnswers(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port := s.Create("lobby")
		const members, asked = 100, 300
		var all []*peer
		for i := range members {
			p := dial(t, port)
			p.TCP.SetReadBuffer(64 << 10)
			p.Send("/nick "+longNick(i), "/json")
			p.Until(`{"type":"ok","command":"json"}`)
			all = append(all, p)
		}
		before := heap()
		for _, p := range all {
			p.Send(strings.Repeat("/who\n", asked))
		}
		// Its own lines show that the server goes on while they are stuck.
		quiet := join(t, s.Create("quiet"))
		for i := range 20 {
			quiet.Send(fmt.Sprint(i))
			quiet.Expect(fmt.Sprintf("<guest-1> %d", i))
			if grown := int64(heap()) - int64(before); grown > 24<<20 {
				t.Fatalf("%d members that do not read cost %d MiB", members, grown>>20)
			}
		}
		reader := all[members-1]
		for range asked {
			if n := countWho(t, reader); n != members {
				t.Fatalf("/who lists %d members of %d", n, members)
			}
		}
	})
}

// countWho reads the answer to /who and returns how many members it lists.
func countWho(t *testing.T, p *peer) (n int) {
	t.Helper()
	var head struct{ Count int }
	if err := json.Unmarshal([]byte(p.Until(`{"type":"ok","command":"who"`)), &head); err != nil {
		t.Fatal(err)
	}
	for range head.Count {
		if l := p.Line(); strings.HasPrefix(l, `{"type":"member"`) {
			n++
		}
	}
	return n
}

// Clients of the master port that ask for long lists and do not read cost a
// bounded number of bytes each.
func TestUnreadLists(t *testing.T) {
	s := startServer(t)
	for i := range 32 {
		port := s.Create(fmt.Sprintf("room-%d", i))
		p := join(t, port)
		p.Send("/topic " + strings.Repeat("t", 4000))
		p.Until("* guest-1 set the topic")
	}
	const clients = 200
	before := heap()
	var all []*peer
	for range clients {
		p := dial(t, s.Service.Port())
		p.TCP.SetReadBuffer(64 << 10)
		p.Send(strings.Repeat("LIST\n", 20))
		all = append(all, p)
	}
	for _, p := range all[:3] { // these read, and get all of it
		for range 20 {
			p.Until("OK 32")
			for range 32 {
				p.Line()
			}
		}
	}
	if grown := int64(heap()) - int64(before); grown > clients*64<<10 {
		t.Errorf("%d clients that do not read cost %d KiB each", clients, grown/clients>>10)
	}
}
