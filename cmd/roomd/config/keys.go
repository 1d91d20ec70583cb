package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"roomd/admin/value"
)

// Effect says when a new value of a key takes effect. config.toml says it at each key.
type Effect int

const (
	OnReload     Effect = iota
	OnUpgrade           // in the new process of an upgrade
	OnRestart           // the server has to stop and start again
	OnFirstStart        // only at the first start
)

// key is one key of the configuration.
type key struct {
	name   string
	effect Effect

	// set takes the value as the TOML package returns it. The error says what is wrong and
	// what to write.
	set    func(c *Config, v any) error
	reset  func(c *Config) // to the default
	format func(c *Config) string
	copy   func(to, from *Config)
	secret bool // nobody is shown the value
}

// keys lists all keys, in the order of config.toml: the effect of a new value, the field of
// Config, the default, and the allowed values.
var keys = []key{
	field("server.listen", OnReload, func(c *Config) *[]netip.Addr { return &c.Server.Listen }, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, setAddrs),
	number("server.port", func(c *Config) *int { return &c.Server.Port }, 8080, value.Ports),
	field("server.advertise", OnReload, func(c *Config) *Advertise { return &c.Server.Advertise }, Advertise{}, setAdvertise),
	field("server.proxies", OnReload, func(c *Config) *[]netip.Prefix { return &c.Server.Proxies }, []netip.Prefix{}, setPrefixes),
	field("server.data", OnRestart, func(c *Config) *string { return &c.Server.Data }, "roomd.db", setPath),
	field("server.create", OnFirstStart, func(c *Config) *[]string { return &c.Server.Create }, []string{"lobby"}, setNames),
	field("rooms.ports", OnReload, func(c *Config) *PortRange { return &c.Rooms.Ports }, PortRange{9000, 9999}, setPorts),
	number("rooms.max", func(c *Config) *int { return &c.Rooms.Max }, 64, upTo(60000)),
	number("rooms.replay", func(c *Config) *int { return &c.Rooms.Replay }, 20, value.Replay),
	number("rooms.quiet_above", func(c *Config) *int { return &c.Rooms.QuietAbove }, 50, value.QuietAbove),
	duration("rooms.trash", OnReload, func(c *Config) *time.Duration { return &c.Rooms.Trash }, 24*time.Hour, value.Times{Most: value.Forever}),
	number("rooms.trash_bytes", func(c *Config) *int { return &c.Rooms.TrashBytes }, 1<<30, value.Numbers{Least: 1 << 20, Most: value.Unlimited, Zero: value.NoLimit}),
	number("limits.members", func(c *Config) *int { return &c.Limits.Members }, 256, value.Members),
	number("limits.connections", func(c *Config) *int { return &c.Limits.Connections }, 10000, upTo(value.Unlimited)),
	number("limits.per_address", func(c *Config) *int { return &c.Limits.PerAddress }, 0, upTo(value.Unlimited)),
	field("limits.connects_per_second", OnReload, func(c *Config) *float64 { return &c.Limits.ConnectsPerSecond }, 50, setRate),
	field("limits.requests_per_second", OnReload, func(c *Config) *float64 { return &c.Limits.RequestsPerSecond }, 20, setRate),
	field("limits.rate_exempt", OnReload, func(c *Config) *[]netip.Prefix { return &c.Limits.RateExempt }, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, setPrefixes),
	field("limits.line_bytes", OnReload, func(c *Config) *int { return &c.Limits.LineBytes }, 4096, setLineBytes),
	field("limits.lines_per_second", OnReload, func(c *Config) *float64 { return &c.Limits.LinesPerSecond }, 20, setRate),
	number("limits.burst", func(c *Config) *int { return &c.Limits.Burst }, 40, upTo(value.Unlimited)),
	number("limits.max_lag", func(c *Config) *int { return &c.Limits.MaxLag }, 100000, upTo(value.Unlimited)),
	duration("limits.dead_peer", OnReload, func(c *Config) *time.Duration { return &c.Limits.DeadPeer }, time.Minute, value.Times{Least: 5 * time.Second, Most: value.Forever}),
	duration("limits.master_idle", OnReload, func(c *Config) *time.Duration { return &c.Limits.MasterIdle }, 5*time.Minute, value.Times{Least: time.Second, Most: value.Forever, Zero: value.NoLimit}),
	field("history.durability", OnUpgrade, func(c *Config) *string { return &c.History.Durability }, "commit", oneOf("commit", "relaxed")),
	duration("history.flush_interval", OnUpgrade, func(c *Config) *time.Duration { return &c.History.FlushInterval }, 50*time.Millisecond, value.Times{Least: time.Millisecond, Most: 10 * time.Second}),
	number("history.lines", func(c *Config) *int { return &c.History.Lines }, 100000, value.Lines),
	number("history.bytes", func(c *Config) *int { return &c.History.Bytes }, 64<<20, value.Numbers{Least: 1 << 20, Most: value.Unlimited, Zero: value.NoLimit}),
	duration("history.age", OnReload, func(c *Config) *time.Duration { return &c.History.Age }, 0, value.Age),
	field("access.create", OnReload, func(c *Config) *string { return &c.Access.Create }, "anyone", oneOf("anyone", "operator")),
	field("access.delete", OnReload, func(c *Config) *string { return &c.Access.Delete }, "auto", oneOf("auto", "anyone", "creator", "operator")),
	field("tls.cert", OnReload, func(c *Config) *string { return &c.TLS.Cert }, "", setString),
	field("tls.key", OnReload, func(c *Config) *string { return &c.TLS.Key }, "", setString),
	field("irc.listen", OnUpgrade, func(c *Config) *[]netip.AddrPort { return &c.IRC.Listen }, ircListen(ircPort), setAddrPorts),
	field("irc.name", OnReload, func(c *Config) *string { return &c.IRC.Name }, "", setServerName),
	field("irc.network", OnReload, func(c *Config) *string { return &c.IRC.Network }, "roomd", setNetwork),
	secret(field("irc.password", OnReload, func(c *Config) *string { return &c.IRC.Password }, "", setPassword)),
	duration("irc.resume", OnReload, func(c *Config) *time.Duration { return &c.IRC.Resume }, 7*24*time.Hour, value.Times{Most: 31 * 24 * time.Hour}),
	number("irc.replay", func(c *Config) *int { return &c.IRC.Replay }, 1000, value.Replay),
	field("web.listen", OnUpgrade, func(c *Config) *WebListen { return &c.Web.Listen }, WebListen{Master: true}, setWebListen),
	field("web.hosts", OnReload, func(c *Config) *[]string { return &c.Web.Hosts }, []string{}, setHosts),
	field("web.proxies", OnReload, func(c *Config) *[]netip.Prefix { return &c.Web.Proxies }, []netip.Prefix{}, setPrefixes),
	field("web.title", OnReload, func(c *Config) *string { return &c.Web.Title }, "roomd", setTitle),
	field("admin.socket", OnUpgrade, func(c *Config) *string { return &c.Admin.Socket }, "roomd.sock", setString),
	field("admin.mode", OnReload, func(c *Config) *string { return &c.Admin.Mode }, "0660", setMode),
	field("admin.group", OnReload, func(c *Config) *string { return &c.Admin.Group }, "", setString),
	field("metrics.listen", OnReload, func(c *Config) *string { return &c.Metrics.Listen }, "", setAddrPort),
	field("metrics.per_room", OnReload, func(c *Config) *bool { return &c.Metrics.PerRoom }, false, setBool),
	field("metrics.profiles", OnReload, func(c *Config) *bool { return &c.Metrics.Profiles }, false, setBool),
	field("log.level", OnReload, func(c *Config) *string { return &c.Log.Level }, "info", oneOf("debug", "info", "warn", "error")),
	field("log.format", OnReload, func(c *Config) *string { return &c.Log.Format }, "text", oneOf("text", "json")),
}

