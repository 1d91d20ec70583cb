package netsvc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// roomsSession is a session of a kind that only this test has: its client is in several rooms
// over one conn. It sends "ROOM join" and "ROOM TEXT", and speakers name the room in their
// text, so that what it gets can be told apart. It stays when a membership ends.
type roomsSession struct {
	output
	svc   *Service
	ended chan struct{}

	// Owned by the holder of the read lock.
	framer wire.Framer
	input  []byte

	mu      sync.Mutex
	members map[string]*Member // by the folded name of the room
	open    map[*Member]bool   // their rooms wait for them
}

// Data leaves the lines to Resume, which may wait.
func (s *roomsSession) Data(p []byte) transport.Outcome {
	s.input = append(s.input, p...)
	return transport.Defer
}

func (s *roomsSession) Resume() transport.Outcome {
	for p := s.input; ; {
		line, _, rest, ok := s.framer.Cut(p)
		if !ok {
			s.input = nil
			return transport.Continue
		}
		s.handle(string(line))
		p = rest
	}
}

func (s *roomsSession) handle(line string) {
	name, text, _ := strings.Cut(line, " ")
	if text == "join" {
		s.join(name)
	} else if m := s.member(name); m != nil {
		m.say(store.Message, text, true)
	}
	s.flushAll()
}

func (s *roomsSession) join(name string) {
	r, err := s.svc.room(name)
	if err != nil {
		return
	}
	m := &Member{}
	r.mu.Lock()
	_, text := r.refuses(s.remote)
	if text == "" {
		m.init(r, &s.output, r.guest())
		r.welcome(m)
		s.mu.Lock()
		s.members[name], s.open[m] = m, true
		s.mu.Unlock()
	}
	r.mu.Unlock()
	if text == "" {
		s.locked(func() { s.add(m) })
	}
}

func (s *roomsSession) member(room string) *Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members[room]
}

