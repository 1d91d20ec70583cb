package bench

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a chat server that speaks roomd's protocol and does wrong what it is
// told to. It has one room, whose members all get what one goroutine writes.
type fake struct {
	ln, master net.Listener
	all        sync.WaitGroup

	mu      sync.Mutex
	room    string
	other   string // what it says that it is; "": the room that was made
	members []net.Conn
	lines   int
	wrong   func(f *fake, n int, line string) // says line number n; nil: as it should be
}

func newFake(t *testing.T, wrong func(f *fake, n int, line string)) *fake {
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	f := &fake{ln: listen(), master: listen(), wrong: wrong}
	f.all.Go(func() { f.accept(f.master, f.clerk) })
	f.all.Go(func() { f.accept(f.ln, f.member) })
	t.Cleanup(func() {
		f.master.Close()
		f.ln.Close()
		f.all.Wait()
	})
	return f
}

func (f *fake) accept(ln net.Listener, serve func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		f.all.Go(func() {
			serve(c)
			c.Close()
		})
	}
}

func (f *fake) clerk(c net.Conn) {
	for lines := bufio.NewScanner(c); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			fmt.Fprintln(c, "ERR bad-request there is no such request")
			continue
		}
		f.mu.Lock()
		f.room = words[1]
		f.mu.Unlock()
		fmt.Fprintf(c, "OK %s %d key\n", words[1], f.ln.Addr().(*net.TCPAddr).Port)
	}
}

func (f *fake) member(c net.Conn) {
	f.mu.Lock()
	f.members = append(f.members, c)
	n := len(f.members)
	fmt.Fprintf(c, "* %s: %d here, you are guest-%d (/help)\n", cmp.Or(f.other, f.room), n, n)
	f.mu.Unlock()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		f.mu.Lock()
		if lines.Text() == "/ping" {
			fmt.Fprint(c, "* pong 0\n")
		} else if !strings.HasPrefix(lines.Text(), "/") {
			f.lines++
			line := fmt.Sprintf("<guest-%d> %s\n", n, lines.Text())
			if f.wrong != nil {
				f.wrong(f, f.lines, line)
			} else {
				f.say(line)
			}
		}
		f.mu.Unlock()
	}
}

// say sends to all members.
func (f *fake) say(text string) {
	for _, m := range f.members {
		fmt.Fprint(m, text)
	}
}

func (f *fake) server() Server {
	return Server{Protocol: "roomd", Address: netip.MustParseAddrPort(f.master.Addr().String())}
}

func small() Shape {
	s := Default(Fanout)
	s.Members, s.Publishers, s.InFlight, s.Lines = 5, 2, 4, 2000
	s.WarmUp, s.Duration, s.Patience = 0, 20*time.Second, 300*time.Millisecond
	return s
}

// Whatever a server does wrong to one line of one member is found and named.
// If that member is the first to get the bytes, it is by their numbers; else
// by comparing them with what another got.
func TestFaults(t *testing.T) {
	const at = 1000
	held := ""
	for _, test := range []struct {
		name, want string
		wrong      func(f *fake, n int, line string)
	}{
		{"none", "", nil},
		{"lost at all members", "missing", func(f *fake, n int, line string) {
			if n != at {
				f.say(line)
			}
		}},
		{"lost at one member", "where another got|missing", func(f *fake, n int, line string) {
			for i, m := range f.members {
				if i != 4 || n != at {
					fmt.Fprint(m, line)
				}
			}
		}},
		{"the last line lost at one member", "got 1999 of 2000 lines", func(f *fake, n int, line string) {
			for i, m := range f.members {
				if n < 2000 || i != 3 {
					fmt.Fprint(m, line)
				}
			}
		}},
		{"doubled at all members", "came twice", func(f *fake, n int, line string) {
			f.say(line)
			if n == at {
				f.say(line)
			}
		}},
		{"doubled at one member", "where another got|came twice", func(f *fake, n int, line string) {
			f.say(line)
			if n == at {
				fmt.Fprint(f.members[2], line)
			}
		}},
		{"two publishers' lines swapped at one member", "where another got", func(f *fake, n int, line string) {
			for i, m := range f.members {
				switch {
				case i < 4 || n < at:
					fmt.Fprint(m, line)
				case n == at || held != "" && line[:9] == held[:9]:
					held += line
				default:
					fmt.Fprint(m, line, held)
					held = ""
				}
			}
		}},
		{"one publisher's lines swapped at all members", "missing", func(f *fake, n int, line string) {
			switch {
			case n == at:
				held = line
			case held != "" && line[:9] == held[:9]:
				f.say(line)
				f.say(held)
				held = ""
			default:
				f.say(line)
			}
		}},
		{"a byte changed at one member", "where another got|never sent", func(f *fake, n int, line string) {
			for i, m := range f.members {
				if i == 4 && n == at {
					line = line[:40] + "#" + line[41:]
				}
				fmt.Fprint(m, line)
			}
		}},
		{"a byte changed at all members", "never sent", func(f *fake, n int, line string) {
			if n == at {
				line = line[:40] + "#" + line[41:]
			}
			f.say(line)
		}},
		{"a line refused", "the server says", func(f *fake, n int, line string) {
			f.say(line)
			if n == at {
				fmt.Fprint(f.members[0], "* not sent: the disk is full\n")
			}
		}},
		{"a member thrown out", "closed by the server", func(f *fake, n int, line string) {
			f.say(line)
			if n == at {
				f.members[4].(*net.TCPConn).CloseWrite()
				f.members = f.members[:4]
			}
		}},
		{"a line that comes back early", "never sent", func(f *fake, n int, line string) {
			f.say(line)
			if n == at {
				f.say("<guest-1> 0000 0000001999 qrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl\n")
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			held = ""
			f := newFake(t, test.wrong)
			r, err := Run(context.Background(), f.server(), small())
			if test.want == "" {
				if err != nil || r.Lines != 2000 || r.Deliveries != 10000 {
					t.Fatalf("%+v, %v", r, err)
				}
				return
			}
			var fault fault
			if !errors.As(err, &fault) || !regexp.MustCompile(test.want).MatchString(r.Fault) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A room of another server, behind a mapped port, is not talked to, and a room's
// port is no master port.
func TestOfAnotherServer(t *testing.T) {
	f := newFake(t, nil)
	f.other = "bar"
	if _, err := Run(t.Context(), f.server(), small()); err == nil || !strings.Contains(err.Error(), "bar") {
		t.Error(err)
	}
	s := f.server()
	s.Address = netip.MustParseAddrPort(f.ln.Addr().String())
	if _, err := Run(t.Context(), s, small()); err == nil || !strings.Contains(err.Error(), "is no master port") {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lines > 0 {
		t.Errorf("the room got %d lines", f.lines)
	}
}
