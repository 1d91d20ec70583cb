package limit

import "net/netip"

// MaxPrefixes bounds what is remembered of prefixes, in each map of them.
const MaxPrefixes = 1 << 14

// Prefix is what counts as one client: an IPv4 address, or, as that is what one
// customer has, the /64 of an IPv6 address. An IPv4-mapped address is its IPv4
// address, and a zone does not matter.
func Prefix(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// Evict makes room for a prefix in a map that has MaxPrefixes: it forgets the
// entries that are stale and, if these are few, others, until a quarter is free.
// Entries that are in use stay; nil: none is. The caller holds the map's lock.
func Evict[V any](m map[netip.Prefix]V, stale, inUse func(V) bool) {
	if len(m) < MaxPrefixes {
		return
	}
	used := func(v V) bool { return inUse != nil && inUse(v) }
	for p, v := range m {
		if !used(v) && stale(v) {
			delete(m, p)
		}
	}
	for p, v := range m { // in no order: a flood of addresses drives out its own
		if len(m) < MaxPrefixes*3/4 {
			return
		}
		if !used(v) {
			delete(m, p)
		}
	}
}