// locked does something with the write lock, and reports false if nothing is written any more.
func (s *roomsSession) locked(do func()) bool {
	for !s.conn.TryFreezeWrites() {
		if s.is(isGone) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	do()
	s.writeAndRelease(false)
	return true
}

func (s *roomsSession) PeerClosed(error) transport.Outcome { return transport.Stop }

func (s *roomsSession) Panicked(p any, stack []byte) { panic(fmt.Sprint(p, string(stack))) }

func (s *roomsSession) transferable() bool { return false }

// memberEnded gives the member drainTime for what is pending.
func (s *roomsSession) memberEnded(m *Member) {
	go s.flushAll()
	time.AfterFunc(drainTime, func() {
		if s.isOpen(m) && s.locked(func() { s.remove(m) }) {
			s.close(m)
		}
	})
}

// remove takes a member off the output before all that is pending is written.
func (s *roomsSession) remove(m *Member) {
	for p := s.last; p != nil; {
		if p.next == m {
			s.last = p
			s.removeNext()
			m.setDrained()
			return
		}
		if p = p.next; p == s.last {
			return
		}
	}
}

func (s *roomsSession) memberDrained(m *Member) bool {
	if s.close(m); s.svc.stop.Err() != nil && len(s.openMembers()) == 0 {
		s.conn.StopReading()
	}
	return false
}

func (s *roomsSession) isOpen(m *Member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[m]
}

// close has the room of a member go on, once.
func (s *roomsSession) close(m *Member) {
	s.mu.Lock()
	open := s.open[m]
	delete(s.open, m)
	s.mu.Unlock()
	if open {
		m.close()
	}
}

// Finish ends all members, and breaks the conn if that takes too long.
func (s *roomsSession) Finish() {
	defer close(s.ended)
	for _, m := range s.openMembers() {
		m.end(causeLeft)
	}
	for end := time.Now().Add(time.Second); !s.is(isGone) && len(s.openMembers()) > 0; s.flushAll() {
		if s.WaitSignal(time.Millisecond); time.Now().After(end) {
			s.conn.Abort()
		}
	}
	for _, m := range s.openMembers() {
		s.close(m)
	}
	for !s.is(isGone) && !s.conn.TryFreezeWrites() { // nobody writes any more
		time.Sleep(time.Millisecond)
	}
	s.set(isGone)
	s.conn.StopWriting()
	s.flushAll() // which has a writing goroutine look
	s.conn.Close(true)
	s.svc.releaseConn(s.remote.Addr())
}

func (s *roomsSession) openMembers() (all []*Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.open {
		all = append(all, m)
	}
	return all
}

// threeRooms is a service with the rooms a, b and c, and a client of a session in them. The
// kernel keeps little for a client that does not read.
type threeRooms struct {
	*testing.T
	svc     *Service
	session *roomsSession
	conn    net.Conn
	in      *bufio.Reader
}

// inThreeRooms runs a test with a client in three rooms, on event loops, and on goroutines unless
// a write must not wait.
func inThreeRooms(t *testing.T, mayWait bool, change func(*Options), test func(*threeRooms)) {
	for name, portable := range map[string]bool{"loops": false, "goroutines": true} {
		if portable && !mayWait {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s, _ := startBare(t, store.Options{}, 0, func(o *Options) {
				o.FirstRooms, o.Portable = []string{"a", "b", "c"}, portable
				if change != nil {
					change(o)
				}
			})
			accepted := make(chan *roomsSession, 1)
			ln, err := s.listen(0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(ln.Close)
			if err := ln.Open(func(c transport.Socket, addr netip.AddrPort) {
				if _, err := s.acquireConn(addr.Addr()); err != nil {
					t.Error(err)
				}
				k := &roomsSession{
					output: output{conn: s.engine.NewConn(c, addr), remote: addr}, svc: s, ended: make(chan struct{}),
					framer: wire.NewFramer(4096), members: make(map[string]*Member), open: make(map[*Member]bool),
				}
				if err := k.conn.Start(k, false); err != nil {
					t.Error(err)
				}
				accepted <- k
			}, ""); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", ln.Port))
			if err != nil {
				t.Fatal(err)
			}
			c.(*net.TCPConn).SetReadBuffer(128 << 10) // two segments of the loopback interface: less would trickle
			c.SetDeadline(time.Now().Add(time.Minute))
			w := &threeRooms{t, s, <-accepted, c, bufio.NewReader(c)}
			t.Cleanup(func() {
				c.Close()
				<-w.session.ended
				if found := s.Inconsistencies(); found != nil {
					t.Error(found)
				}
			})
			for _, room := range []string{"a", "b", "c"} {
				w.send(room + " join")
				hear(t, w.in, "* "+room+": ")
			}
			test(w)
		})
	}
}

func (w *threeRooms) send(line string) {
	w.Helper()
	if _, err := fmt.Fprintln(w.conn, line); err != nil {
		w.Fatal(err)
	}
}

func (w *threeRooms) room(name string) *Room {
	w.Helper()
	r, err := w.svc.room(name)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// flood has lines of some size said in a room: "a: N xxx…", from 0 on.
func (w *threeRooms) flood(room string, lines, size int) {
	w.Helper()
	id, pad := w.room(room).id, strings.Repeat("x", size)
	for i := range lines {
		p := &store.Post{Room: id, Line: store.Line{Kind: store.Message, From: "ann", Text: fmt.Sprintf("%s: %d %s", room, i, pad)}}
		if err := w.svc.store.Submit(w.Context(), p); err != nil {
			w.Error(err)
			return
		}
	}
	if err := w.svc.store.Flush(); err != nil {
		w.Error(err)
	}
}

// readFloods reads so many lines of floods of each room, in the order of their numbers, and
// returns how many bytes had come when those of a room were complete. Other lines are
// returned, too.
func (w *threeRooms) readFloods(lines map[string]int) (after map[string]int, others []string) {
	w.Helper()
	next, bytes := make(map[string]int), 0
	after = make(map[string]int)
	for open := len(lines); open > 0; {
		l, err := w.in.ReadString('\n')
		if err != nil {
			w.Fatalf("after %v of %v: %v", next, lines, err)
		}
		bytes += len(l)
		text, ok := strings.CutPrefix(l, "<ann> ")
		room, number, _ := strings.Cut(text, ": ")
		number, _, _ = strings.Cut(number, " ")
		if !ok {
			others = append(others, l)
			continue
		}
		if number != strconv.Itoa(next[room]) {
			w.Fatalf("line %s of %s comes where %d should", number, room, next[room])
		}
		if next[room]++; next[room] == lines[room] {
			after[room] = bytes
			open--
		}
	}
	return after, others
}

// isFull waits until the client's conn takes no more.
func (w *threeRooms) isFull() {
	w.Helper()
	w.eventually("the conn is full", func() bool {
		n := w.session.written.Load()
		time.Sleep(50 * time.Millisecond)
		return n == w.session.written.Load()
	})
}

func (w *threeRooms) eventually(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatal("not in time: " + what)
		}
	}
}

// A client that reads gets the lines of all rooms, of each in its order, and what it says goes
// to the room that it names.
func TestSessionInRooms(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		const lines = 2000
		var all sync.WaitGroup
		for _, room := range []string{"a", "b", "c"} {
			all.Go(func() { w.flood(room, lines, 100) })
		}
		w.readFloods(map[string]int{"a": lines, "b": lines, "c": lines})
		all.Wait()
		for _, room := range []string{"c", "a", "b"} {
			w.send(room + " " + room + " it is")
			hear(w.T, w.in, "> "+room+" it is")
			if n := w.room(room).log.End().Seq; n != lines+1 {
				w.Errorf("%s has %d lines", room, n)
			}
		}
	})
}

// While a client does not read, one room is flooded far beyond what its log keeps in memory.
// When it reads again, the other rooms' lines are not behind all of that.
func TestFloodStarvesNoRoom(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		const lines, size = 2000, 4000
		w.flood("a", lines, size)
		w.isFull()
		w.flood("b", 100, size)
		w.flood("c", 100, size)
		pages := w.svc.Counters().Pages
		after, _ := w.readFloods(map[string]int{"a": lines, "b": 100, "c": 100})
		if most := lines * size / 2; after["b"] > most || after["c"] > most {
			w.Errorf("the last lines of b and c came behind %d and %d bytes of %d", after["b"], after["c"], after["a"])
		}
		if w.svc.Counters().Pages == pages {
			w.Error("nothing was read from the disk")
		}
	})
}

