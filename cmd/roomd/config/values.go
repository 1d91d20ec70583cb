package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomd/admin/value"
	"roomd/netsvc"
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

func setFloat(to *float64, v any) error {
	n, ok := v.(float64)
	if i, whole := v.(int64); whole {
		n, ok = float64(i), true
	}
	if !ok || !(n > 0 && n <= 1e9) {
		return fmt.Errorf("%s is not a rate; write a number above 0, like 20.0", quoted(v))
	}
	*to = n
	return nil
}

func setBool(to *bool, v any) error {
	b, ok := v.(bool)
	if !ok {
		return fmt.Errorf("%s is neither true nor false; write it without quotes", quoted(v))
	}
	*to = b
	return nil
}

func setString(to *string, v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s is not a string; write it in quotes", quoted(v))
	}
	*to = s
	return nil
}

// setPath takes the path of a file that there must be.
func setPath(to *string, v any) error {
	if v == "" {
		return fmt.Errorf(`an empty path; write something like "roomd.db"`)
	}
	return setString(to, v)
}

// setMode takes permissions.
func setMode(to *string, v any) error {
	if s, ok := v.(string); ok {
		if n, err := strconv.ParseUint(s, 8, 32); err != nil || n > 0o777 {
			return fmt.Errorf(`%q is not a file mode; write it in octal, like "0660"`, s)
		}
	}
	return setString(to, v)
}

// setAddrPort takes where to listen, or "".
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

func setNames(to *[]string, v any) error { return setStrings(to, v, `["lobby"]`) }

func setStrings(to *[]string, v any, example string) error {
	list, ok := v.([]any)
	strs := make([]string, 0, len(list))
	for _, e := range list {
		s, is := e.(string)
		ok = ok && is
		strs = append(strs, s)
	}
	if !ok {
		return fmt.Errorf("%s is not a list of strings; write it like %s", quoted(v), example)
	}
	*to = strs
	return nil
}

func setAddrs(to *[]netip.Addr, v any) error {
	const example = `["127.0.0.1", "::1"]`
	var strs []string
	if err := setStrings(&strs, v, example); err != nil {
		return err
	}
	if len(strs) == 0 {
		return fmt.Errorf("there must be an address to listen on; write it like %s", example)
	}
	var addrs []netip.Addr
	for _, s := range strs {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("%q is not an IP address; write addresses like %s", s, example)
		}
		a = a.Unmap()
		for _, b := range addrs {
			if a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified()) {
				return fmt.Errorf("%s and %s overlap; write one of them", b, a)
			}
		}
		addrs = append(addrs, a)
	}
	*to = addrs
	return nil
}

// setRate takes a rate, or 0 for no limit.
func setRate(to *float64, v any) error {
	if v == int64(0) || v == 0.0 {
		*to = 0
		return nil
	}
	if err := setFloat(to, v); err != nil {
		return fmt.Errorf("%w, or 0 for no limit", err)
	}
	return nil
}

func setPrefixes(to *[]netip.Prefix, v any) error {
	const example = `["127.0.0.0/8", "192.0.2.1"]`
	var strs []string
	if err := setStrings(&strs, v, example); err != nil {
		return err
	}
	prefixes := make([]netip.Prefix, 0, len(strs))
	for _, s := range strs {
		p, err := netsvc.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = a.Unmap().Prefix(a.Unmap().BitLen())
		}
		if err != nil || p != p.Masked() {
			return fmt.Errorf("%q is not an address or a network; write them like %s", s, example)
		}
		prefixes = append(prefixes, p)
	}
	*to = prefixes
	return nil
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
