package limit

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

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

// ParsePrefix reads a network. A network of IPv4-mapped IPv6 addresses becomes the IPv4 network,
// because the addresses of clients are never mapped.
func ParsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, errors.New("write one like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64")
	}
	if !p.Addr().Is4In6() {
		return p, nil
	}
	if p.Bits() < 96 {
		return netip.Prefix{}, fmt.Errorf("%q holds all IPv4-mapped addresses and others; write the IPv4 network and the IPv6 network", text)
	}
	return p.Addr().Unmap().Prefix(p.Bits() - 96)
}

// ParseNetwork reads an address or a network. An address stands for its Prefix.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return Prefix(a), nil
	}
	p, err := ParsePrefix(text)
	return p.Masked(), err
}

// Contains reports whether an address is in one of the networks.
func Contains(all []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
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
