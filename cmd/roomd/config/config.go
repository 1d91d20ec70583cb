package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Config is a configuration; config.toml explains its keys. Once several goroutines use a
// Config, none of them changes it.
type Config struct {
	Path string // of the file; empty: the defaults

	// Ignored is a warning about a file that Load has not used, or "".
	Ignored string

	// Activated are the addresses on which the service manager has opened the master port,
	// instead of server.listen and server.port. The server sets them; no key does.
	Activated []netip.AddrPort

	Server struct {
		Listen    []netip.Addr
		Port      int
		Advertise Advertise
		Proxies   []netip.Prefix
		Data      string
		Create    []string
	}
	Rooms struct {
		Ports      PortRange
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
	IRC     IRC
	Web     Web
	Admin   struct{ Socket, Mode, Group string }
	Metrics struct {
		Listen   string
		PerRoom  bool
		Profiles bool
	}
	Log struct{ Level, Format string }
}

// IRC is how IRC clients reach the rooms.
type IRC struct {
	Listen   []netip.AddrPort // empty: they do not
	Name     string           // of the server; empty: that of the machine
	Network  string
	Password string
	Resume   time.Duration
	Replay   int
}

// Web is how browsers reach the rooms.
type Web struct {
	Listen  WebListen
	Hosts   []string // in lower case
	Proxies []netip.Prefix
	Title   string
}

// WebListen is where the page is; the zero value: nowhere.
type WebListen struct {
	Master bool           // on the master port
	Addr   netip.AddrPort // else here
}

func (l WebListen) String() string {
	switch {
	case l.Master:
		return "master"
	case l.Addr.IsValid():
		return l.Addr.String()
	}
	return ""
}

// Addrs returns the addresses that are the page's own.
func (l WebListen) Addrs() []netip.AddrPort {
	if !l.Addr.IsValid() {
		return nil
	}
	return []netip.AddrPort{l.Addr}
}

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last int }

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Default returns the configuration without a file.
func Default() *Config {
	c := &Config{}
	for _, k := range keys {
		k.reset(c)
	}
	return c
}

// resolve makes paths relative to the file's folder.
func (c *Config) resolve(dir string) {
	for _, path := range []*string{&c.Server.Data, &c.Admin.Socket, &c.TLS.Cert, &c.TLS.Key} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

// SocketMode returns admin.mode as permissions.
func (c *Config) SocketMode() os.FileMode {
	n, err := strconv.ParseUint(c.Admin.Mode, 8, 32)
	if err != nil { // not reached: setMode has checked it
		return 0o600
	}
	return os.FileMode(n)
}

// Advertise is where clients reach the server, if that is not where it listens.
type Advertise struct {
	Host   string // empty: as they find it
	Offset int    // what is added to each port
}

func (a Advertise) String() string {
	if a.Offset == 0 {
		return a.Host
	}
	return fmt.Sprintf("%s:%+d", a.Host, a.Offset)
}

// Master is where clients reach the master port, as far as the configuration says; empty: where
// it listens.
func (c *Config) Master() string {
	a := c.Server.Advertise
	if a == (Advertise{}) {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(c.Server.Port+a.Offset))
}

// IsMaster reports whether nothing else can listen on an address because the master port does.
func (c *Config) IsMaster(a netip.AddrPort) bool {
	return int(a.Port()) == c.Server.Port && slices.ContainsFunc(c.Server.Listen, func(m netip.Addr) bool { return overlap(m, a.Addr()) })
}

// overlap reports whether two sockets cannot listen on these addresses and one port. An IPv6
// address is not one of IPv4 here (see IPV6_V6ONLY).
func overlap(a, b netip.Addr) bool {
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// PageURLs returns the URLs of the page, as far as the configuration says: the name under which clients
// reach the server, or else each address, with localhost for one that stands for this machine. Without
// a page there is none.
func (c *Config) PageURLs() (all []string) {
	scheme, port := "http", c.Server.Port
	if c.TLS.Cert != "" {
		scheme = "https"
	}
	addrs := c.Server.Listen
	switch l := c.Web.Listen; {
	case l.Addr.IsValid():
		addrs, port = []netip.Addr{l.Addr.Addr()}, int(l.Addr.Port())
	case !l.Master:
		return nil
	case len(c.Activated) > 0:
		addrs, port = nil, int(c.Activated[0].Port())
		for _, a := range c.Activated {
			addrs = append(addrs, a.Addr())
		}
	}
	if a := c.Server.Advertise; a.Host != "" {
		return []string{fmt.Sprintf("%s://%s/", scheme, net.JoinHostPort(a.Host, strconv.Itoa(port+a.Offset)))}
	}
	for _, a := range addrs {
		host := a.Unmap().String()
		if a.IsLoopback() || a.IsUnspecified() {
			host = "localhost"
		}
		if u := fmt.Sprintf("%s://%s/", scheme, net.JoinHostPort(host, strconv.Itoa(port))); !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	return all
}

// PageHosts returns the names under which the page may be reached, beside localhost and addresses: the
// name that clients are told is one.
func (c *Config) PageHosts() []string {
	all := slices.Clone(c.Web.Hosts)
	if h := lowerHost(c.Server.Advertise.Host); h != "" && !slices.Contains(all, h) {
		all = append(all, h)
	}
	return all
}

// RoomsAtMost returns the maximum number of rooms: without rooms.max one for each port.
func (c *Config) RoomsAtMost() int {
	if c.Rooms.Max > 0 {
		return c.Rooms.Max
	}
	return c.Rooms.Ports.Last - c.Rooms.Ports.First + 1
}
