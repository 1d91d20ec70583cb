package limit

import (
	"net/netip"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	var b Buckets
	now := time.Unix(1000, 0)
	a, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	six, sixToo := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2")
	take := func(addr netip.Addr, n float64, patience, want time.Duration) {
		t.Helper()
		if wait := b.Take(now, Prefix(addr), n, Rate{10, 5}, patience); wait != want {
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
	take(other, 5, 0, 0)
	now = now.Add(300 * time.Millisecond)
	take(a, 0, 0, 0)
	take(a, 1, 0, 100*time.Millisecond)
	now = now.Add(time.Hour)
	take(a, 5, 0, 0)
	take(six, 5, 0, 0)
	take(sixToo, 1, 0, 100*time.Millisecond)
	if wait := b.Take(now, Prefix(a), 1e9, Rate{}, 0); wait != 0 {
		t.Error("0 is a limit:", wait)
	}
	// Memory is bounded, and those that have rested are forgotten first.
	now = now.Add(time.Hour)
	for i := range 3 * MaxPrefixes {
		take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5, 0, 0)
		if len(b.fullAt) > MaxPrefixes {
			t.Fatal(len(b.fullAt), "addresses are remembered")
		}
	}
	if len(b.fullAt) < MaxPrefixes/2 {
		t.Error("only", len(b.fullAt), "are remembered")
	}
}

// What is handed over is the same on the other side.
func TestDebtsAreRestored(t *testing.T) {
	var from, to Buckets
	now, later := time.Unix(1000, 0), time.Unix(5000, 0)
	p, whole := Prefix(netip.MustParseAddr("192.0.2.1")), Prefix(netip.MustParseAddr("192.0.2.2"))
	from.Take(now, p, 5, Rate{10, 5}, 0)
	from.SetFullAt(now, whole, now)
	to.Restore(later, from.Debts(now))
	if got, want := to.FullAt(p), later.Add(500*time.Millisecond); !got.Equal(want) {
		t.Errorf("whole at %v, want %v", got, want)
	}
	if got := to.FullAt(whole); !got.IsZero() {
		t.Errorf("%v is known of a burst that was whole", got)
	}
}

// Entries in use stay, however many there are.
func TestEvictKeepsEntriesInUse(t *testing.T) {
	m := make(map[netip.Prefix]bool)
	for i := range MaxPrefixes {
		m[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)] = i%8 != 0
	}
	Evict(m, func(bool) bool { return true }, func(used bool) bool { return used })
	if len(m) != MaxPrefixes*7/8 {
		t.Errorf("%d stay", len(m))
	}
}
