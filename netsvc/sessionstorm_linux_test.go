package netsvc

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

var (
	stormSeed = flag.Uint64("storm.seed", 0, "the seed of TestStormOfSessions; 0: another one each time")
	stormTime = flag.Duration("storm.time", 3*time.Second, "how long TestStormOfSessions lasts")
)

// stormDoor is a door whose clients see which room and which number each line has.
type stormDoor struct{}

func (stormDoor) Name() string               { return "storm" }
func (stormDoor) Refusal(text string) string { return "refused " + text + "\n" }
func (stormDoor) LineBytes() int             { return 4096 }
func (stormDoor) Formats() map[roomlog.Format]Format {
	return map[roomlog.Format]Format{roomlog.IRC: stormFormat{}}
}

func (stormDoor) Begin(s *RoomsSession, state []byte) (Protocol, error) {
	p := &stormProtocol{RoomsSession: s, nick: string(state)}
	shown := p.nick
	p.shown.Store(&shown)
	return p, nil
}

// stormFormat is "line ROOM SEQ TEXT", with the ID of the room.
type stormFormat struct{ asText }

func (stormFormat) ForPeople() bool { return false }

func (stormFormat) Render(b []byte, at Place, ev wire.Event) []byte {
	switch ev.Type {
	case wire.TypeMessage:
		return fmt.Appendf(b, "line %d %d %s\n", at.ID, ev.Seq, ev.Text)
	case wire.TypeTopic:
		return fmt.Appendf(b, "line %d %d\n", at.ID, ev.Seq)
	}
	return fmt.Appendf(b, "event %d %s %s\n", at.ID, ev.Type, ev.From)
}

type stormProtocol struct {
	*RoomsSession
	nick  string
	shown atomic.Pointer[string] // a copy of nick
}

func (p *stormProtocol) Line(line []byte, over int, wait bool) bool {
	if !p.AwaitTurn(1, wait) {
		return false
	}
	command, arg, _ := strings.Cut(string(line), " ")
	room, text, _ := strings.Cut(arg, " ")
	m := p.In(room)
	switch command {
	case "nick":
		n, err := wire.ParseNick(arg)
		if !p.AwaitLines(wait) {
			return false
		}
		if err == nil && (p.nick == "" || p.Rename(n) == nil) {
			p.nick = arg
			p.shown.Store(&arg)
		}
	case "join":
		n, err := wire.ParseNick(p.nick)
		if m != nil || err != nil {
			break
		}
		_, err = p.Join(Join{Room: room, Nick: n, Format: roomlog.IRC, Greet: func(w Welcome) []Part {
			return []Part{{Bytes: fmt.Appendf(nil, "joined %d %d\n", w.ID, w.Newest)}, {Members: 0}}
		}}, wait)
		if errors.Is(err, ErrWait) {
			return false
		}
		p.Admit()
	case "part":
		if m != nil {
			m.Leave("", nil)
		}
	case "say":
		return m == nil || m.Say(store.Message, text, "", nil, wait)
	case "old":
		if m != nil {
			m.Queue(Part{Replay: &Replay{Newest: 20, Header: fmt.Sprintln("old", m.Room().ID), Footer: fmt.Sprintln("new", m.Room().ID)}})
		}
	case "tell":
		for _, k := range p.svc.allRoomsSessions() {
			k.Tell([]byte("told\n"))
		}
	case "ping":
		if !p.AwaitLines(wait) {
			return false
		}
		p.Answer([]byte("pong " + arg + "\n"))
	case "quit":
		p.Quit("")
		p.End(EndLeft)
	}
	return true
}

func (p *stormProtocol) Renamed(Place, string, string) []Part { return nil }
func (p *stormProtocol) Farewell(at Place, c Cause) []byte {
	return fmt.Appendf(nil, "left %d %s\n", at.ID, c)
}
func (p *stormProtocol) LastWords(why EndReason) []byte { return []byte("end " + string(why) + "\n") }
func (p *stormProtocol) State() []byte                  { return []byte(p.nick) }
func (p *stormProtocol) Nick() string                   { return *p.shown.Load() }
func (p *stormProtocol) Closed()                        {}

