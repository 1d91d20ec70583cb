package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"roomd/admin"
	"roomd/netsvc"
)

// Config is the configuration in effect. config.toml says what its keys mean.
type Config struct {
	Path string // the file it is from; empty: the defaults alone

	// PassedOver is a sentence about a file that was not taken, or "".
	PassedOver string

	// Activated is where the service manager has opened the master port, instead
	// of server.listen and server.port. It is not from the file.
	Activated []netip.AddrPort

	Server struct {
		Listen []netip.Addr
		Port   int
		Data   string
		Create []string
	}
	Rooms struct {
		Ports      portRange
		Max        int
		Replay     int
		QuietAbove int
		Trash      time.Duration
		TrashBytes int
	}
	Limits struct {
		Members           int
		Connections       int
		PerAddress        int
		ConnectsPerSecond float64
		RequestsPerSecond float64
		RateExempt        []netip.Prefix
		LineBytes         int
		LinesPerSecond    float64
		Burst             int
		MaxLag            int
		DeadPeer          time.Duration
		MasterIdle        time.Duration
	}
	History struct {
		Durability    string
		FlushInterval time.Duration
		Lines         int
		Bytes         int
		Age           time.Duration
	}
	Access  struct{ Create, Delete string }
	TLS     struct{ Cert, Key string }
	Admin   struct{ Socket, Mode, Group string }
	Metrics struct {
		Listen   string
		PerRoom  bool
		Profiles bool
	}
	Log struct{ Level, Format string }
}

type portRange struct{ First, Last int }

