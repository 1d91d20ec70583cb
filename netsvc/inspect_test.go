package netsvc

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/store"
)

// startBare is a service with a room and members, from inside, and its store.
func startBare(t *testing.T, opts store.Options, members int, change ...func(*Options)) (*Service, *Room) {
	t.Helper()
	opts.Trash = time.Hour
	st, err := store.Open(filepath.Join(t.TempDir(), "roomd.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	first := 27000 + rand.IntN(5000)
	o := Options{
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{first, first + 39}, FirstRooms: []string{"lobby"},
		LineBytes: 4096, DeadPeer: time.Minute, MasterIdle: time.Minute, Delete: Anyone, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	s := New(st, o)
	t.Cleanup(func() {
		s.Stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	r, err := s.room(o.FirstRooms[0])
	if err != nil {
		t.Fatal(err)
	}
	for range members {
		call(t, s, "lobby", "")
	}
	return s, r
}

// call connects to a room and reads up to a line that holds a text.
func call(t *testing.T, s *Service, room, first string) (net.Conn, *bufio.Reader) {
	t.Helper()
	r, err := s.room(room)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", r.port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	hear(t, in, first)
	return c, in
}

// hear reads up to a line that holds a text.
func hear(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	for {
		if l, err := in.ReadString('\n'); err != nil {
			t.Fatalf("waiting for %q: %q, %v", want, l, err)
		} else if strings.Contains(l, want) {
			return
		}
	}
}

// The nick of a member that is kicked while it is told that the store has no room
// for its line is free.
func TestNickOfWhoIsKickedWhileTheStoreIsFull(t *testing.T) {
	s, r := startBare(t, store.Options{PendingBytes: 1}, 2)
	m, other := r.currentMembers()[0], r.currentMembers()[1]
	m.unannounced.Store(false)
	if err := s.store.Suspend(); err != nil {
		t.Fatal(err)
	}
	other.mu.Lock()
	other.inFlight++
	other.mu.Unlock()
	if err := s.store.Submit(t.Context(), &store.Post{Room: r.id, Line: store.Line{Kind: store.Message, From: "guest-2", Text: "x"}, Owner: other}); err != nil {
		t.Fatal(err)
	}
	took := make(chan bool)
	r.mu.Lock()
	go func() { took <- m.submit(store.Message, "y", "", nil, false) }()
	for said := false; !said; runtime.Gosched() {
		m.mu.Lock()
		said = m.inFlight > 0
		m.mu.Unlock()
	}
	m.endLocked(CauseKicked)
	r.mu.Unlock()
	if <-took {
		t.Error("the store has taken it")
	}
	if err := s.store.Resume(); err != nil {
		t.Fatal(err)
	}
	if got := s.Inconsistencies(); got != nil {
		t.Error(got)
	}
}

// Whatever is kept twice and does not agree is found, and nothing else.
func TestInconsistencies(t *testing.T) {
	s, r := startBare(t, store.Options{}, 1)
	locked := func(fn func()) func() error {
		return func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			r.mu.Lock()
			defer r.mu.Unlock()
			fn()
			return nil
		}
	}
	was, own, m := r.nameAndPort.Load(), r.settings.Load(), r.currentMembers()[0]
	for _, f := range []struct {
		says           string
		wrong, righted func() error
	}{
		{"members read JSON", locked(func() { r.reads.of[roomlog.JSON]++ }), locked(func() { r.reads.of[roomlog.JSON]-- })},
		{"is not in its place", locked(func() { m.index++ }), locked(func() { m.index-- })},
		{"is not in its place", locked(func() { delete(r.nicks, "guest-1") }), locked(func() { r.nicks["guest-1"] = m })},
		{"the nick nobody belongs", locked(func() { r.nicks["nobody"] = m }), locked(func() { delete(r.nicks, "nobody") })},
		{"the nick gone belongs", locked(func() { r.nicks["gone"] = &Member{entry: entry{cause: CauseLeft}} }), locked(func() { delete(r.nicks, "gone") })},
		{"the nick lost belongs", locked(func() { r.nicks["lost"] = &Member{} }), locked(func() { delete(r.nicks, "lost") })},
		{"its port", locked(func() { r.ln.Port++ }), locked(func() { r.ln.Port-- })},
		{"connections, but", locked(func() { s.conns.Release(m.out.remote.Addr()) }), locked(func() { _ = s.conns.Acquire(m.out.remote.Addr(), 0, 0) })},
		{"2 members have joined", locked(func() { s.memberIDs.Add(1) }), locked(func() { s.memberIDs.Add(^uint64(0)) })},
		{"1 members have joined, 1 have ended", locked(func() { s.counters.memberEnds.add(CauseLeft) }), locked(func() { s.uncounted.Add(^uint64(0)) })},
		{"is registered as hall", locked(func() { s.rooms["hall"] = r }), locked(func() { delete(s.rooms, "hall") })},
		{"have the same port", locked(func() {
			s.rooms["hall"] = newRoom(s, store.Room{Name: "hall", Key: "hall", Port: r.port()}, 0)
		}), locked(func() { delete(s.rooms, "hall") })},
		{"is in the queue of free ports", locked(func() { s.ports.GiveBack(r.port()) }), locked(func() { s.ports.Claim(r.port()) })},
		{"is lobby on port", locked(func() { r.nameAndPort.Store(newNameAndPort("loggia", was.key, was.port)) }), locked(func() { r.nameAndPort.Store(was) })},
		{"has other settings", locked(func() { r.settings.Store(&store.Settings{ReadOnly: true}) }), locked(func() { r.settings.Store(own) })},
		{"the room lobby is on disk, but not in memory", locked(func() { delete(s.rooms, "lobby") }), locked(func() { s.rooms["lobby"] = r })},
		{"the room hall is in memory, but not on disk", locked(func() {
			s.rooms["hall"] = newRoom(s, store.Room{ID: 99, Name: "hall", Key: "hall", Port: 1}, 0)
		}), locked(func() { delete(s.rooms, "hall") })},
	} {
		if err := f.wrong(); err != nil {
			t.Fatal(err)
		}
		if got := s.Inconsistencies(); !strings.Contains(strings.Join(got, "\n"), f.says) {
			t.Errorf("there is no %q in %q", f.says, got)
		}
		if err := f.righted(); err != nil {
			t.Fatal(err)
		}
		if got := s.Inconsistencies(); got != nil {
			t.Errorf("after %q: %q", f.says, got)
		}
	}
}