// storm is everything at once.
type storm struct {
	*testing.T
	svc   atomic.Pointer[Service]
	moves sync.RWMutex // held, shared, by operators: what they ask for waits while a server stands still
	until time.Time
	pongs atomic.Int64
	lines atomic.Int64
	ended atomic.Int64 // memberships that have not ended by the client
}

var stormRooms = []string{"a", "b", "c", "d", "e", "f"}

// newest returns the number of the newest line of each room.
func (w *storm) newest() map[uint64]uint64 {
	all := make(map[uint64]uint64)
	for _, r := range w.svc.Load().allRooms() {
		all[r.id] = r.log.End().Seq
	}
	return all
}

// visit is a client from its connection to its end.
func (w *storm) visit(random *rand.Rand, name string) {
	c, err := net.Dial("tcp", w.svc.Load().Doors()[0].Listening[0].String())
	if err != nil {
		w.Error(err)
		return
	}
	c.(*net.TCPConn).SetReadBuffer(128 << 10)
	c.SetDeadline(w.until.Add(2 * time.Second)) // a server that has been left may have the connection still
	var mu sync.Mutex
	asked := make(map[string]map[uint64]uint64) // by the ping: what was in the rooms
	var pace atomic.Int64                       // of the reader
	var reader sync.WaitGroup
	reader.Go(func() {
		in, seen, inRoom, pongs := bufio.NewReader(c), make(map[uint64]uint64), make(map[uint64]bool), 0
		old := make(map[uint64]bool)
		for {
			l, err := in.ReadString('\n')
			if err != nil {
				return
			}
			time.Sleep(time.Duration(pace.Load()))
			var f [3]string
			copy(f[:], strings.SplitN(strings.TrimSuffix(l, "\n"), " ", 3))
			id, _ := strconv.ParseUint(f[1], 10, 64)
			number, _ := strconv.ParseUint(strings.SplitN(f[2]+" ", " ", 2)[0], 10, 64)
			switch f[0] {
			case "old", "new":
				old[id] = f[0] == "old"
			case "joined":
				if inRoom[id] {
					w.Errorf("%s is in room %d twice", name, id)
				}
				inRoom[id], seen[id], old[id] = true, number, false
			case "left":
				// If it was cut off it may not have got to its beginning.
				if inRoom[id] = false; f[2] != "left" {
					w.ended.Add(1)
				}
			case "line":
				w.lines.Add(1)
				switch {
				case !inRoom[id]:
					w.Errorf("%s gets line %d of room %d, where it is not", name, number, id)
				case old[id]:
				case number != seen[id]+1:
					w.Errorf("%s gets line %d of room %d after %d", name, number, id, seen[id])
				}
				if !old[id] {
					seen[id] = number
				}
			case "pong":
				w.pongs.Add(1)
				if f[1] != strconv.Itoa(pongs) {
					w.Errorf("%s gets pong %s, and not %d", name, f[1], pongs)
				}
				pongs++
				mu.Lock()
				for id, n := range asked[f[1]] {
					if inRoom[id] && seen[id] < n {
						w.Errorf("%s gets pong %s when it has lines up to %d of room %d, and not to %d", name, f[1], seen[id], id, n)
					}
				}
				delete(asked, f[1])
				mu.Unlock()
			case "event", "told", "end", "refused":
			default:
				w.Errorf("%s gets %q", name, l)
			}
		}
	})
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }
	say("nick %s", name)
	pings := 0
	for steps := 20 + random.IntN(200); steps > 0 && time.Now().Before(w.until); steps-- {
		room := stormRooms[random.IntN(len(stormRooms))]
		switch n := random.IntN(100); {
		case n < 25:
			say("join %s", room)
		case n < 32:
			say("part %s", room)
		case n < 60:
			for range 1 + random.IntN(10) {
				say("say %s %s", room, strings.Repeat("x", random.IntN(1000)))
			}
		case n < 75:
			mu.Lock()
			asked[strconv.Itoa(pings)] = w.newest()
			mu.Unlock()
			say("ping %d", pings)
			pings++
		case n < 82:
			say("nick %s%d", name, random.IntN(3))
		case n < 83:
			say("nick s%d", random.IntN(6))
		case n < 86:
			say("old %s", room)
		case n < 88:
			say("tell")
		case n < 90:
			say("part %[1]s\njoin %[1]s\npart %[1]s\njoin %[1]s", room)
		case n < 93:
			pace.Store(int64(random.IntN(20)) * int64(time.Millisecond))
		case n < 96:
			pace.Store(0)
		default:
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		}
	}
	pace.Store(0)
	switch random.IntN(5) {
	case 0:
		say("quit")
	case 1:
		c.(*net.TCPConn).CloseWrite()
	case 2:
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	case 3:
		pace.Store(int64(time.Second)) // and unread lines
		c.Close()
	default:
		c.Close()
	}
	reader.Wait()
	c.Close()
}

