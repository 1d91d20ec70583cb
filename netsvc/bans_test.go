package netsvc_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/ban"
	"roomd/store"
)

// A ban of an IPv6 address holds for its /64, one of a mapped network for the
// IPv4 network, and one of a single address for nobody else.
func TestBanReaches(t *testing.T) {
	s := newServer(t)
	s.Options.Listen = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	s.Start()
	port := s.Create("lobby")
	join(t, port)
	six, err := net.Dial("tcp", fmt.Sprintf("[::1]:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	newPeer(t, six.(*net.TCPConn)).Until("* guest-2 joined")
	for what, want := range map[string]string{
		"::2": "::1", "::1": "::1", "::1/128": "::1", "::2/128": "", "0:0:0:1::1": "", "::/0": "::1", "::ffff:127.0.0.0/104": "127.0.0.1",
		"::ffff:127.0.0.1": "127.0.0.1", "127.0.0.0/8": "127.0.0.1", "127.0.0.2": "", "::ffff:10.0.0.0/104": "", "::1%lo": "::1",
	} {
		addr, _, err := ban.ParseTarget(what)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		hit := s.Service.CountTargets(store.Ban{Addr: addr})
		if (hit.Members > 0) != (want != "") || hit.Members > 1 {
			t.Errorf("%s (%s): %d members", what, addr, hit.Members)
		}
	}
	for _, m := range s.Service.FindMembers("guest-2") {
		if m.BanTarget() != "::/64" {
			t.Error(m.BanTarget())
		}
	}
	if _, _, err := s.Service.Ban(store.Ban{Addr: "127.1"}); err == nil {
		t.Error("a ban of nothing")
	}
}

// A client that is banned while it waits before a room's password is told so, and does not
// wait any longer.
func TestBanAtTheGate(t *testing.T) {
	s := startServer(t)
	port := s.createLocked("board", "secret")
	p := dialFrom(t, "127.0.0.9", port)
	p.Until("* this room has a password")
	eventually(t, "it waits", func() bool { return s.Service.CountTargets(store.Ban{Addr: "127.0.0.9"}).Connections == 1 })
	if _, hit, err := s.Service.Ban(store.Ban{Addr: "127.0.0.9", Reason: "guessing"}); err != nil || hit != (netsvc.BanTargets{Connections: 1}) {
		t.Error(hit, err)
	}
	p.Expect("* board: you are banned: guessing")
	p.End()
}

// No guest is given a nick that is banned or muted.
func TestGuestsAvoidBannedNicks(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	bans, _, err := s.Service.Ban(store.Ban{Nick: "guest-1"}, store.Ban{Nick: "guest-2", Mute: true})
	if err != nil || len(bans) != 2 {
		t.Fatal(bans, err)
	}
	p := dial(t, port)
	if l := p.Line(); !strings.Contains(l, "you are guest-3 ") {
		t.Error(l)
	}
	if err := s.Service.Unban(bans[0].ID, 99); err == nil || len(s.Service.Bans()) != 2 {
		t.Error("one of two is lifted", err)
	}
	if err := s.Service.Unban(bans[0].ID, bans[1].ID); err != nil || len(s.Service.Bans()) != 0 {
		t.Error(err)
	}
}

// Mutes change while members speak, are looked at, and take other nicks.
func TestMutesUnderWay(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	done := make(chan bool)
	for i := range 4 {
		p := join(t, port)
		go func() {
			defer func() { done <- true }()
			for n := range 200 {
				p.Send(fmt.Sprintf("/nick n%d-%d", i, n%7), "x", "/msg guest-1 y")
			}
			p.Send("/ping")
			p.Until("* pong")
		}()
	}
	for left := 4; left > 0; {
		bans, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.1", Mute: true, Until: time.Now().Add(time.Hour)}, store.Ban{Nick: "n1-3", Mute: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Service.Members(""); err != nil {
			t.Error(err)
		}
		if err := s.Service.Unban(bans[0].ID, bans[1].ID); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			left--
		default:
		}
	}
}

// A ban and a kick end a session at once that waits for its rate.
func TestWhoWaitsIsEnded(t *testing.T) {
	s := newServer(t)
	s.Options.RequestRate = 0.36 // a CREATE waits for nine seconds
	s.Start()
	for i, end := range []func(remote string) error{
		func(string) error { _, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.2"}); return err },
		func(remote string) error { _, err := s.Service.Disconnect([]string{remote}); return err },
	} {
		p := dialFrom(t, fmt.Sprint("127.0.0.", i+2), s.Service.Port())
		p.Send(fmt.Sprint("CREATE room", i))
		eventually(t, "it waits", func() bool { return s.Service.Counters().ThrottledRequests == uint64(i+1) })
		began := time.Now()
		if err := end(p.TCP.LocalAddr().String()); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; {
			_, err = p.Next()
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("way %d: after %v", i, took)
		}
	}
	if rooms := s.Service.List(); len(rooms) != 0 {
		t.Error(rooms)
	}
}

// A newcomer whose address is muted may still say who it is, as a client does before
// its first line: that it is muted is what it has to learn.
func TestMutedNewcomer(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	if _, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.1", Mute: true}); err != nil {
		t.Fatal(err)
	}
	p := dial(t, port)
	p.Send("/nick zed", "hello")
	p.Until("* guest-1 is now zed")
	p.Until("* not sent: you are muted")
	p.Until("* zed joined")
	p.Send("/nick zoe")
	p.Until("* you are muted: you keep your name")
}
