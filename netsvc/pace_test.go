package netsvc

import (
	"net/netip"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	six, sixToo := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2")
	take := func(addr netip.Addr, n float64, patience, want time.Duration) {
		t.Helper()
		if wait := p.take(now, addr, n, 10, 5, patience); wait != want {
			t.Errorf("waits %v, want %v", wait, want)
		}
	}
	for range 5 {
		take(a, 1, 0, 0)
	}
	take(a, 1, 0, 100*time.Millisecond) // refused, and not counted
	take(a, 1, 0, 100*time.Millisecond)
	take(a, 1, time.Second, 100*time.Millisecond) // put off, and counted
	take(a, 2, time.Second, 300*time.Millisecond)
	take(b, 5, 0, 0)
	now = now.Add(300 * time.Millisecond)
	take(a, 0, 0, 0)
	take(a, 1, 0, 100*time.Millisecond)
	now = now.Add(time.Hour)
	take(a, 5, 0, 0)
	take(six, 5, 0, 0)
	take(sixToo, 1, 0, 100*time.Millisecond)
	if wait := p.take(now, a, 1e9, 0, 0, 0); wait != 0 {
		t.Error("0 is a limit:", wait)
	}
	// Memory is bounded, and those that have rested are forgotten first.
	now = now.Add(time.Hour)
	for i := range 3 * mostAddresses {
		take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5, 0, 0)
		if len(p.rest) > mostAddresses {
			t.Fatal(len(p.rest), "addresses are remembered")
		}
	}
	if len(p.rest) < mostAddresses/2 {
		t.Error("only", len(p.rest), "are remembered")
	}
}