func (r portRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// effect is when a new value of a key counts. config.toml says it at each key.
type effect int

const (
	onReload  effect = iota
	onUpgrade        // in the process that takes over
	onRestart        // it cannot be changed while there are members
	atFirst          // at the first start only
)

// key is one key of the configuration. set takes the value as TOML has it and
// says what is wrong with it and what would be right.
type key struct {
	name   string
	effect effect
	set    func(c *Config, v any) error
}

const noLimit = 1 << 40

// schema is the one place that lists the keys, in the order of config.toml.
var schema = []key{
	{"server.listen", onReload, func(c *Config, v any) error { return setAddrs(&c.Server.Listen, v) }},
	{"server.port", onReload, func(c *Config, v any) error { return setInt(&c.Server.Port, v, 1, 65535) }},
	{"server.data", onRestart, func(c *Config, v any) error {
		if v == "" {
			return fmt.Errorf(`an empty path; write something like "roomd.db"`)
		}
		return setString(&c.Server.Data, v)
	}},
	{"server.create", atFirst, func(c *Config, v any) error { return setStrings(&c.Server.Create, v, `["lobby"]`) }},
	{"rooms.ports", onReload, func(c *Config, v any) error { return setPorts(&c.Rooms.Ports, v) }},
	{"rooms.max", onReload, func(c *Config, v any) error { return setInt(&c.Rooms.Max, v, 0, 60000) }},
	{"rooms.replay", onReload, func(c *Config, v any) error { return setInt(&c.Rooms.Replay, v, 0, 10000) }},
	{"rooms.quiet_above", onReload, func(c *Config, v any) error { return setInt(&c.Rooms.QuietAbove, v, 0, noLimit) }},
	{"rooms.trash", onReload, func(c *Config, v any) error { return setDuration(&c.Rooms.Trash, v, 0, 0, noLimit) }},
	{"rooms.trash_bytes", onReload, func(c *Config, v any) error { return setSize(&c.Rooms.TrashBytes, v) }},
	{"limits.members", onReload, func(c *Config, v any) error { return setInt(&c.Limits.Members, v, 0, 1000000) }},
	{"limits.connections", onReload, func(c *Config, v any) error { return setInt(&c.Limits.Connections, v, 0, noLimit) }},
	{"limits.per_address", onReload, func(c *Config, v any) error { return setInt(&c.Limits.PerAddress, v, 0, noLimit) }},
	{"limits.connects_per_second", onReload, func(c *Config, v any) error { return setRate(&c.Limits.ConnectsPerSecond, v) }},
	{"limits.requests_per_second", onReload, func(c *Config, v any) error { return setRate(&c.Limits.RequestsPerSecond, v) }},
	{"limits.rate_exempt", onReload, func(c *Config, v any) error { return setPrefixes(&c.Limits.RateExempt, v) }},
	{"limits.line_bytes", onReload, func(c *Config, v any) error {
		const most = 65536 // which is what there is without a limit: a line has to be in memory
		if v == int64(0) {
			v = int64(most)
		}
		if err := setInt(&c.Limits.LineBytes, v, 64, most); err != nil {
			return fmt.Errorf("%w, or 0 for the most", err)
		}
		return nil
	}},
	{"limits.lines_per_second", onReload, func(c *Config, v any) error { return setRate(&c.Limits.LinesPerSecond, v) }},
	{"limits.burst", onReload, func(c *Config, v any) error { return setInt(&c.Limits.Burst, v, 0, noLimit) }},
	{"limits.max_lag", onReload, func(c *Config, v any) error { return setInt(&c.Limits.MaxLag, v, 0, noLimit) }},
	{"limits.dead_peer", onReload, func(c *Config, v any) error {
		return setDuration(&c.Limits.DeadPeer, v, 5*time.Second, 5*time.Second, noLimit)
	}},
	{"limits.master_idle", onReload, func(c *Config, v any) error { return setDuration(&c.Limits.MasterIdle, v, 0, time.Second, noLimit) }},
	{"history.durability", onUpgrade, func(c *Config, v any) error { return setWord(&c.History.Durability, v, "commit", "relaxed") }},
	{"history.flush_interval", onUpgrade, func(c *Config, v any) error {
		return setDuration(&c.History.FlushInterval, v, time.Millisecond, time.Millisecond, 10*time.Second)
	}},
	{"history.lines", onReload, func(c *Config, v any) error { return setInt(&c.History.Lines, v, 0, noLimit) }},
	{"history.bytes", onReload, func(c *Config, v any) error { return setSize(&c.History.Bytes, v) }},
	{"history.age", onReload, func(c *Config, v any) error { return setDuration(&c.History.Age, v, 0, 0, noLimit) }},
	{"access.create", onReload, func(c *Config, v any) error { return setWord(&c.Access.Create, v, "anyone", "operator") }},
	{"access.delete", onReload, func(c *Config, v any) error {
		return setWord(&c.Access.Delete, v, "auto", "anyone", "creator", "operator")
	}},
	{"tls.cert", onReload, func(c *Config, v any) error { return setString(&c.TLS.Cert, v) }},
	{"tls.key", onReload, func(c *Config, v any) error { return setString(&c.TLS.Key, v) }},
	{"admin.socket", onUpgrade, func(c *Config, v any) error { return setString(&c.Admin.Socket, v) }},
	{"admin.mode", onReload, func(c *Config, v any) error {
		if s, ok := v.(string); ok {
			if n, err := strconv.ParseUint(s, 8, 32); err != nil || n > 0o777 {
				return fmt.Errorf(`%q is not a file mode; write it in octal, like "0660"`, s)
			}
		}
		return setString(&c.Admin.Mode, v)
	}},
	{"admin.group", onReload, func(c *Config, v any) error { return setString(&c.Admin.Group, v) }},
	{"metrics.listen", onReload, func(c *Config, v any) error {
		if s, ok := v.(string); ok && s != "" {
			if _, port, err := net.SplitHostPort(s); err != nil || !isPort(port) {
				return fmt.Errorf(`%q is not an address; write HOST:PORT, like "127.0.0.1:9180"`, s)
			}
		}
		return setString(&c.Metrics.Listen, v)
	}},
	{"metrics.per_room", onReload, func(c *Config, v any) error { return setBool(&c.Metrics.PerRoom, v) }},
	{"metrics.profiles", onReload, func(c *Config, v any) error { return setBool(&c.Metrics.Profiles, v) }},
	{"log.level", onReload, func(c *Config, v any) error { return setWord(&c.Log.Level, v, "debug", "info", "warn", "error") }},
	{"log.format", onReload, func(c *Config, v any) error { return setWord(&c.Log.Format, v, "text", "json") }},
}

func defaults() *Config {
	c := &Config{}
	c.Server.Listen = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	c.Server.Port = 8080
	c.Server.Data = "roomd.db"
	c.Server.Create = []string{"lobby"}
	c.Rooms.Ports = portRange{9000, 9999}
	c.Rooms.Max = 64
	c.Rooms.Replay = 20
	c.Rooms.QuietAbove = 50
	c.Rooms.Trash = 24 * time.Hour
	c.Rooms.TrashBytes = 1 << 30
	c.Limits.Members = 256
	c.Limits.Connections = 10000
	c.Limits.ConnectsPerSecond = 50
	c.Limits.RequestsPerSecond = 20
	c.Limits.RateExempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	c.Limits.LineBytes = 4096
	c.Limits.LinesPerSecond = 20
	c.Limits.Burst = 40
	c.Limits.MaxLag = 100000
	c.Limits.DeadPeer = time.Minute
	c.Limits.MasterIdle = 5 * time.Minute
	c.History.Durability = "commit"
	c.History.FlushInterval = 50 * time.Millisecond
	c.History.Lines = 100000
	c.History.Bytes = 64 << 20
	c.Access.Create = "anyone"
	c.Access.Delete = "auto"
	c.Admin.Socket = "roomd.sock"
	c.Admin.Mode = "0660"
	c.Log.Level = "info"
	c.Log.Format = "text"
	return c
}

// shown is a value as it stands in the file.
func shown(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(v)
}

func setInt(to *int, v any, least int, most int64) error {
	n, ok := v.(int64)
	switch {
	case !ok:
		return fmt.Errorf("%s is not a whole number; write one like %d", shown(v), max(least, *to))
	case n < int64(least) && most == noLimit:
		return fmt.Errorf("%d is too small; write %d or more", n, least)
	case n < int64(least) || n > min(most, math.MaxInt):
		return fmt.Errorf("%d is out of range; write a number from %d to %d", n, least, min(most, math.MaxInt))
	}
	*to = int(n)
	return nil
}

// setSize takes what is kept of something on disk, or 0 for no limit.
func setSize(to *int, v any) error {
	if v == int64(0) {
		*to = 0
		return nil
	}
	if err := setInt(to, v, 1<<20, noLimit); err != nil {
		return fmt.Errorf("%w, or 0 for no limit", err)
	}
	return nil
}

func setFloat(to *float64, v any) error {
	n, ok := v.(float64)
	if i, whole := v.(int64); whole {
		n, ok = float64(i), true
	}
	if !ok || !(n > 0 && n <= 1e9) {
		return fmt.Errorf("%s is not a rate; write a number above 0, like 20.0", shown(v))
	}
	*to = n
	return nil
}

func setBool(to *bool, v any) error {
	b, ok := v.(bool)
	if !ok {
		return fmt.Errorf("%s is neither true nor false; write it without quotes", shown(v))
	}
	*to = b
	return nil
}

func setString(to *string, v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s is not a string; write it in quotes", shown(v))
	}
	*to = s
	return nil
}

