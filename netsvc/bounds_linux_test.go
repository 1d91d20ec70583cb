package netsvc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"roomd/netsvc/limit"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/store"
)

// budgetUsed is how many bytes the logs have that share a budget.
func budgetUsed(b *roomlog.Budget) int64 {
	return (*atomic.Int64)(reflect.ValueOf(b).Elem().FieldByName("used").Addr().UnsafePointer()).Load()
}

// counts is what a server counts against its bounds, each with its name. What belongs
// to the goroutine of a connection is among it while the server stands still.
func (s *Service) counts() map[string]int64 {
	frozen := s.engine.Suspended()
	n := map[string]int64{
		"connections": int64(s.conns.Total()), "held input": s.engine.PendingBytes(), "inserts": s.insertBytes.Load(), "logs": budgetUsed(s.logs),
		"sessions": int64(s.sessionIDs.Load()), "members given": int64(s.memberIDs.Load()),
	}
	here := netip.MustParseAddr("127.0.0.1")
	for s.conns.Acquire(here, 0, int(n["of an address"]+1)) != nil {
		n["of an address"]++
	}
	s.conns.Release(here)
	s.queue.mu.Lock()
	n["callers that wait"] = int64(len(s.queue.waiting))
	s.queue.mu.Unlock()
	guesses, _ := s.guesses.State(time.Now())
	for note := range slices.Chunk(guesses, 26) {
		n["guesses"]++
		n["wrong passwords"] += int64(note[25]) // its last byte
	}
	for name, p := range map[string]*limit.Buckets{"connects": &s.connects, "requests": &s.requests, "work": &s.commands} {
		for _, d := range p.Debts(time.Now()) {
			if d < time.Minute {
				continue // it is over in a moment
			}
			n["addresses that "+name]++
			n["minutes until "+name] += int64(d.Round(time.Minute) / time.Minute)
		}
	}
	for _, r := range s.allRooms() {
		if r.password.Load().Tag() != nil {
			n["passwords known"]++ // and need no hash
		}
		r.mu.Lock()
		of := " of " + r.name()
		n["members"+of], n["leaving"+of], n["guests"+of] = int64(len(r.members)), int64(len(r.leaving)), int64(r.guests)
		n["JSON readers"+of] = int64(r.reads.of[roomlog.JSON])
		n["minutes of joins"+of] = int64(time.Until(r.joinNoticesDue) / time.Minute)
		n["log"+of] = int64(r.log.End().Pos - r.log.Start().Pos)
		all := append([]*Member(nil), r.members...)
		for m, d := range r.leaving {
			all = append(all, m)
			n["minutes of leaving"] += int64((s.uptime() - d.since) / time.Minute)
		}
		for _, m := range all {
			m.mu.Lock()
			n["in flight"+of] += int64(m.inFlight)
			n["inserts"+of] += int64(len(m.inserts))
			for i := range m.inserts {
				n["insert bytes"] += int64(m.inserts[i].size())
			}
			m.mu.Unlock()
			if !frozen {
				continue
			}
			n["leftovers"] += lineOf(m).pending.size()
			n["unended"+of] += int64(lineOf(m).unpaid)
			n["minutes of allowance"+of] += int64((time.Duration(lineOf(m).allowance) - s.uptime()) / time.Minute)
		}
		r.mu.Unlock()
	}
	n["goroutines"] = int64(len(s.nonMembers()))
	for _, v := range s.nonMembers() {
		if !frozen {
			break
		}
		switch p := v.(type) {
		case *masterSession:
			n["masters"]++
			n["bytes between requests"] += int64(p.unended)
			n["held of masters"] += int64(len(p.pendingBytes()))
			n["minutes of requests"] += int64(time.Until(p.fullAt) / time.Minute)
			n["minutes until idle"] += int64(time.Until(p.deadline) / time.Minute)
		case *passwordSession:
			n["callers"]++
			n["tries"] += int64(p.lines)
			n["bytes between tries"] += int64(p.unended)
			n["since of callers"] += p.since.UnixMicro()
		}
	}
	return n
}