// call is a member of a room's port.
func (w *storm) call(random *rand.Rand) {
	r, err := w.svc.Load().room(stormRooms[random.IntN(len(stormRooms))])
	if err != nil {
		return
	}
	c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", r.port()))
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(w.until.Add(2 * time.Second)) // a server that has been left may have the connection still
	var reader sync.WaitGroup
	reader.Go(func() {
		in := bufio.NewReader(c)
		for _, err := in.ReadString('\n'); err == nil; _, err = in.ReadString('\n') {
		}
	})
	for range random.IntN(40) {
		fmt.Fprintln(c, []string{"hello", "/nick s" + strconv.Itoa(random.IntN(6)), "/who", "/topic x", "/msg s1 psst", strings.Repeat("y", 3000)}[random.IntN(6)])
		time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
	}
	if random.IntN(2) == 0 {
		c.(*net.TCPConn).CloseWrite()
		reader.Wait()
	} else {
		c.Close()
		reader.Wait()
	}
}

// operate does something that operators do.
func (w *storm) operate(random *rand.Rand) {
	w.moves.RLock()
	defer w.moves.RUnlock()
	s := w.svc.Load()
	room := stormRooms[random.IntN(len(stormRooms))]
	switch random.IntN(10) {
	case 0, 1, 2:
		if all, err := s.Members(""); err == nil && len(all) > 0 {
			id := all[random.IntN(len(all))].ID
			s.Kick([]uint64{id}, "")
			s.Kick([]uint64{id}, "")
		}
	case 3:
		if id, err := s.RoomID(room); err == nil {
			if b, _, err := s.Ban(store.Ban{Room: id, Nick: "s" + strconv.Itoa(random.IntN(6)), Mute: random.IntN(2) == 0}); err == nil {
				s.Unban(b[0].ID)
			}
		}
	case 4:
		s.Delete(room, "")
		s.Restore(room)
	case 5:
		s.Rename(room, "z")
		s.Rename("z", room)
	case 6:
		if all := s.allRoomsSessions(); len(all) > 0 {
			s.Disconnect([]string{all[random.IntN(len(all))].remote.String()})
		}
	case 7:
		s.Say("", "hello")
		s.Doors()
		s.Conns("")
	default:
		if found := s.Inconsistencies(); found != nil {
			w.Error(found)
		}
	}
	time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
}

// freeze has the server stand still, and hand over everything to nobody.
func (w *storm) freeze() {
	s := w.svc.Load()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Freeze(ctx); err != nil {
		return // a room is just being deleted
	}
	defer s.Thaw()
	if err := s.store.Suspend(); err != nil {
		w.Error(err)
		return
	}
	if _, err := s.HandOver(func(string, any, ...int) error { return nil }); err != nil {
		w.Error(err)
	}
	if err := s.store.Resume(); err != nil {
		w.Error(err)
	}
}

// move has another server take over, and returns it.
func (w *storm) move(serve func() *Service) (next *Service) {
	w.moves.Lock()
	defer w.moves.Unlock()
	s := w.svc.Load()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for err := errors.New("not yet"); err != nil; err = s.Freeze(ctx) {
		if ctx.Err() != nil {
			w.Fatal(err)
		}
	}
	if err := s.store.Suspend(); err != nil {
		w.Fatal(err)
	}
	next = serve()
	s.handOverTo(w.T, next)
	w.svc.Store(next)
	next.Thaw()
	return next
}

