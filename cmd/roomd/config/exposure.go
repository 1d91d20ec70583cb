package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// reachable is an address that we listen on and that other machines can reach.
func (c *Config) reachable() (netip.Addr, bool) {
	for _, a := range c.Activated {
		if !a.Addr().IsLoopback() {
			return a.Addr(), true
		}
	}
	i := slices.IndexFunc(c.Server.Listen, func(a netip.Addr) bool { return !a.IsLoopback() })
	if i < 0 {
		return netip.Addr{}, false
	}
	return c.Server.Listen[i], true
}

// MayDelete is the policy for deleting rooms, in the words of access.delete without
// auto, and its reason: where only this machine can reach us, it is anyone.
func (c *Config) MayDelete() (policy, why string) {
	if c.Access.Delete != "auto" {
		return c.Access.Delete, "set by access.delete"
	}
	if a, ok := c.reachable(); ok {
		return "creator", fmt.Sprintf("access.delete is auto, and other machines can reach the server on %v", a)
	}
	return "anyone", "access.delete is auto, and the server listens on loopback only"
}

// Risks are sentences about what may go wrong with this configuration on this machine,
// each with what to set against it.
func (c *Config) Risks() []string { return append(c.exposureRisks(), c.portRisks()...) }

// isLoopback reports whether a host is this machine for itself alone.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// exposureRisks says what is open to strangers, where they can reach us, and what to
// set against it.
func (c *Config) exposureRisks() (warnings []string) {
	if host, _, err := net.SplitHostPort(c.Metrics.Listen); err == nil && c.Metrics.Profiles && !isLoopback(host) {
		warnings = append(warnings, fmt.Sprintf("other machines can take profiles on %s without a password; profiles cost processor time and show the contents of memory: set metrics.listen to 127.0.0.1, or metrics.profiles to false", c.Metrics.Listen))
	}
	a, ok := c.reachable()
	if !ok {
		return warnings
	}
	if c.TLS.Cert == "" {
		warnings = append(warnings, fmt.Sprintf("other machines can reach the server on %v, and the network can read everything: set tls.cert and tls.key", a))
	}
	if c.Limits.PerAddress == 0 {
		warnings = append(warnings, "one address can use all connections: set limits.per_address")
	}
	if c.Access.Create == "anyone" {
		warnings = append(warnings, "anyone can create rooms up to rooms.max: to prevent that, set access.create to operator")
	}
	return warnings
}
