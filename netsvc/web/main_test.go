package web

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var nextPort = netsvctest.NewPorts(11500, 12499)

// testServer is a service with the door of the web on its master port.
type testServer struct {
	*netsvctest.Server
	door *Door
}

// serve starts a server with the rooms lobby and dev.
func serve(t testing.TB, change func(*netsvc.Options, *Options)) *testServer {
	first := int(nextPort.Take(20)) - 20
	o := netsvctest.Options(first+1, 19)
	o.FirstRooms = []string{"lobby", "dev"}
	wo := Options{Version: "test", Title: "roomd", Log: o.Log}
	if change != nil {
		change(&o, &wo)
	}
	s := &testServer{door: New(wo)}
	if o.Doors == nil {
		o.Doors = []netsvc.DoorOptions{{Door: s.door, Master: true}}
	}
	s.Server = netsvctest.New(t, o)
	s.Start()
	t.Cleanup(func() {
		if s.Service != nil {
			if found := s.Service.Inconsistencies(); found != nil {
				t.Error(found)
			}
		}
	})
	return s
}

// tester is a client of roomd.v1.
type tester struct {
	*websocket.Conn
	t     testing.TB
	lines []line // read and not taken yet
}

// line is a line from the server.
type line struct {
	room string
	text string
	ev   event
}

// event has the fields of lines that tests look at.
type event struct {
	Type, Command, Code, From, Nick, To, Name, Was, Text, Key, Epoch, Topic string
	RoomID                                                                  string `json:"room_id"`
	ReadOnly                                                                bool   `json:"read_only"`
	Locked, TLS                                                             bool
	Seq, Newest, ID, Oldest                                                 uint64
	Count, Port, Members                                                    int
	LineBytes                                                               int `json:"line_bytes"`
}

func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), netsvctest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// dial connects, and reads hello.
func (s *testServer) dial() *tester {
	s.T.Helper()
	p := s.tryDial()
	if p == nil {
		s.T.Fatal("no connection")
	}
	if hello := p.next(); hello.ev.Type != "hello" || hello.room != "" {
		s.T.Fatalf("greeted with %+v", hello)
	}
	return p
}

// tryDial connects to the master port; nil: it is refused.
func (s *testServer) tryDial() *tester {
	s.T.Helper()
	c, _, err := websocket.Dial(patience(s.T), fmt.Sprintf("ws://127.0.0.1:%d/ws", s.Service.Port()), &websocket.DialOptions{Subprotocols: []string{Protocol}})
	if err != nil {
		return nil
	}
	c.SetReadLimit(1 << 20)
	s.T.Cleanup(func() { c.CloseNow() })
	return &tester{Conn: c, t: s.T}
}

// enter connects, takes a nick and enters rooms.
func (s *testServer) enter(nick string, rooms ...string) *tester {
	s.T.Helper()
	p := s.dial()
	p.send("", "NICK "+nick)
	p.until("", "ok", "nick")
	for _, r := range rooms {
		p.send(r)
		p.until(r, "ok", "enter")
	}
	return p
}

// send sends one message.
func (p *tester) send(room string, lines ...string) {
	p.t.Helper()
	text := room
	for _, l := range lines {
		text += "\n" + l
	}
	if room == "" {
		text += "\n"
	}
	p.sendRaw(text)
}

func (p *tester) sendRaw(text string) {
	p.t.Helper()
	if err := p.Write(patience(p.t), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// read reads one message.
func (p *tester) read() error {
	ctx, cancel := context.WithTimeout(context.Background(), netsvctest.Patience)
	defer cancel()
	kind, b, err := p.Read(ctx)
	if err != nil {
		return err
	}
	room, rest, ok := strings.Cut(string(b), "\n")
	if kind != websocket.MessageText || !ok || !strings.HasSuffix(rest, "\n") {
		p.t.Errorf("a message that is none: %q", b)
	}
	for text := range strings.Lines(rest) {
		l := line{room: room, text: strings.TrimSuffix(text, "\n")}
		if err := json.Unmarshal([]byte(text), &l.ev); err != nil {
			p.t.Errorf("%q: %v", text, err)
		}
		p.lines = append(p.lines, l)
	}
	return nil
}

// tryNext returns the next line, or the error of reading it.
func (p *tester) tryNext() (l line, err error) {
	for len(p.lines) == 0 {
		if err := p.read(); err != nil {
			return l, err
		}
	}
	l, p.lines = p.lines[0], p.lines[1:]
	return l, nil
}

func (p *tester) next() line {
	p.t.Helper()
	l, err := p.tryNext()
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// until reads up to a line of a room with a type, and a command, a text or a code if that is not "".
func (p *tester) until(room, kind, word string) line {
	p.t.Helper()
	for {
		l, err := p.tryNext()
		if err != nil {
			p.t.Fatalf("no %s %s of %q: %v", kind, word, room, err)
		}
		if l.room == room && l.ev.Type == kind && (word == "" || l.ev.Command == word || l.ev.Text == word || l.ev.Code == word || l.ev.Name == word) {
			return l
		}
	}
}

// closed reads up to the end, and returns its code.
func (p *tester) closed() websocket.StatusCode {
	p.t.Helper()
	for {
		if _, err := p.tryNext(); err != nil {
			if context.Cause(patience(p.t)) != nil || strings.Contains(err.Error(), "deadline") {
				p.t.Fatal("the connection goes on: ", err)
			}
			return websocket.CloseStatus(err)
		}
	}
}
