package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// reachable returns a listen address that other machines can reach.
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

// MayDelete returns who may delete rooms, as a value of access.delete other than auto, and
// the reason. auto means anyone if only this machine can reach the server.
func (c *Config) MayDelete() (policy, why string) {
	if c.Access.Delete != "auto" {
		return c.Access.Delete, "set by access.delete"
	}
	if a, ok := c.reachable(); ok {
		return "creator", fmt.Sprintf("access.delete is auto, and other machines can reach the server on %v", a)
	}
	return "anyone", "access.delete is auto, and the server listens on loopback only"
}

// Risks returns a sentence for each risk of this configuration on this machine, with the
// setting that removes it.
func (c *Config) Risks() []string { return append(c.exposureRisks(), c.portRisks()...) }

// isLoopback reports whether only this machine can reach a host.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// exposureRisks are the risks by clients on other machines.
func (c *Config) exposureRisks() (warnings []string) {
	if host, _, err := net.SplitHostPort(c.Metrics.Listen); err == nil && c.Metrics.Profiles && !isLoopback(host) {
		warnings = append(warnings, fmt.Sprintf("other machines can take profiles on %s without a password; profiles cost processor time and show the contents of memory: set metrics.listen to 127.0.0.1, or metrics.profiles to false", c.Metrics.Listen))
	}
	a, ok := c.reachable()
	for _, door := range append(c.Web.Listen.Addrs(), c.IRC.Listen...) {
		if !ok && !door.Addr().IsLoopback() {
			a, ok = door.Addr(), true
		}
	}
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

// portRisks warns of ports of rooms that Linux may use for outgoing connections: while one is
// in use, its room is unbound. This is not a mistake in the configuration, because the
// settings of the machine may change.
func (c *Config) portRisks() (warnings []string) {
	first, last, ok := ephemeralPorts()
	r := c.Rooms.Ports
	if !ok || r.Last < first || r.First > last {
		return nil
	}
	from, to := max(r.First, first), min(r.Last, last)
	reserved := reservedPorts()
	for p := from; p <= to; p++ {
		if !reserved[p] {
			return []string{fmt.Sprintf("the system may use ports of rooms.ports %v for outgoing connections, and a room is then unbound: "+
				"choose ports outside of %d-%d, or reserve them: sysctl net.ipv4.ip_local_reserved_ports=%d-%d", r, first, last, from, to)}
		}
	}
	return nil
}

// ephemeralPorts returns the range of ports that Linux uses for outgoing connections.
func ephemeralPorts() (first, last int, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	n, _ := fmt.Sscan(string(text), &first, &last)
	return first, last, n == 2
}

// reservedPorts returns the ports in that range that Linux does not use.
func reservedPorts() map[int]bool {
	all := make(map[int]bool)
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports") // without the file no port is reserved
	for _, part := range strings.Split(strings.TrimSpace(string(text)), ",") {
		a, b, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(a)
		if err != nil {
			continue
		}
		last := first
		if isRange {
			last, _ = strconv.Atoi(b)
		}
		for p := first; p <= last; p++ {
			all[p] = true
		}
	}
	return all
}
