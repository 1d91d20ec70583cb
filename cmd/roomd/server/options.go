package server

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"roomd/admin"
	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/output"
	"roomd/netsvc"
	"roomd/netsvc/irc"
	"roomd/netsvc/web"
	"roomd/store"
	"roomd/store/disk"
)

// The options of each package, from the configuration.

// StoreOptions returns the options of the database.
func StoreOptions(c *config.Config) store.Options {
	o := store.Options{FlushInterval: c.History.FlushInterval, Retention: retention(c)}
	if c.History.Durability == "relaxed" {
		o.Durability = store.Relaxed
	}
	return o
}

func retention(c *config.Config) store.Retention {
	return store.Retention{
		Lines: uint64(c.History.Lines), Bytes: uint64(c.History.Bytes), Age: c.History.Age,
		Trash: c.Rooms.Trash, TrashBytes: uint64(c.Rooms.TrashBytes),
	}
}

func serviceOptions(c *config.Config, log *slog.Logger, pair *certificate.Pair) netsvc.Options {
	mayDelete, _ := c.MayDelete()
	o := netsvc.Options{
		Certificate: pair.GetCertificate(),
		Listen:      c.Server.Listen, Port: c.Server.Port, PortOffset: c.Server.Advertise.Offset, Proxies: c.Server.Proxies, Ports: [2]int{c.Rooms.Ports.First, c.Rooms.Ports.Last},
		FirstRooms: c.Server.Create, MaxRooms: c.Rooms.Max, Replay: c.Rooms.Replay, QuietAbove: c.Rooms.QuietAbove,
		MaxMembers: c.Limits.Members, MaxConnections: c.Limits.Connections, MaxPerAddress: c.Limits.PerAddress,
		Rates: netsvc.Rates{
			ConnectRate: c.Limits.ConnectsPerSecond, RequestRate: c.Limits.RequestsPerSecond, RateExempt: c.Limits.RateExempt, HTTPProxies: c.Web.Proxies,
			LinesPerSecond: c.Limits.LinesPerSecond, Burst: c.Limits.Burst,
		},
		LineBytes: c.Limits.LineBytes, MaxLag: c.Limits.MaxLag,
		DeadPeer: c.Limits.DeadPeer, MasterIdle: c.Limits.MasterIdle,
		CreateAnyone: c.Access.Create == "anyone", Delete: netsvc.Policy(mayDelete), Log: log,
	}
	if len(c.Activated) > 0 {
		o.MasterGiven, o.Port = true, int(c.Activated[0].Port())
	}
	return o
}

// ircOptions returns the options of the door of IRC.
func ircOptions(c *config.Config, version string) irc.Options {
	i := c.IRC
	if i.Name == "" {
		machine, _ := os.Hostname() // on an error the name is empty
		i.Name = cmp.Or(config.CleanServerName(machine), "roomd")
	}
	return irc.Options{Name: i.Name, Host: roomsHost(c), Network: i.Network, Password: i.Password, Resume: i.Resume, Replay: i.Replay, Version: version}
}

// webOptions returns the options of the door of the web.
func webOptions(c *config.Config, version string, log *slog.Logger) web.Options {
	return web.Options{
		Version: version, Title: c.Web.Title, Host: roomsHost(c), Hosts: c.PageHosts(), Proxies: c.Web.Proxies, TLS: c.TLS.Cert != "", Log: log,
	}
}

// roomsHost returns the host at which clients reach the rooms' ports, as far as the configuration
// says; empty: it does not.
func roomsHost(c *config.Config) string {
	a := c.Server.Advertise
	away := func(l netip.Addr) bool { return !l.IsLoopback() }
	switch {
	case a.Host != "" || a.Offset != 0 || slices.ContainsFunc(c.Server.Listen, away):
		return a.Host
	case slices.ContainsFunc(c.Server.Listen, isLocalhost):
		return "localhost"
	}
	return c.Server.Listen[0].String()
}

// isLocalhost reports whether an address is what localhost stands for (RFC 6761, 6.3), and not
// another one of loopback.
func isLocalhost(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == netip.IPv6Loopback()
}

// newTap makes the handler of the log. The tap applies the level and the Log below it the
// format, so that a reload can change both.
func newTap(c *config.Config, w io.Writer) (*admin.Tap, *output.Log) {
	l := output.NewLog(w, c.Log.Format, netsvc.Printable)
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // not reached: the configuration has checked the level
	}
	return admin.NewTap(l, level), l
}

// settings returns all keys with their values, for the operator.
func settings(c *config.Config) []admin.Setting {
	var all []admin.Setting
	for _, s := range c.Settings() {
		all = append(all, admin.Setting{Key: s.Key, Value: s.Value, Default: s.Default, Changed: s.Value != s.Default})
	}
	return all
}

// ServerFiles returns the files that the server reads and writes. No command may replace
// them.
func ServerFiles(c *config.Config) (all []string) {
	for _, f := range append(store.Files(c.Server.Data), c.Admin.Socket, c.Path, c.TLS.Cert, c.TLS.Key) {
		if f != "" {
			all = append(all, f)
		}
	}
	return all
}

// RefuseServerFile returns an error if a file that a command is about to write, or to read
// as a backup, is one of the server's files.
func RefuseServerFile(c *config.Config, file string) error {
	real, err := disk.RealPath(file)
	if err != nil {
		return nil // opening the file reports the problem
	}
	if own := disk.FirstProtected(ServerFiles(c), []string{real}, []string{disk.FileID(file)}); own != "" {
		return fmt.Errorf("%s is %s, which belongs to the server", file, own)
	}
	return nil
}

// configName names the file of a configuration for people.
func configName(c *config.Config) string {
	if c.Path == "" {
		return "defaults, no file"
	}
	return absolute(c.Path)
}

// absolute makes a path independent of the current folder.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
