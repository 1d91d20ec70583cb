package ban

import (
	"net/netip"
	"testing"
	"time"

	"roomd/store"
)

func TestList(t *testing.T) {
	now := time.Unix(1000, 0)
	var none *List
	if none.HasBans() || none.HasMutes() || none.HasNick("ann") || none.All() != nil || none.Active(now) != nil {
		t.Error("no list has bans")
	}
	l := NewList([]store.Ban{
		{ID: 1, Addr: "192.0.2.0/24", Room: 7},
		{ID: 2, Addr: "2001:db8::1", Until: now},
		{ID: 3, Nick: "eve"},
		{ID: 4, Nick: "bob", Mute: true},
	})
	if !l.HasBans() || !l.HasMutes() || !l.HasNick("bob") || l.HasNick("ann") {
		t.Error("the list is not what was given")
	}
	for _, c := range []struct {
		room       uint64
		addr, nick string
		after      time.Duration
		want       uint64 // 0: none
	}{
		{7, "192.0.2.9", "", 0, 1}, {7, "::ffff:192.0.2.9", "", time.Hour, 1}, {8, "192.0.2.9", "", 0, 0}, {0, "192.0.2.9", "", 0, 0},
		{0, "2001:db8::2%eth0", "", 0, 2}, {0, "2001:db8::2", "", time.Second, 0}, {0, "2001:db8:0:1::1", "", 0, 0},
		{9, "198.51.100.1", "eve", 0, 3}, {9, "198.51.100.1", "bob", 0, 0}, {9, "198.51.100.1", "", 0, 0},
	} {
		got := uint64(0)
		if b := l.Refusing(now.Add(c.after), c.room, netip.MustParseAddr(c.addr), c.nick); b != nil {
			got = b.ID
		}
		if got != c.want {
			t.Errorf("%+v: ban %d", c, got)
		}
	}
	if n := len(l.Active(now.Add(time.Second))); n != 3 {
		t.Errorf("%d have not expired", n)
	}
}

// A mute of a member is for that member, its nick, and those that come from its address later.
func TestSilencing(t *testing.T) {
	started := time.Unix(1000, 0)
	at := func(n int) time.Time { return started.Add(time.Duration(n) * time.Minute) }
	l := NewList([]store.Ban{
		{ID: 1, Mute: true, Member: 5, Nick: "bob", Addr: "192.0.2.1", Room: 7, Created: at(5), Until: at(9)},
		{ID: 2, Mute: true, Member: 6, Created: at(-5)}, // the number of another member by now
		{ID: 3, Mute: true, Addr: "192.0.2.2", Created: at(5)},
		{ID: 4, Mute: true, Addr: "192.0.2.2", Created: at(5), Until: at(20)},
		{ID: 5, Nick: "eve"},
	})
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, c := range []struct {
		m       Member
		longest uint64 // at minute 8; 0: none
	}{
		{Member{ID: 5, Room: 7, Addr: here, Nick: "robert", Joined: at(1)}, 1},
		{Member{ID: 5, Room: 8, Addr: here, Nick: "bob", Joined: at(1)}, 0},
		{Member{ID: 8, Room: 7, Addr: there, Nick: "bob", Joined: at(1)}, 3},
		{Member{ID: 8, Room: 7, Addr: here, Nick: "ann", Joined: at(1)}, 0},
		{Member{ID: 8, Room: 7, Addr: here, Nick: "ann", Joined: at(6)}, 1},
		{Member{ID: 6, Room: 7, Addr: netip.MustParseAddr("192.0.2.3"), Nick: "eve", Joined: at(1)}, 0},
	} {
		got := uint64(0)
		if b := Longest(at(8), l.Silencing(&c.m, started)); b != nil {
			got = b.ID
		}
		if got != c.longest {
			t.Errorf("%+v: mute %d, not %d", c.m, got, c.longest)
		}
	}
	if b := Longest(at(10), l.Silencing(&Member{ID: 5, Room: 7, Addr: here}, started)); b != nil {
		t.Errorf("mute %d lasts", b.ID)
	}
}
