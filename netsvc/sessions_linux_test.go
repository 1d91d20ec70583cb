package netsvc

import (
	"bufio"
	"errors"
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

	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

// testDoor is a door that only this test has. Its client sends "ROOM join", "ROOM part",
// "ROOM TEXT", "ping TEXT", "nick NAME" and "quit", and speakers name the room in their text, so that
// what it gets can be told apart.
type testDoor struct{ began chan *testProtocol }

func (testDoor) Name() string               { return "test" }
func (testDoor) Refusal(text string) string { return "refused: " + text + "\n" }
func (testDoor) LineBytes() int             { return 4096 }
func (testDoor) Formats() map[roomlog.Format]Format {
	return map[roomlog.Format]Format{roomlog.IRC: allText{}}
}

func (d testDoor) Begin(s *RoomsSession, state []byte) (Protocol, error) {
	p := &testProtocol{RoomsSession: s, nick: string(state), closed: make(chan struct{})}
	if state == nil {
		p.nick = fmt.Sprint("client-", s.Remote().Port())
	}
	d.began <- p
	return p, nil
}

// allText is text with all joins and leaves.
type allText struct{ asText }

func (allText) ForPeople() bool { return false }

type testProtocol struct {
	*RoomsSession
	nick   string
	closed chan struct{}
}

func (p *testProtocol) name() wire.Name {
	n, err := wire.ParseNick(p.nick)
	if err != nil {
		panic(err)
	}
	return n
}

func (p *testProtocol) Line(line []byte, over int, wait bool) bool {
	if !p.AwaitTurn(1, wait) {
		return false
	}
	name, text, _ := strings.Cut(string(line), " ")
	switch {
	case name == "ping":
		p.Answer([]byte("pong " + text + "\n"))
	case name == "quit":
		p.End(EndLeft)
	case name == "nick":
		p.nick = text
		p.Answer(fmt.Appendf(nil, "nick %v\n", p.Rename(p.name())))
	case text == "join":
		_, err := p.Join(Join{Room: name, Nick: p.name(), Format: roomlog.IRC, Greet: func(w Welcome) []Part {
			return []Part{{Bytes: fmt.Appendf(nil, "* %s: joined\n", w.Name)}}
		}}, wait)
		if errors.Is(err, ErrWait) {
			return false
		}
		if err != nil {
			p.Answer(fmt.Appendf(nil, "%v\n", err))
		}
		p.Admit()
	case text == "part":
		p.In(name).Leave("", nil)
	default:
		if m := p.In(name); m != nil {
			return m.Say(store.Message, text, "", nil, wait)
		}
	}
	return true
}

func (p *testProtocol) Farewell(at Place, c Cause) []byte {
	return []byte("bye " + at.Name + " " + string(c) + "\n")
}
func (p *testProtocol) Renamed(at Place, was, topic string) []Part { return nil }

func (p *testProtocol) LastWords(why EndReason) []byte { return []byte("last " + string(why) + "\n") }
func (p *testProtocol) State() []byte                  { return []byte(p.nick) }
func (p *testProtocol) Nick() string                   { return p.nick }
func (p *testProtocol) Closed()                        { close(p.closed) }

func (p *testProtocol) isOpen(m *Member) bool { return slices.Contains(p.allMembers(), m) }

// threeRooms is a service with the rooms a, b and c, and a client of a session in them. The
// kernel keeps little for a client that does not read.
type threeRooms struct {
	*testing.T
	svc     *Service
	began   chan *testProtocol
	session *testProtocol
	conn    net.Conn
	in      *bufio.Reader
}

// dial connects a client to the door.
func (w *threeRooms) dial() (net.Conn, *bufio.Reader, *testProtocol) {
	w.Helper()
	c, err := net.Dial("tcp", w.svc.Doors()[0].Listening[0].String())
	if err != nil {
		w.Fatal(err)
	}
	c.(*net.TCPConn).SetReadBuffer(128 << 10) // two segments of the loopback interface: less would trickle
	c.SetDeadline(time.Now().Add(time.Minute))
	return c, bufio.NewReader(c), <-w.began
}

// inThreeRooms runs a test with a client in three rooms, on event loops, and on goroutines unless
// a write must not wait.
func inThreeRooms(t *testing.T, mayWait bool, change func(*Options), test func(*threeRooms)) {
	for name, portable := range map[string]bool{"loops": false, "goroutines": true} {
		if portable && !mayWait {
			continue
		}
		t.Run(name, func(t *testing.T) {
			began := make(chan *testProtocol, 100)
			s, _ := startBare(t, store.Options{}, 0, func(o *Options) {
				o.FirstRooms, o.Portable = []string{"a", "b", "c"}, portable
				o.Doors = []DoorOptions{{Door: testDoor{began}, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}}
				if change != nil {
					change(o)
				}
			})
			w := &threeRooms{T: t, svc: s, began: began}
			w.conn, w.in, w.session = w.dial()
			t.Cleanup(func() {
				w.conn.Close()
				<-w.session.closed
				if found := s.Inconsistencies(); found != nil {
					t.Error(found)
				}
			})
			for _, room := range []string{"a", "b", "c"} {
				w.send(room + " join")
				hear(t, w.in, "* "+room+": joined")
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
	w.floodFrom(room, 0, lines, size)
}

// floodFrom is flood from another number on.
func (w *threeRooms) floodFrom(room string, from, lines, size int) {
	w.Helper()
	id, pad := w.room(room).id, strings.Repeat("x", size)
	for i := from; i < from+lines; i++ {
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
		for _, m := range w.session.Members() {
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
				m := w.session.In("b")
				if err := end(w, m); err != nil {
					w.Fatal(err)
				}
				hear(w.T, w.in, "bye b "+string(cause(name)))
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
			m := w.session.In("b")
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
			hear(w.T, w.in, "* b: joined")
		})
	})
}

// cause is that of a member that a test of TestMembershipsEndAlone ends.
func cause(test string) Cause {
	return map[string]Cause{"deletion": CauseDeleted}[test] + map[string]Cause{"kick": CauseKicked, "ban": CauseKicked}[test]
}

func isLagNotice(l string) bool { return l == "bye b lagged\n" }

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
		<-w.session.closed
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

// A pong comes behind everything that was in the rooms when it was asked for.
func TestAnswerIsBarrier(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		const lines = 300
		for range 10 {
			for _, room := range []string{"a", "b", "c"} {
				w.flood(room, lines, 1000)
			}
			w.send("ping x")
			n := 0
			for l := ""; l != "pong x\n"; n++ {
				var err error
				if l, err = w.in.ReadString('\n'); err != nil {
					w.Fatal(err)
				}
			}
			if n != 3*lines+1 {
				w.Errorf("the pong came after %d lines", n-1)
			}
		}
		for _, room := range []string{"a", "b", "c"} {
			w.send(room + " part")
			hear(w.T, w.in, "bye "+room+" left")
		}
		w.send("ping y")
		hear(w.T, w.in, "pong y")
		w.send("quit")
		hear(w.T, w.in, "last left")
	})
}

// Whoever is in several rooms with a person sees one event when the person takes another nick, and
// when it leaves.
func TestOneEventOfOnePerson(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		c, in, ann := w.dial()
		defer c.Close()
		for _, l := range []string{"nick ann", "a join", "b join", "c join"} {
			fmt.Fprintln(c, l)
		}
		for _, room := range []string{"a", "b", "c"} {
			hear(w.T, in, "* "+room+": joined")
			hear(w.T, w.in, "* ann joined")
		}
		fmt.Fprintln(c, "nick bob")
		hear(w.T, in, "nick <nil>")
		w.send("ping 1")
		if got := w.until("pong 1"); got != "* ann is now bob\n" {
			w.Errorf("the others see %q", got)
		}
		taken := w.session.nick
		fmt.Fprintln(c, "nick "+taken)
		hear(w.T, in, "nick ")
		fmt.Fprintln(c, "ping 2")
		hear(w.T, in, "pong 2")
		for _, room := range []string{"a", "b", "c"} {
			r := w.room(room)
			r.mu.Lock()
			if r.nicks["bob"] == nil || len(r.nicks) != 2 {
				w.Errorf("the nicks in %s are %v", room, r.nicks)
			}
			r.mu.Unlock()
		}
		fmt.Fprintln(c, "quit")
		<-ann.closed
		w.send("ping 3")
		if got := w.until("pong 3"); got != "* bob left (1 here)\n" {
			w.Errorf("the others see %q", got)
		}
	})
}

// until returns what comes before a line.
func (w *threeRooms) until(line string) (got string) {
	w.Helper()
	for {
		l, err := w.in.ReadString('\n')
		if err != nil {
			w.Fatal(err)
		}
		if l == line+"\n" {
			return got
		}
		got += l
	}
}