// Clients of a door come, speak, read slowly, take nicks and go, in several rooms each; others come by
// the rooms' ports; operators kick, ban, delete, restore and rename; the server is brought to a stand,
// and another one takes over. Each client gets what is said in its rooms whole and in order, and each
// pong behind what was there before its ping; and after it nothing is left of anybody.
func TestStormOfSessions(t *testing.T) {
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-storm.seed %d", seed)
	first := 27000 + rand.IntN(5000)
	o := Options{
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{first, first + 39}, FirstRooms: stormRooms,
		LineBytes: 4096, DeadPeer: time.Minute, MasterIdle: time.Minute, MaxLag: 3000, Delete: Anyone, Log: slog.New(slog.DiscardHandler),
		Doors: []DoorOptions{{Door: stormDoor{}, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}},
	}
	path := filepath.Join(t.TempDir(), "roomd.db")
	serve := func() *Service {
		st, err := store.Open(path, store.Options{Retention: store.Retention{Trash: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		return New(st, o)
	}
	stop := func(s *Service) {
		s.Stop()
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	}
	w := &storm{T: t, until: time.Now().Add(*stormTime)}
	old := serve()
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	w.svc.Store(old)
	var all sync.WaitGroup
	runs := func(n uint64, do func(*rand.Rand)) {
		all.Go(func() {
			for random := rand.New(rand.NewPCG(seed, n)); time.Now().Before(w.until); {
				do(random)
			}
		})
	}
	for n := range uint64(8) {
		name := "s" + strconv.Itoa(int(n))
		runs(n, func(random *rand.Rand) { w.visit(random, name) })
	}
	for n := range uint64(4) {
		runs(100+n, w.call)
		runs(200+n, w.operate)
	}
	runs(300, func(random *rand.Rand) {
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		w.moves.RLock()
		defer w.moves.RUnlock()
		w.freeze()
	})
	time.Sleep(*stormTime / 2) // the storm goes on
	next := w.move(serve)
	all.Wait()
	w.clean(next)
	stop(next)
	if err := old.store.Resume(); err != nil {
		t.Error(err)
	}
	old.Thaw() // as there is no other process, which would just be gone
	stop(old)
	if w.pongs.Load() == 0 || w.lines.Load() == 0 || w.ended.Load() == 0 {
		t.Errorf("%d pongs, %d lines, %d memberships ended by others", w.pongs.Load(), w.lines.Load(), w.ended.Load())
	}
	t.Logf("%d pongs, %d lines, %d memberships ended by others", w.pongs.Load(), w.lines.Load(), w.ended.Load())
}

// clean waits until all clients are gone, and nothing is left of them.
func (w *storm) clean(s *Service) {
	left := func() map[string]int64 {
		n := map[string]int64{
			"sessions": int64(len(s.nonMembers())), "connections": int64(s.conns.Total()), "bytes of inserts": s.insertBytes.Load(),
			"closing": int64(s.engine.ClosingCount()),
		}
		for _, r := range s.allRooms() {
			r.mu.Lock()
			n["members"] += int64(len(r.members) + len(r.leaving))
			n["nicks"] += int64(len(r.nicks))
			r.mu.Unlock()
		}
		maps.DeleteFunc(n, func(_ string, v int64) bool { return v == 0 })
		return n
	}
	for end := time.Now().Add(30 * time.Second); len(left()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Errorf("left over: %v", left())
			for _, k := range s.allRoomsSessions() {
				k.mu.Lock()
				w.Logf("%v: why %q, %d members, %d leaving, %d answers, flags %b, peer closed %v, writing %v", k.remote, k.why, len(k.members), len(k.leaving), len(k.answers), k.flags.Load(), k.peerClosed, k.conn.Writing())
				k.mu.Unlock()
			}
			break
		}
	}
	if found := s.Inconsistencies(); found != nil {
		w.Error(found)
	}
}
