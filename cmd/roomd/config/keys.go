package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Effect is when a new value of a key counts. config.toml says it at each key.
type Effect int

const (
	OnReload  Effect = iota
	OnUpgrade        // in the process that takes over
	OnRestart        // it cannot be changed while there are members
	AtFirst          // at the first start only
)

// key is one key of the configuration.
type key struct {
	name   string
	effect Effect

	// Of a whole number: its bounds; a most of noLimit is none.
	least, most int64

	// set takes the value as TOML has it and says what is wrong with it and what would
	// be right.
	set  func(c *Config, v any) error
	text func(c *Config) string
	copy func(to, from *Config)
}

const noLimit = 1 << 40

// keys is the one place that lists the keys, in the order of config.toml.
var keys = []key{
	field("server.listen", OnReload, func(c *Config) *[]netip.Addr { return &c.Server.Listen }, setAddrs),
	number("server.port", OnReload, func(c *Config) *int { return &c.Server.Port }, 1, 65535),
	field("server.data", OnRestart, func(c *Config) *string { return &c.Server.Data }, notEmpty),
	field("server.create", AtFirst, func(c *Config) *[]string { return &c.Server.Create }, setNames),
	field("rooms.ports", OnReload, func(c *Config) *PortRange { return &c.Rooms.Ports }, setPorts),
	number("rooms.max", OnReload, func(c *Config) *int { return &c.Rooms.Max }, 0, 60000),
	number("rooms.replay", OnReload, func(c *Config) *int { return &c.Rooms.Replay }, 0, 10000),
	number("rooms.quiet_above", OnReload, func(c *Config) *int { return &c.Rooms.QuietAbove }, 0, noLimit),
	duration("rooms.trash", OnReload, func(c *Config) *time.Duration { return &c.Rooms.Trash }, 0, 0, noLimit),
	field("rooms.trash_bytes", OnReload, func(c *Config) *int { return &c.Rooms.TrashBytes }, setSize),
	number("limits.members", OnReload, func(c *Config) *int { return &c.Limits.Members }, 0, 1000000),
	number("limits.connections", OnReload, func(c *Config) *int { return &c.Limits.Connections }, 0, noLimit),
	number("limits.per_address", OnReload, func(c *Config) *int { return &c.Limits.PerAddress }, 0, noLimit),
	field("limits.connects_per_second", OnReload, func(c *Config) *float64 { return &c.Limits.ConnectsPerSecond }, setRate),
	field("limits.requests_per_second", OnReload, func(c *Config) *float64 { return &c.Limits.RequestsPerSecond }, setRate),
	field("limits.rate_exempt", OnReload, func(c *Config) *[]netip.Prefix { return &c.Limits.RateExempt }, setPrefixes),
	field("limits.line_bytes", OnReload, func(c *Config) *int { return &c.Limits.LineBytes }, setLineBytes),
	field("limits.lines_per_second", OnReload, func(c *Config) *float64 { return &c.Limits.LinesPerSecond }, setRate),
	number("limits.burst", OnReload, func(c *Config) *int { return &c.Limits.Burst }, 0, noLimit),
	number("limits.max_lag", OnReload, func(c *Config) *int { return &c.Limits.MaxLag }, 0, noLimit),
	duration("limits.dead_peer", OnReload, func(c *Config) *time.Duration { return &c.Limits.DeadPeer }, 5*time.Second, 5*time.Second, noLimit),
	duration("limits.master_idle", OnReload, func(c *Config) *time.Duration { return &c.Limits.MasterIdle }, 0, time.Second, noLimit),
	field("history.durability", OnUpgrade, func(c *Config) *string { return &c.History.Durability }, oneOf("commit", "relaxed")),
	duration("history.flush_interval", OnUpgrade, func(c *Config) *time.Duration { return &c.History.FlushInterval }, time.Millisecond, time.Millisecond, 10*time.Second),
	number("history.lines", OnReload, func(c *Config) *int { return &c.History.Lines }, 0, noLimit),
	field("history.bytes", OnReload, func(c *Config) *int { return &c.History.Bytes }, setSize),
	duration("history.age", OnReload, func(c *Config) *time.Duration { return &c.History.Age }, 0, 0, noLimit),
	field("access.create", OnReload, func(c *Config) *string { return &c.Access.Create }, oneOf("anyone", "operator")),
	field("access.delete", OnReload, func(c *Config) *string { return &c.Access.Delete }, oneOf("auto", "anyone", "creator", "operator")),
	field("tls.cert", OnReload, func(c *Config) *string { return &c.TLS.Cert }, setString),
	field("tls.key", OnReload, func(c *Config) *string { return &c.TLS.Key }, setString),
	field("admin.socket", OnUpgrade, func(c *Config) *string { return &c.Admin.Socket }, setString),
	field("admin.mode", OnReload, func(c *Config) *string { return &c.Admin.Mode }, setMode),
	field("admin.group", OnReload, func(c *Config) *string { return &c.Admin.Group }, setString),
	field("metrics.listen", OnReload, func(c *Config) *string { return &c.Metrics.Listen }, setAddrPort),
	field("metrics.per_room", OnReload, func(c *Config) *bool { return &c.Metrics.PerRoom }, setBool),
	field("metrics.profiles", OnReload, func(c *Config) *bool { return &c.Metrics.Profiles }, setBool),
	field("log.level", OnReload, func(c *Config) *string { return &c.Log.Level }, oneOf("debug", "info", "warn", "error")),
	field("log.format", OnReload, func(c *Config) *string { return &c.Log.Format }, oneOf("text", "json")),
}

// field is a key whose value at finds in a configuration.
func field[T any](name string, effect Effect, at func(*Config) *T, set func(to *T, v any) error) key {
	return key{
		name: name, effect: effect,
		set:  func(c *Config, v any) error { return set(at(c), v) },
		text: func(c *Config) string { return strings.Trim(fmt.Sprint(*at(c)), "[]") },
		copy: func(to, from *Config) { *at(to) = *at(from) },
	}
}

// number is a key that takes a whole number from least to most.
func number(name string, effect Effect, at func(*Config) *int, least int, most int64) key {
	k := field(name, effect, at, func(to *int, v any) error { return setInt(to, v, least, most) })
	k.least, k.most = int64(least), most
	return k
}

// duration is a key that takes a time; see setDuration.
func duration(name string, effect Effect, at func(*Config) *time.Duration, zero, least, most time.Duration) key {
	return field(name, effect, at, func(to *time.Duration, v any) error { return setDuration(to, v, zero, least, most) })
}

// Bounds are those of a key that takes a whole number; of any other key they are 0.
// Settings of a room have the same as the key that holds for all rooms. There must be a
// key of that name.
func Bounds(name string) (least, most int64) {
	k := find(name)
	return k.least, k.most
}

// find is the key of that name, which there must be.
func find(name string) key {
	for _, k := range keys {
		if k.name == name {
			return k
		}
	}
	panic("config: there is no key " + name)
}
