package ban

import (
	"net/netip"
	"strings"

	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
)

// ParseTarget reads the target of a ban: an address, a network or a nick, which is folded. What looks
// like an address and is none is an error, and not a nick. The error is a *wire.Error.
func ParseTarget(what string) (addr, nick string, err error) {
	if p, err := limit.ParseNetwork(what); err == nil {
		return networkText(p), "", nil
	}
	if strings.ContainsAny(what, ":/[]") {
		_, err := limit.ParseNetwork(what)
		return "", "", wire.Errorf(wire.CodeBadRequest, "%s is not an address or a network; %v", wire.CleanString(what), err)
	}
	n, err := wire.ParseName(what)
	if err != nil {
		return "", "", wire.Errorf(wire.CodeBadRequest, "%q is neither an address, a network nor a nick", wire.CleanString(what))
	}
	if wire.IsNumeric(n.Key) {
		return "", "", wire.Errorf(wire.CodeBadRequest, "%s looks like an address and is none; write all four numbers of an IPv4 address, or #ID for a member", n.Shown)
	}
	return "", n.Key, nil
}

// Target returns what a ban of a client's address is of: an IPv4 address, or a network of IPv6.
func Target(a netip.Addr) string { return networkText(limit.Prefix(a)) }

// networkText returns a network as it is shown and stored. A single IPv4 address has no "/32".
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() && p.Addr().Is4() {
		return p.Addr().String()
	}
	return p.String()
}
