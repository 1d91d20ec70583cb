package netsvc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/netsvc/history"
	"roomd/netsvc/transport"
	"roomd/store"
)

// A search goes on in the next process where it was, while it looks for the lines and while it shows
// them: the client gets one answer, whole.
func TestSearchAfterHandover(t *testing.T) {
	for name, test := range map[string]struct {
		lines   int
		text    string // of a line
		finding bool   // while it looks for the lines, and not while it shows them to a client that does not read
		want    int    // lines
	}{
		"finding": {4000, "hay", true, 40},
		"showing": {60, strings.Repeat("needle ", 8000), false, 50},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "roomd.db")
			first := 23000 + rand.IntN(3000)
			opts := Options{
				Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{first, first + 39}, FirstRooms: []string{"lobby"},
				LineBytes: 65536, DeadPeer: time.Minute, MasterIdle: time.Hour, Log: slog.New(slog.DiscardHandler),
			}
			serve := func() (*Service, *store.Store) {
				st, err := store.Open(path, store.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return New(st, opts), st
			}
			old, oldStore := serve()
			if err := old.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				old.Stop()
				if err := oldStore.Close(); err != nil {
					t.Error(err)
				}
			}()
			r, err := old.room("lobby")
			if err != nil {
				t.Fatal(err)
			}
			for i := range test.lines {
				text := fmt.Sprintf("%s %d", test.text, i)
				if i%100 == 7 {
					text = fmt.Sprintf("Needle %d", i)
				}
				if err := oldStore.Submit(t.Context(), &store.Post{Room: r.id, Line: store.Line{Kind: store.Message, From: "ann", Text: text}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := oldStore.Flush(); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", r.port()))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.(*net.TCPConn).SetReadBuffer(64 << 10)
			c.SetDeadline(time.Now().Add(20 * time.Second))
			in := bufio.NewReader(c)
			hear(t, in, "you are guest-1")
			io.WriteString(c, "/json\n")
			hear(t, in, `"command":"json"`)
			m := r.currentMembers()[0]
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if test.finding {
				for range cap(old.diskReaders) { // all turns are taken
					old.diskReaders <- struct{}{}
				}
				defer func() {
					for range cap(old.diskReaders) {
						<-old.diskReaders
					}
				}()
			}
			io.WriteString(c, "/search NEEDLE\n/ping\n")
			// It gets one turn after the other until it is in the middle.
			for begun := false; ; {
				waits := m.out.conn.Full
				if test.finding {
					waits = m.out.conn.Writing
				}
				if err := transport.PollUntil(ctx, waits); err != nil {
					t.Fatal("the search does not go on")
				}
				if test.finding {
					<-old.diskReaders
					old.diskReaders <- struct{}{}
				}
				if err := old.Freeze(ctx); err != nil {
					t.Fatal(err)
				}
				l := (*history.Lookup)(nil)
				if m.replay != nil {
					l = m.replay.lookup
				}
				if l != nil && len(l.Hits) > 0 && (l.Text != "") == test.finding {
					break
				}
				old.Thaw()
				if begun && l == nil {
					t.Fatal("the search has ended too early")
				}
				begun = l != nil
			}
			if err := oldStore.Suspend(); err != nil {
				t.Fatal(err)
			}
			next, nextStore := serve()
			old.handOverTo(t, next)
			next.Thaw()
			defer func() {
				next.Stop()
				if err := nextStore.Close(); err != nil {
					t.Error(err)
				}
				if err := oldStore.Resume(); err != nil {
					t.Error(err)
				}
				old.Thaw()
			}()
			hear(t, in, fmt.Sprintf(`"command":"search","count":%d,`, test.want))
			seq := uint64(0)
			for range test.want {
				l, err := in.ReadString('\n')
				var n uint64
				if _, bad := fmt.Sscanf(l, `{"seq":%d,`, &n); err != nil || bad != nil || n <= seq || !strings.Contains(strings.ToLower(l), "needle") {
					t.Fatalf("%.80q follows line %d, %v", l, seq, err)
				}
				seq = n
			}
			if l, err := in.ReadString('\n'); err != nil || !strings.Contains(l, `"pong"`) {
				t.Errorf("%.80q follows the answer, %v", l, err)
			}
		})
	}
}

// A search ends with its client: after a reset nothing more is read for it, and the member goes.
func TestSearchEndsWithItsClient(t *testing.T) {
	s, r := startBare(t, store.Options{}, 0)
	st := s.store
	for i := range 4000 {
		if err := st.Submit(t.Context(), &store.Post{Room: r.id, Line: store.Line{Kind: store.Message, From: "ann", Text: fmt.Sprint("hay ", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	c, in := call(t, s, "lobby", "you are guest-1")
	io.WriteString(c, "/ping\n")
	hear(t, in, "* pong")
	for range cap(s.diskReaders) { // all turns are taken
		s.diskReaders <- struct{}{}
	}
	m := r.currentMembers()[0]
	io.WriteString(c, "/search nothing\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := transport.PollUntil(ctx, m.out.conn.Writing); err != nil {
		t.Error("nothing is read for it")
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := transport.PollUntil(ctx, m.out.conn.WasReset); err != nil {
		t.Error("the connection is not reset")
	}
	before := s.counters.pages.Load()
	for range cap(s.diskReaders) {
		<-s.diskReaders
	}
	if err := transport.PollUntil(ctx, func() bool { return len(r.membersAndLeaving()) == 0 }); err != nil {
		t.Error("the member stays")
	}
	if n := s.counters.pages.Load() - before; n > 1 {
		t.Errorf("%d turns were taken for a client that is gone", n)
	}
}

// What comes before a search in the stream does not wait until the search is over.
func TestLinesBeforeASearchDoNotWait(t *testing.T) {
	s, r := startBare(t, store.Options{}, 0)
	for i := range 4000 {
		if err := s.store.Submit(t.Context(), &store.Post{Room: r.id, Line: store.Line{Kind: store.Message, From: "ann", Text: fmt.Sprint("hay ", i, strings.Repeat(" and more", 20))}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.store.Flush(); err != nil {
		t.Fatal(err)
	}
	c, in := call(t, s, "lobby", "you are guest-1")
	io.WriteString(c, "/ping\n")
	hear(t, in, "* pong")
	for range cap(s.diskReaders) { // all turns are taken
		s.diskReaders <- struct{}{}
	}
	defer func() {
		for range cap(s.diskReaders) {
			<-s.diskReaders
		}
	}()
	m := r.currentMembers()[0]
	io.WriteString(c, "/history 5\n/search nothing\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const turns = 8 // a few for the history, and the search needs many more
	for before := s.counters.pages.Load(); s.counters.pages.Load() < before+turns; {
		if err := transport.PollUntil(ctx, m.out.conn.Writing); err != nil {
			t.Fatal("nothing is read for it")
		}
		<-s.diskReaders // a turn, if somebody waits for one by now
		s.diskReaders <- struct{}{}
	}
	hear(t, in, "* end of earlier lines")
}
