package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"roomd/admin/value"
	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
)

// The setters take a value as TOML has it: int64, float64, bool, string, []any. An error
// says what is wrong with it and what would be right; then nothing is set.

// quoted is a value as it stands in the file.
func quoted(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(v)
}

func setInt(to *int, v any, in value.Numbers) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("%s is not a whole number; write one like %d", quoted(v), max(int(in.Least), *to))
	}
	if err := in.Check(n); err != nil {
		return err
	}
	*to = int(n)
	return nil
}

// setLineBytes takes the length of a line, and for 0 the longest one.
func setLineBytes(to *int, v any) error {
	const most = 65536 // without a limit, too: a line has to be in memory
	if v == int64(0) {
		v = int64(most)
	}
	return setInt(to, v, value.Numbers{Least: 64, Most: most, Zero: "the most"})
}

// setRate takes a rate for each second; 0 is no limit.
func setRate(to *float64, v any) error {
	n, ok := v.(float64)
	if i, whole := v.(int64); whole {
		n, ok = float64(i), true
	}
	if !ok || !(n >= 0 && n <= 1e9) {
		return fmt.Errorf("%s is not a rate; write a number above 0, like 20.0, or 0 for no limit", quoted(v))
	}
	*to = n
	return nil
}

// setAs takes a value of the type T; want describes it.
func setAs[T any](to *T, v any, want string) error {
	x, ok := v.(T)
	if !ok {
		return fmt.Errorf("%s is not %s", quoted(v), want)
	}
	*to = x
	return nil
}

func setBool(to *bool, v any) error {
	return setAs(to, v, "true or false; write it without quotes")
}

func setString(to *string, v any) error { return setAs(to, v, "a string; write it in quotes") }

// setPath takes the path of a required file.
func setPath(to *string, v any) error {
	if v == "" {
		return errors.New(`the path is empty; write one like "roomd.db"`)
	}
	return setString(to, v)
}

// setMode takes the permissions of a file.
func setMode(to *string, v any) error {
	if s, ok := v.(string); ok {
		if n, err := strconv.ParseUint(s, 8, 32); err != nil || n > 0o777 {
			return fmt.Errorf(`%q is not a file mode; write it in octal, like "0660"`, s)
		}
	}
	return setString(to, v)
}

// setAddrPort takes an address and a port to listen on, or "".
func setAddrPort(to *string, v any) error {
	if s, ok := v.(string); ok && s != "" {
		if _, port, err := net.SplitHostPort(s); err != nil || !isPort(port) {
			return fmt.Errorf(`%q is not an address; write HOST:PORT, like "127.0.0.1:9180"`, s)
		}
	}
	return setString(to, v)
}

// oneOf makes a setter that takes one of the words.
func oneOf(words ...string) func(to *string, v any) error {
	return func(to *string, v any) error {
		if s, ok := v.(string); ok && slices.Contains(words, s) {
			*to = s
			return nil
		}
		return fmt.Errorf(`%s is none of its values; write one of "%s"`, quoted(v), strings.Join(words, `", "`))
	}
}

func setDuration(to *time.Duration, v any, in value.Times) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf(`%s has no unit; write a string like "%vs"`, quoted(v), v)
	}
	d, err := value.ParseTime(s, in)
	if err == nil {
		*to = d
	}
	return err
}

// setList takes a list of strings, each of which parse accepts. kind and example describe them.
func setList[T any](to *[]T, v any, kind, example string, parse func(string) (T, error)) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%s is not a list of strings; write it like %s", quoted(v), example)
	}
	all := make([]T, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return fmt.Errorf("%s is not a list of strings; write it like %s", quoted(v), example)
		}
		x, err := parse(s)
		if err != nil {
			return fmt.Errorf("%q is not %s; write it like %s", s, kind, example)
		}
		all = append(all, x)
	}
	*to = all
	return nil
}

func setNames(to *[]string, v any) error {
	return setList(to, v, "a name", `["lobby"]`, func(s string) (string, error) { return s, nil })
}

func setAddrs(to *[]netip.Addr, v any) error {
	const example = `["127.0.0.1", "::1"]`
	var addrs []netip.Addr
	err := setList(&addrs, v, "an IP address", example, func(s string) (netip.Addr, error) {
		a, err := netip.ParseAddr(s)
		return a.Unmap(), err
	})
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("the list needs an address to listen on; write it like %s", example)
	}
	if err != nil {
		return err
	}
	for i, a := range addrs {
		for _, b := range addrs[:i] {
			if overlap(a, b) {
				return fmt.Errorf("%s and %s overlap; write one of them", b, a)
			}
		}
	}
	*to = addrs
	return nil
}

// setAddrPorts takes addresses with ports to listen on, or an empty list.
func setAddrPorts(to *[]netip.AddrPort, v any) error {
	const example = `["127.0.0.1:6667", "[::1]:6667"]`
	var all []netip.AddrPort
	err := setList(&all, v, "an IP address with a port", example, func(s string) (netip.AddrPort, error) {
		a, err := netip.ParseAddrPort(s)
		if err == nil && a.Port() == 0 {
			err = errors.New("the port is 0")
		}
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err
	})
	if err != nil {
		return err
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Port() == b.Port() && overlap(a.Addr(), b.Addr()) {
				return fmt.Errorf("%s and %s overlap; write one of them", b, a)
			}
		}
	}
	*to = all
	return nil
}