// A slow client lags behind all its rooms, and reads on from the disk in each.
func TestSlowInAllRooms(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		const lines, size = 900, 4000
		for _, room := range []string{"a", "b", "c"} {
			w.flood(room, lines, size)
		}
		w.isFull()
		for _, m := range w.session.openMembers() {
			if m.reached.Load() >= m.room.log.Start().Pos {
				w.Errorf("the log of %s has all that is pending", m.room.name())
			}
		}
		w.readFloods(map[string]int{"a": lines, "b": lines, "c": lines})
		w.send("b still here")
		hear(w.T, w.in, "> still here")
	})
}

// A kick, a ban, a deletion and a lag end one membership each, and the session goes on in the
// other rooms.
func TestMembershipsEndAlone(t *testing.T) {
	for name, end := range map[string]func(w *threeRooms, m *Member) error{
		"kick": func(w *threeRooms, m *Member) error {
			_, err := w.svc.Kick([]uint64{m.id}, "")
			return err
		},
		"ban": func(w *threeRooms, m *Member) error {
			_, _, err := w.svc.Ban(store.Ban{Addr: "127.0.0.0/8", Room: m.room.id})
			return err
		},
		"deletion": func(w *threeRooms, m *Member) error { return w.svc.Delete(m.room.name(), "") },
	} {
		t.Run(name, func(t *testing.T) {
			inThreeRooms(t, true, nil, func(w *threeRooms) {
				m := w.session.member("b")
				if err := end(w, m); err != nil {
					w.Fatal(err)
				}
				hear(w.T, w.in, "* b: ")
				w.eventually("the membership is closed", func() bool { return !w.session.isOpen(m) })
				for _, room := range []string{"a", "c"} {
					w.send(room + " still here")
					hear(w.T, w.in, "> still here")
					if n := len(w.room(room).currentMembers()); n != 1 {
						w.Errorf("%s has %d members", room, n)
					}
				}
			})
		})
	}
	t.Run("lag", func(t *testing.T) {
		inThreeRooms(t, true, func(o *Options) { o.MaxLag = 500 }, func(w *threeRooms) {
			const lines = 1000
			m := w.session.member("b")
			var said sync.WaitGroup
			said.Go(func() { w.flood("b", lines, 4000) })
			defer said.Wait()
			w.eventually("the member lags", m.hasEnded)
			w.flood("a", 100, 100)
			w.flood("c", 100, 100)
			if _, others := w.readFloods(map[string]int{"a": 100, "c": 100}); !slices.ContainsFunc(others, isLagNotice) {
				for l := ""; !isLagNotice(l); {
					var err error
					if l, err = w.in.ReadString('\n'); err != nil {
						w.Fatal(err)
					}
				}
			}
			w.eventually("the membership is closed", func() bool { return !w.session.isOpen(m) })
			w.send("b join")
			hear(w.T, w.in, "* b: ")
		})
	})
}

func isLagNotice(l string) bool {
	return strings.HasPrefix(l, "* b: ") && strings.Contains(l, "/since ")
}

// Two rooms are deleted at once, while the client does not read: they wait for drainTime, and
// not for the client, which gets everything of the third room.
func TestRoomsEndAtOnce(t *testing.T) {
	inThreeRooms(t, false, nil, func(w *threeRooms) {
		const lines, size = 1000, 4000
		w.flood("a", lines, size)
		w.isFull()
		var all sync.WaitGroup
		for _, room := range []string{"b", "c"} {
			all.Go(func() {
				w.flood(room, 100, size)
				if err := w.svc.Delete(room, ""); err != nil {
					w.Error(err)
				}
			})
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took > 4*drainTime {
			w.Errorf("the deletions took %v", took)
		}
		w.readFloods(map[string]int{"a": lines})
		w.send("a still here")
		hear(w.T, w.in, "> still here")
	})
	t.Run("and the client goes, too", func(t *testing.T) {
		inThreeRooms(t, false, nil, func(w *threeRooms) {
			w.flood("a", 1000, 4000)
			w.isFull()
			var all sync.WaitGroup
			for _, room := range []string{"b", "c"} {
				all.Go(func() {
					if err := w.svc.Delete(room, ""); err != nil {
						w.Error(err)
					}
				})
			}
			w.conn.Close()
			all.Wait()
		})
	})
}

// The server stops while a session is in several rooms, which all say farewell.
func TestStopWithSessionInRooms(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		go w.svc.Stop()
		<-w.session.ended
		rest, err := io.ReadAll(w.in)
		if err != nil {
			w.Error(err)
		}
		for _, room := range []string{"a", "b", "c"} {
			if !strings.Contains(string(rest), "* "+room+": the server is stopping") {
				w.Errorf("%s said no farewell: %q", room, rest)
			}
		}
	})
}
