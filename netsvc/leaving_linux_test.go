package netsvc_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/store"
)

// owing is a server with a member that has closed its side and is owed far more
// than the kernel takes, which it does not read.
func owing(t *testing.T, s *server) (p *peer, port int) {
	t.Helper()
	s.Start()
	port = s.Create("lobby")
	speaker := join(t, port)
	speaker.Send("/nick ann")
	const lines = 1000
	go func() {
		for range lines {
			fmt.Fprintln(speaker.Conn, strings.Repeat("x", 3000))
		}
	}()
	speaker.collect(lines)
	speaker.HalfClose()
	io.Copy(io.Discard, speaker.In)
	p = dial(t, port)
	p.TCP.SetReadBuffer(32 << 10)
	p.Send("/history 1000")
	p.HalfClose()
	eventually(t, "it is leaving", func() bool {
		all, err := s.Service.Members("lobby")
		return err == nil && len(all) == 1 && all[0].State == "leaving" && s.Service.Connections() == 1
	})
	return p, port
}

// gone reads on until the connection ends: with what the kernels have of it, and
// far from all that it is owed.
func (p *peer) gone() {
	p.T.Helper()
	p.TCP.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, p.In); n > 1<<20 {
		p.T.Errorf("it got %d bytes more and then %v", n, err)
	}
}

// A member that has left and is owed something is seen, counts towards every
// limit, and can be ended at once: by kick, by a ban, by its ID.
func TestLeavingMember(t *testing.T) {
	for how, end := range map[string]func(t *testing.T, s *server, m netsvc.MemberInfo){
		"kick": func(t *testing.T, s *server, m netsvc.MemberInfo) {
			found := s.Service.FindMembers(m.Nick)
			if len(found) != 1 || found[0].ID != m.ID || len(s.Service.FindMembers(fmt.Sprint(m.ID))) != 1 {
				t.Errorf("who: %+v", found)
			}
			if n, err := s.Service.Kick([]uint64{m.ID}, ""); n != 1 || err != nil {
				t.Errorf("%d were kicked, %v", n, err)
			}
			if n, err := s.Service.Kick([]uint64{m.ID}, ""); n != 0 || err != nil {
				t.Errorf("%d were kicked again, %v", n, err)
			}
		},
		"ban": func(t *testing.T, s *server, m netsvc.MemberInfo) {
			b := store.Ban{Addr: m.BanTarget(), Created: time.Now()}
			if hit := s.Service.CountTargets(b); hit.Members != 1 {
				t.Errorf("it would reach %+v", hit)
			}
			if _, hit, err := s.Service.Ban(b); err != nil || hit.Members != 1 {
				t.Errorf("it reaches %+v, %v", hit, err)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			engines(t, func(t *testing.T, s *server) {
				s.Options.MaxMembers, s.Options.MaxPerAddress = 1, 2
				p, port := owing(t, s)
				defer p.TCP.Close()
				all, err := s.Service.Members("")
				if err != nil || len(all) != 1 || s.members("lobby") != 0 || s.Service.Connections() != 1 {
					t.Fatalf("%+v, %v: %d members, %d connections", all, err, s.members("lobby"), s.Service.Connections())
				}
				if conns := s.Service.Conns(""); len(conns) != 1 || conns[0].State != "leaving" || conns[0].Room != "lobby" || conns[0].Remote != all[0].Remote {
					t.Errorf("%+v", conns)
				}
				full := dial(t, port)
				full.Expect("* lobby: the room is full: it has 1 member, which is the limit")
				full.End()
				end(t, s, all[0])
				p.gone()
				eventually(t, "it is closed", func() bool { return s.Service.Connections() == 0 && len(s.Service.Conns("")) == 0 })
				if how != "ban" {
					join(t, port)
				}
			})
		})
	}
}

// Others at the master port and before a password are in the list too, and all of
// it is what is counted; each can be ended.
func TestConnections(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		p, port := owing(t, s)
		defer p.TCP.Close()
		locked := s.createLocked("den", "secret")
		peers := []*peer{dial(t, s.Service.Port()), dial(t, locked), join(t, port)}
		peers[0].Send("LIST lobby")
		peers[0].Until("lobby")
		peers[1].Until("* this room has a password")
		var conns []netsvc.ConnInfo
		eventually(t, "all are there", func() bool { conns = s.Service.Conns(""); return len(conns) == 4 })
		var states []string
		for _, c := range conns {
			states = append(states, c.State+" "+c.Room)
		}
		slices.Sort(states) // they may come in any order
		if want := []string{"leaving lobby", "master ", "member lobby", "password den"}; !slices.Equal(states, want) || s.Service.Connections() != 4 {
			t.Errorf("%q, and %d are counted", states, s.Service.Connections())
		}
		if got := s.Service.Conns("192.0.2.1"); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		if got := s.Service.Conns("127.0.0.1"); len(got) != 4 {
			t.Errorf("%+v", got)
		}
		for i, p := range peers[:2] {
			remote := p.TCP.LocalAddr().String()
			if got := s.Service.Conns(remote); len(got) != 1 || got[0].Member() {
				t.Errorf("%s: %+v", remote, got)
			}
			if n, err := s.Service.Disconnect([]string{remote}); n != 1 || err != nil {
				t.Errorf("%d were cut, %v", n, err)
			}
			if _, err := io.Copy(io.Discard, p.In); err != nil {
				t.Log(err) // it may be reset
			}
			eventually(t, "it is closed", func() bool { return s.Service.Connections() == 3-i && len(s.Service.Conns("")) == 3-i })
		}
		if n := s.Service.Counters().Sessions["kicked"]; n != 1 {
			t.Errorf("%d sessions were kicked", n)
		}
	})
}

// A handshake that has not come to its end is listed, and ended by a ban.
func TestHandshakeIsListed(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.secure()
		s.Start()
		port := s.Create("lobby")
		for _, port := range []int{port, s.Service.Port()} {
			p := dial(t, port)
			eventually(t, "the handshake is listed", func() bool {
				all := s.Service.Conns("")
				return len(all) == 1 && all[0].State == "handshake" && s.Service.Connections() == 1
			})
			bans, hit, err := s.Service.Ban(store.Ban{Addr: "127.0.0.1", Created: time.Now()})
			if err != nil || hit != (netsvc.BanTargets{Connections: 1}) {
				t.Errorf("the ban reaches %+v, %v", hit, err)
			}
			p.TCP.SetReadDeadline(time.Now().Add(patience / 4)) // less than a handshake may take
			io.Copy(io.Discard, p.TCP)
			eventually(t, "it is closed", func() bool { return s.Service.Connections() == 0 && len(s.Service.Conns("")) == 0 })
			if err := s.Service.Unban(bans[0].ID); err != nil {
				t.Error(err)
			}
		}
	})
}