// field makes a key; at returns its field of a Config.
func field[T any](name string, effect Effect, at func(*Config) *T, def T, set func(to *T, v any) error) key {
	return key{
		name: name, effect: effect,
		set:   func(c *Config, v any) error { return set(at(c), v) },
		reset: func(c *Config) { *at(c) = def },
		format: func(c *Config) string {
			text := fmt.Sprint(*at(c))
			if list, ok := strings.CutSuffix(text, "]"); ok {
				return strings.TrimPrefix(list, "[")
			}
			return text
		},
		copy: func(to, from *Config) { *at(to) = *at(from) },
	}
}

// secret makes a key whose value nobody is shown.
func secret(k key) key {
	k.secret = true
	return k
}

// shown is a value of the key for people.
func (k *key) shown(text string) string {
	if k.secret && text != "" {
		return "(secret)"
	}
	return text
}

// The ports of IRC, plain and with TLS (RFC 7194).
const ircPort, ircTLSPort = 6667, 6697

// ircListen is the default of irc.listen.
func ircListen(port uint16) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
}

// number makes a key with a whole number in a range. A reload changes it.
func number(name string, at func(*Config) *int, def int, in value.Numbers) key {
	return field(name, OnReload, at, def, func(to *int, v any) error { return setInt(to, v, in) })
}

// upTo is the range of a limit.
func upTo(most int64) value.Numbers { return value.Numbers{Least: 1, Most: most, Zero: value.NoLimit} }

// duration makes a key with a time in a range.
func duration(name string, effect Effect, at func(*Config) *time.Duration, def time.Duration, in value.Times) key {
	return field(name, effect, at, def, func(to *time.Duration, v any) error { return setDuration(to, v, in) })
}

// Setting is a key with its value and its default as text.
type Setting struct {
	Key, Value, Default string
	Effect              Effect // of a new value
}

// Settings returns all keys with their values, in the order of config.toml.
func (c *Config) Settings() []Setting {
	all, defaults := make([]Setting, len(keys)), Default()
	for i, k := range keys {
		all[i] = Setting{k.name, k.shown(k.format(c)), k.shown(k.format(defaults)), k.effect}
	}
	return all
}

// Value returns the value of a key as text. The key must exist.
func (c *Config) Value(name string) string {
	k := keys[slices.IndexFunc(keys, func(k key) bool { return k.name == name })]
	return k.shown(k.format(c))
}