func setWord(to *string, v any, words ...string) error {
	for _, w := range words {
		if v == w {
			*to = w
			return nil
		}
	}
	return fmt.Errorf(`%s is none of its values; write one of "%s"`, shown(v), strings.Join(words, `", "`))
}

// setDuration takes zero if zero is 0, else what is from least to most.
func setDuration(to *time.Duration, v any, zero, least, most time.Duration) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf(`%s has no unit; write a string like "%vs"`, shown(v), v)
	}
	d, err := admin.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`%q is not a time; write a number with a unit, like "30s", "5m", "24h" or "30d"`, s)
	}
	switch {
	case d == 0 && zero == 0:
	case d < least && most == noLimit && zero < least:
		return fmt.Errorf("%q is too short; write %v or more, or 0s for no limit", s, least)
	case d < least && most == noLimit:
		return fmt.Errorf("%q is too short; write %v or more", s, least)
	case most != noLimit && (d < least || d > most):
		return fmt.Errorf("%q is out of range; write a time from %v to %v", s, least, most)
	}
	*to = d
	return nil
}

func setStrings(to *[]string, v any, example string) error {
	list, ok := v.([]any)
	strs := make([]string, 0, len(list))
	for _, e := range list {
		s, is := e.(string)
		ok = ok && is
		strs = append(strs, s)
	}
	if !ok {
		return fmt.Errorf("%s is not a list of strings; write it like %s", shown(v), example)
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

func setPorts(to *portRange, v any) error {
	s, _ := v.(string)
	a, b, ok := strings.Cut(s, "-")
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if !ok || !isPort(a) || !isPort(b) {
		return fmt.Errorf(`%s is not a range of ports; write it like "9000-9999"`, shown(v))
	}
	first, _ := strconv.Atoi(a)
	last, _ := strconv.Atoi(b)
	if first > last {
		return fmt.Errorf(`%q runs backwards; write it as "%d-%d"`, s, last, first)
	}
	*to = portRange{first, last}
	return nil
}
