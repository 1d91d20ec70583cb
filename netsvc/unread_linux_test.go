package netsvc_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// goodbyes are the ways of clients that do not read to be gone.
var goodbyes = map[string]func(p *peer, say string){
	"closes at once": func(p *peer, say string) {
		io.WriteString(p.Conn, say)
		p.Conn.Close()
	},
	"closes with input unread": func(p *peer, say string) { // by which Linux resets the connection
		p.unread()
		io.WriteString(p.Conn, say)
		p.TCP.Close()
	},
	"resets": func(p *peer, say string) {
		io.WriteString(p.Conn, say)
		p.Reset()
	},
	"closes its side, then resets": func(p *peer, say string) {
		io.WriteString(p.Conn, say)
		p.HalfClose()
		p.Reset()
	},
}

// unread waits until the server has written something.
func (p *peer) unread() {
	raw, err := p.TCP.SyscallConn()
	if err != nil {
		p.T.Error(err)
		return
	}
	b := make([]byte, 1)
	p.TCP.SetReadDeadline(time.Now().Add(patience))
	if err := raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	}); err != nil {
		p.T.Error(err)
	}
}

// ports are the kinds of ports that a server can have, and what is done there:
// what the clients send before and behind a number, and what there is to see of
// it in the end.
var portKinds = map[string]struct {
	open func(s *server) (port int)
	say  func(n int) string
	done func(s *server) []string
}{
	"room": {
		func(s *server) int { return s.Create("lobby") },
		func(n int) string { return fmt.Sprintf("line %d\nmore %d\n", n, n) },
		func(s *server) []string { return s.said("lobby") },
	},
	"room with a password": {
		func(s *server) int { return s.createLocked("den", "secret") },
		func(n int) string { return fmt.Sprintf("/pass secret\nline %d\nmore %d\n", n, n) },
		func(s *server) []string { return s.said("den") },
	},
	"master port": {
		func(s *server) int { return s.Service.Port() },
		func(n int) string {
			// More than is read at a time: the first answers meet the reset.
			return fmt.Sprintf("LIST\nCREATE line%d\n%sCREATE more%d\n", n, strings.Repeat("\n", 20000), n)
		},
		func(s *server) (names []string) {
			for _, i := range s.Service.List() {
				names = append(names, i.Name[:4]+" "+i.Name[4:])
			}
			return names
		},
	},
}

// What a client has sent is handled, though it never reads and is gone by then:
// in every room, before a password, at the master port, by every engine, and
// behind TLS.
func TestGoneUnread(t *testing.T) {
	for kind, k := range portKinds {
		t.Run(kind, func(t *testing.T) {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
					engines(t, func(t *testing.T, s *server) {
						s.Options.MaxRooms = 200
						s.ports(100)
						if secure {
							s.secure()
						}
						s.Start()
						port := k.open(s)
						n, want := 0, []string{}
						for how, leave := range goodbyes {
							var all sync.WaitGroup
							for range 10 {
								n++
								p, say := s.dial(port), k.say(n)
								if kind == "master port" && how == "closes with input unread" {
									p.Send("HELP") // or there is nothing to be read
								}
								want = append(want, fmt.Sprintf("line %d", n), fmt.Sprintf("more %d", n))
								all.Go(func() { leave(p, say) })
							}
							all.Wait()
						}
						slices.Sort(want)
						var got []string
						eventually(t, "all is handled", func() bool {
							got = k.done(s)
							return len(got) >= len(want)
						})
						if slices.Sort(got); !slices.Equal(got, want) {
							t.Errorf("got  %q\nwant %q", got, want)
						}
						for _, i := range s.Service.List() {
							eventually(t, "all are gone", func() bool { return s.members(i.Name) == 0 })
						}
					})
				})
			}
		})
	}
}

