package limit

import (
	"net/netip"
	"testing"
)

func TestConns(t *testing.T) {
	var c Conns
	a, six, sixToo := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	enter := func(a netip.Addr, total, perPrefix int, want error) {
		t.Helper()
		if err := c.Acquire(a, total, perPrefix); err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
	enter(a, 2, 1, nil)
	enter(netip.MustParseAddr("::ffff:192.0.2.1"), 2, 1, ErrPrefix)
	enter(six, 2, 1, nil)
	enter(a, 2, 0, ErrTotal)
	enter(sixToo, 0, 1, ErrPrefix)
	enter(sixToo, 0, 2, nil)
	if n := c.Total(); n != 3 {
		t.Errorf("%d are counted", n)
	}
	move := func(from, to netip.Addr, perPrefix int, want error) {
		t.Helper()
		if err := c.Move(from, to, perPrefix); err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
	move(a, six, 2, ErrPrefix)
	move(six, sixToo, 2, nil)
	move(six, a, 2, nil)
	move(a, six, 2, nil)
	if n := c.Total(); n != 3 {
		t.Errorf("%d are counted after moves", n)
	}
	for _, a := range []netip.Addr{a, six, sixToo} {
		c.Release(a)
	}
	if c.Total() != 0 || len(c.of) != 0 {
		t.Errorf("%d are left, of %v", c.Total(), c.of)
	}
}