// setWebListen takes "master", an address with a port, or "".
func setWebListen(to *WebListen, v any) error {
	s, ok := v.(string)
	switch a, err := netip.ParseAddrPort(s); {
	case ok && s == "":
		*to = WebListen{}
	case ok && s == "master":
		*to = WebListen{Master: true}
	case ok && err == nil && a.Port() != 0:
		*to = WebListen{Addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
	default:
		return fmt.Errorf(`%s is no place for the page; write "master", an IP address with a port, like "127.0.0.1:8081", or ""`, quoted(v))
	}
	return nil
}

// setHosts takes host names (RFC 1123, 2.1), without ports.
func setHosts(to *[]string, v any) error {
	const most = 253
	var all []string
	err := setList(&all, v, "a host name without a port, in ASCII", `["chat.example.org"]`, func(s string) (string, error) {
		s = lowerHost(s)
		if s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool {
			return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		}) {
			return "", errors.New("no host name")
		}
		return s, nil
	})
	if err == nil {
		*to = all
	}
	return err
}

// lowerHost returns the spelling of a host name in which it is compared.
func lowerHost(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".") }

// setTitle takes the title of the page.
func setTitle(to *string, v any) error {
	const most = 64
	if s, ok := v.(string); ok && (strings.TrimSpace(s) == "" || utf8.RuneCountInString(s) > most || s != wire.CleanString(s)) {
		return fmt.Errorf(`%s is no title; write 1 to %d characters, like "roomd"`, quoted(v), most)
	}
	return setString(to, v)
}

// maxServerName is the length of the longest irc.name: with it in front of the longest nick and room
// a line of 512 bytes has place for a text.
const maxServerName = 63

// setServerName takes a name for the prefixes of IRC, or "". RFC 2812, 2.3.1: a host name.
func setServerName(to *string, v any) error {
	if s, ok := v.(string); ok && s != CleanServerName(s) {
		return fmt.Errorf(`%q is not a server's name; write at most %d letters, digits, dots and hyphens, like "chat.example.org"`, s, maxServerName)
	}
	return setString(to, v)
}

// CleanServerName makes the name of a machine an irc.name: other characters become hyphens.
func CleanServerName(s string) string {
	s = strings.Trim(strings.Map(func(r rune) rune {
		if r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, s), "-.")
	return strings.TrimRight(s[:min(len(s), maxServerName)], "-.")
}

// setNetwork takes the name of a network.
func setNetwork(to *string, v any) error {
	const most = 32
	if s, ok := v.(string); ok && (s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })) {
		return fmt.Errorf(`%q is not a network's name; write 1 to %d ASCII characters without spaces, like "roomd"`, s, most)
	}
	return setString(to, v)
}

// setPassword takes a password that a client of IRC can send in a line, or "". The error does not
// show it.
func setPassword(to *string, v any) error {
	const most = 256
	s, ok := v.(string)
	if !ok {
		return errors.New("it is not a string; write it in quotes")
	}
	if len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("no client can send it; write at most %d bytes without control characters", most)
	}
	*to = s
	return nil
}

func setPrefixes(to *[]netip.Prefix, v any) error {
	return setList(to, v, "an address or a network", `["127.0.0.0/8", "192.0.2.1"]`, func(s string) (netip.Prefix, error) {
		p, err := limit.ParsePrefix(s)
		if a, notAddr := netip.ParseAddr(s); notAddr == nil { // one address, also of IPv6
			p, err = a.Unmap().Prefix(a.Unmap().BitLen())
		}
		if err == nil && p != p.Masked() {
			err = errors.New("bits beyond the prefix are set")
		}
		return p, err
	})
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}

func setAdvertise(to *Advertise, v any) error {
	s, ok := v.(string)
	host, offset, has := strings.Cut(s, ":")
	n, err := 0, error(nil)
	if has {
		n, err = strconv.Atoi(offset)
		ok = ok && n != 0 && (offset[0] == '+' || offset[0] == '-')
	}
	if !ok || err != nil || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		return fmt.Errorf(`%s is not an address to advertise; write HOST, HOST:+OFFSET or :+OFFSET, like "chat.example.org:+10000"`, quoted(v))
	}
	*to = Advertise{host, n}
	return nil
}

func setPorts(to *PortRange, v any) error {
	s, _ := v.(string)
	a, b, ok := strings.Cut(s, "-")
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if !ok || !isPort(a) || !isPort(b) {
		return fmt.Errorf(`%s is not a range of ports; write it like "9000-9999"`, quoted(v))
	}
	first, _ := strconv.Atoi(a)
	last, _ := strconv.Atoi(b)
	if first > last {
		return fmt.Errorf(`%q runs backwards; write it as "%d-%d"`, s, last, first)
	}
	*to = PortRange{first, last}
	return nil
}