// An allowance holds for a client that is gone, too, and what waits for it is
// not lost; others' lines that it cannot be sent any more do not end it sooner.
func TestGoneUnreadAboveTheAllowance(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Options.LinesPerSecond, s.Options.Burst = 100, 5
		s.Options.MaxLag = 20
		s.Start()
		port := s.Create("lobby")
		ann := join(t, port)
		p := dial(t, port)
		p.unread()
		const lines = 60
		var say strings.Builder
		for i := range lines {
			fmt.Fprintf(&say, "%d %s\n", i, strings.Repeat("x", 200)) // more than is read at a time
		}
		io.WriteString(p.Conn, say.String())
		p.Reset()
		for i := range lines {
			ann.Until(fmt.Sprintf("<guest-2> %d ", i))
		}
		ann.Until("* guest-2 left")
	})
}

// A reset may cut the last line short: it is said if the client had closed its
// side before.
func TestGoneUnreadInALine(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port := s.Create("lobby")
		for how, whole := range map[string]bool{"resets": false, "closes its side, then resets": true} {
			for range 20 {
				p := dial(t, port)
				p.unread()
				goodbyes[how](p, fmt.Sprintf("whole: %v", whole))
			}
		}
		eventually(t, "all are gone", func() bool { return s.Service.Counters().Accepted >= 40 && s.members("lobby") == 0 })
		got := s.said("lobby")
		for _, l := range got {
			if l != "whole: true" {
				t.Errorf("%q was said", l)
			}
		}
		if len(got) != 20 {
			t.Errorf("%d lines were said, not 20", len(got))
		}
	})
}

// A stop loses nothing that a client sent before it closed: neither what waits for
// its allowance, nor what nobody has read, nor that of one who was not accepted.
func TestGoneUnreadAtAStop(t *testing.T) {
	for kind, k := range portKinds {
		t.Run(kind, func(t *testing.T) {
			engines(t, func(t *testing.T, s *server) {
				s.Options.LinesPerSecond, s.Options.Burst, s.Options.RequestRate = 1, 5, 5
				s.Options.MaxRooms = 100
				s.ports(100)
				s.Start()
				port := k.open(s)
				n, want := 0, []string{}
				for _, leave := range goodbyes {
					var say strings.Builder
					for range 12 {
						n++
						say.WriteString(strings.ReplaceAll(k.say(n), strings.Repeat("\n", 20000), ""))
						want = append(want, fmt.Sprintf("line %d", n), fmt.Sprintf("more %d", n))
					}
					p := s.dial(port)
					p.Send("/help") // at the master port an error, which it does not read either
					leave(p, say.String())
				}
				s.Stop()
				s.Options.LinesPerSecond, s.Options.RequestRate = 0, 0
				s.Start()
				got := k.done(s)
				slices.Sort(want)
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		})
	}
}

// The allowance of a client that is gone has no end: what waits for it is said,
// here for more than half a minute, and what would only be answered costs nothing.
func TestGoneUnreadForLong(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Options.LinesPerSecond, s.Options.Burst = 20, 40
	s.Start()
	port := s.Create("lobby")
	p := dial(t, port)
	p.unread()
	var say strings.Builder
	for i := range 700 {
		fmt.Fprintf(&say, "%d\n\n/history 1000\n/nonsense\n/who\n", i)
	}
	io.WriteString(p.Conn, say.String())
	p.Reset()
	for range 3 {
		part := len(s.said("lobby"))
		eventually(t, "much of it is said", func() bool { return s.members("lobby") == 0 || len(s.said("lobby")) > part+300 })
	}
	if got := s.said("lobby"); len(got) != 700 || got[699] != "699" {
		t.Errorf("%d lines are said", len(got))
	}
}

// A line that a member has sent when the server is told to stop is said: nobody
// has read it yet.
func TestUnreadAtAStop(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			engines(t, func(t *testing.T, s *server) {
				if secure {
					s.secure()
				}
				s.Start()
				port := s.Create("lobby")
				var all []*peer
				for range 40 {
					p := s.dial(port)
					p.Line()
					all = append(all, p)
				}
				for i, p := range all {
					p.Send(fmt.Sprint(i))
				}
				s.Stop()
				s.Start()
				if got := s.said("lobby"); len(got) != len(all) {
					t.Errorf("%d of %d lines are said", len(got), len(all))
				}
			})
		})
	}
}
