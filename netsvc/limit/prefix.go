package limit

import "net/netip"

// MaxPrefixes is how many prefixes a map may have.
const MaxPrefixes = 1 << 14

// Prefix returns what counts as one client: an IPv4 address, or the /64 of an IPv6 address, which is
// what one customer has. An IPv4-mapped address counts as its IPv4 address, and zones are ignored.
func Prefix(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// Evict makes room in a map that has MaxPrefixes: it deletes the stale entries and, if these are few,
// others, until a quarter is free. Entries that are in use stay; nil: none is in use. The caller
// holds the lock of the map.
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
	for p, v := range m { // in no order: a flood of addresses evicts mostly its own
		if len(m) < MaxPrefixes*3/4 {
			return
		}
		if !used(v) {
			delete(m, p)
		}
	}
}