// handOverTo is an upgrade without another process: what one server sends another one
// takes over, with descriptors of its own.
func (s *Service) handOverTo(t *testing.T, next *Service) {
	t.Helper()
	type frame struct {
		kind string
		body []byte
		fds  []int
	}
	var frames []frame
	if _, err := s.HandOver(func(kind string, v any, fds ...int) error {
		body, err := json.Marshal(v)
		f := frame{kind: kind, body: body}
		for _, fd := range fds {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				return err
			}
			f.fds = append(f.fds, own)
		}
		frames = append(frames, f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := next.Adopt(func() (string, []byte, []int, error) {
		if len(frames) == 0 {
			return "", nil, nil, nil
		}
		f := frames[0]
		frames = frames[1:]
		return f.kind, f.body, f.fds, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// boundsClient is a client of either port.
type boundsClient struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

func (s *Service) client(t *testing.T, port int) *boundsClient {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &boundsClient{t, c, bufio.NewReader(c)}
}

func (c *boundsClient) say(text string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.Fatal(err)
	}
}

func (c *boundsClient) hear(want string) {
	c.Helper()
	for {
		l, err := c.in.ReadString('\n')
		if err != nil {
			c.Fatalf("waiting for %q: %q, %v", want, l, err)
		}
		if strings.Contains(l, want) {
			return
		}
	}
}

// What is counted before an upgrade is counted after it, each bound of them, and given
// back when it goes.
func TestBoundsAfterHandover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roomd.db")
	first := 23000 + rand.IntN(3000)
	opts := Options{
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{first, first + 39}, FirstRooms: []string{"lobby", "slow"},
		LineBytes: 4096, MaxLag: 100000, QuietAbove: 50, MaxMembers: 256, MaxPerAddress: 200, MaxConnections: 1000, DeadPeer: time.Minute, MasterIdle: time.Hour,
		Rates: Rates{ConnectRate: 100, RequestRate: 100, LinesPerSecond: 1, Burst: 20}, CreateAnyone: true, Delete: Anyone, Log: slog.New(slog.DiscardHandler),
	}
	var ends []func()
	defer func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
	}()
	serve := func(opts Options) (*Service, *store.Store) {
		st, err := store.Open(path, store.Options{Retention: store.Retention{Trash: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		return New(st, opts), st
	}
	old, oldStore := serve(opts)
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() {
		old.Stop()
		if err := oldStore.Close(); err != nil {
			t.Error(err)
		}
	})
	port := func(name string) int {
		t.Helper()
		r, err := old.room(name)
		if err != nil {
			t.Fatal(err)
		}
		return r.port()
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if transport.PollUntil(ctx, ok) != nil {
			t.Fatalf("not in time: %s; %v", what, old.counts())
		}
	}
	var clients []*boundsClient
	come := func(port int) *boundsClient {
		t.Helper()
		c := old.client(t, port)
		clients = append(clients, c)
		ends = append(ends, func() { c.Close() })
		return c
	}
	master := come(old.Port())
	master.say("CREATE den secret\n\n\n\nLIST nothing\nLIS")
	master.hear("OK den")
	master.hear("OK 0")
	guesser := come(port("den"))
	guesser.hear("this room has a password")
	guesser.say("/pass wrong\n")
	guesser.hear("that is not the password")
	var members []*boundsClient
	for range 3 {
		m := come(port("lobby"))
		m.hear("you are guest-")
		members = append(members, m)
	}
	reader := members[0]
	reader.say("/json\n/who\nhello\nhalf a line that has no end")
	reader.hear(`"text":"hello"`)
	flood := members[1] // above its allowance: what it said is held
	flood.say(strings.Repeat("/me waves a lot\n", 100))
	flood.hear("guest-2> * waves a lot")
	// One that does not read has answers, and the log, wait for it.
	stuck, speaker := come(port("slow")), come(port("slow"))
	stuck.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	speaker.hear("you are guest-")
	stuck.hear("you are guest-")
	r, err := old.room("slow")
	if err != nil {
		t.Fatal(err)
	}
	var silent *Member
	for _, m := range r.currentMembers() {
		if m.out.remote.String() == stuck.LocalAddr().String() {
			silent = m
		}
	}
	clog := func(m *Member) { // a full socket may take a little more in a moment
		t.Helper()
		for i, more := 0, 200; more > 0; i++ {
			if _, err := old.Say("slow", strings.Repeat("x", 4000)); err != nil || i > 5000 {
				t.Fatal(i, err)
			}
			if m.out.conn.Full() {
				more--
			}
		}
	}
	clog(silent)
	stuck.say("/ping\n/who\n/topic\n")
	eventually("the answers wait", func() bool {
		silent.mu.Lock()
		defer silent.mu.Unlock()
		return len(silent.inserts) == 3
	})
	// One that has ended, and does not read either.
	gone := come(port("slow"))
	gone.hear("you are guest-")
	for _, m := range r.currentMembers() {
		if m.out.remote.String() == gone.LocalAddr().String() {
			gone.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			clog(m)
		}
	}
	gone.Conn.(*net.TCPConn).CloseWrite()
	eventually("one is leaving", func() bool { return old.counts()["leaving of slow"] == 1 })

	if err := old.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() { // as after an upgrade that has failed
		for _, r := range old.allRooms() {
			for _, m := range r.currentMembers() {
				lineOf(m).allowance = 0
			}
		}
		if err := oldStore.Resume(); err != nil {
			t.Error(err)
		}
		old.Thaw()
	})
	if err := oldStore.Suspend(); err != nil {
		t.Fatal(err)
	}
	// What becomes whole with time is to be so in an hour: of what the clients have
	// used of an allowance there would be nothing left on a slow machine.
	hour := time.Now().Add(time.Hour)
	for i, p := range []*limit.Buckets{&old.connects, &old.requests, &old.commands} {
		for n := range 3 + i {
			p.SetFullAt(time.Now(), limit.Prefix(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})), hour)
		}
	}
	for _, v := range old.nonMembers() {
		switch p := v.(type) {
		case *masterSession:
			p.fullAt, p.deadline, p.unended = hour, hour.Add(-time.Minute), 88
		case *passwordSession:
			p.unended = 99
		}
	}
	for _, r := range old.allRooms() {
		r.mu.Lock()
		r.joinNoticesDue = hour
		for _, d := range r.leaving {
			d.since = old.uptime() - time.Hour
		}
		r.mu.Unlock()
		for _, m := range r.currentMembers() {
			l := lineOf(m)
			l.allowance, l.unpaid = int64(old.uptime()+2*time.Hour), 77
		}
	}
	before := old.counts()
	next, nextStore := serve(opts)
	old.handOverTo(t, next)
	ends = append(ends, func() {
		next.Stop()
		if err := nextStore.Close(); err != nil {
			t.Error(err)
		}
	})
	after := next.counts()
	eventually("all are there", func() bool { after = next.counts(); return after["masters"] == 1 && after["callers"] == 1 })
	for name, n := range before {
		if n == 0 && !strings.HasPrefix(name, "leaving") && !strings.HasPrefix(name, "in flight") && !strings.Contains(name, " of ") {
			t.Errorf("%s: nothing is counted, and so nothing is tested", name)
		}
		off := n - after[name]
		most := int64(0)
		switch {
		case strings.HasPrefix(name, "minutes"):
			most = 5
		case strings.HasPrefix(name, "log"):
			most = n - min(n/2, 32) // what nobody needs any more is left behind, and what is more than handedLog
			if name == "logs" {
				most = n - min(n/2, maxRoomLog/2)
			}
		}
		if off > most || off < -most {
			t.Errorf("%s: %d before, %d after", name, n, after[name])
		}
	}
	for name, n := range after {
		if _, known := before[name]; !known && n != 0 {
			t.Errorf("%s: %d after, and not known before", name, n)
		}
	}
	for _, r := range next.allRooms() {
		if !r.unacknowledged.Load() {
			t.Errorf("nobody looks for dead peers in %s", r.name())
		}
	}
	if bad := next.Inconsistencies(); len(bad) > 0 {
		t.Error(bad)
	}
	// All of it is given back.
	next.Thaw()
	var ids []uint64
	for _, r := range next.allRooms() {
		for _, m := range r.currentMembers() {
			ids = append(ids, m.id)
		}
	}
	next.Kick(ids, "")
	for _, c := range clients {
		c.Close()
	}
	left := func() string {
		text := ""
		for name, n := range next.counts() {
			kept := strings.HasPrefix(name, "guests") || strings.HasPrefix(name, "minutes") || strings.HasPrefix(name, "addresses") ||
				slices.Contains([]string{"guesses", "wrong passwords", "passwords known", "sessions", "members given"}, name)
			if n != 0 && !kept {
				text += fmt.Sprintf("%s: %d\n", name, n)
			}
		}
		return text
	}
	eventually("all is given back", func() bool { return left() == "" })
}
