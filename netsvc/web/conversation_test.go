package web

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

// shownEnd stands for a line end in conversations of the protocol page.
const shownEnd = " ⏎ "

// messageConn shows messages as lines, and lines as messages.
type messageConn struct {
	net.Conn // of net.Pipe: lines that were read
	page     *tester
}

func (c messageConn) Write(b []byte) (int, error) {
	text := " " + strings.TrimSuffix(string(b), "\n") + " "
	text = strings.ReplaceAll(text, shownEnd, "\n")
	return len(b), c.page.Write(context.Background(), websocket.MessageText, []byte(strings.Trim(text, " ")))
}

func (c messageConn) CloseWrite() error { return c.page.CloseNow() }

// browse connects a client whose lines are messages.
func (s *testServer) browse() *netsvctest.Client {
	near, far := net.Pipe()
	p := s.tryDial()
	go func() {
		defer far.Close()
		for {
			_, b, err := p.Conn.Read(context.Background())
			if err != nil {
				return
			}
			room, rest, _ := strings.Cut(string(b), "\n")
			for l := range strings.Lines(rest) {
				fmt.Fprint(far, strings.TrimLeft(room+shownEnd, " "), l)
			}
		}
	}()
	s.T.Cleanup(func() { near.Close() })
	return &netsvctest.Client{T: s.T, Conn: messageConn{near, p}, In: bufio.NewReader(near)}
}

// TestExampleClient runs the client of docs/protocol.md.
func TestExampleClient(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.go")
	client := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindSubmatch(text)
	if err := os.WriteFile(file, client[1], 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, nil)
	nc := netsvctest.Join(t, s.Room("lobby").Port)
	nc.Send("before")
	nc.Until("<guest-1> before")
	run := exec.CommandContext(patience(t), "go", "run", file, fmt.Sprintf("ws://127.0.0.1:%d/ws", s.Service.Port()), "lobby")
	run.Stdin = strings.NewReader("hello\n")
	if out, err := run.CombinedOutput(); err != nil || string(out) != "<guest-1> before\n<guest-2> hello\n" {
		t.Errorf("%v\n%s", err, out)
	}
	nc.Until("<guest-2> hello")
}

// TestProtocolPage executes the conversations of docs/protocol.md.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("(?s)```web\n(.*?)```").FindAllSubmatch(page, -1)
	if len(all) == 0 {
		t.Fatal("there is none")
	}
	for _, text := range all {
		s := serve(t, func(o *netsvc.Options, _ *Options) { o.FirstRooms = nil })
		script := netsvctest.Script{
			Call: func(verb, room string) (*netsvctest.Client, error) {
				if verb == "browses" {
					return s.browse(), nil
				}
				return netsvctest.Dial(t, s.Room(room).Port), nil
			},
			Ignores: func(l string) bool { return strings.Contains(l, " left ") },
		}
		script.Play(t, string(text[1]))
	}
}
