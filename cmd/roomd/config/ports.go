package config

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// portRisks warns of ports of rooms that Linux may take for outgoing
// connections: listening on one fails while it is in use, and the room waits. What
// the machine is set to may change from one start to the next, and is no reason to
// refuse one.
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
			return []string{fmt.Sprintf("the system may give ports of rooms.ports %v to outgoing connections, and a room then waits for its port: "+
				"choose ports outside of %d-%d, or reserve them: sysctl net.ipv4.ip_local_reserved_ports=%d-%d", r, first, last, from, to)}
		}
	}
	return nil
}

// ephemeralPorts is the range of ports that Linux takes for outgoing connections.
func ephemeralPorts() (first, last int, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	n, _ := fmt.Sscan(string(text), &first, &last)
	return first, last, n == 2
}

// reservedPorts are those that Linux leaves out of that range.
func reservedPorts() map[int]bool {
	all := make(map[int]bool)
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports") // none without it
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
