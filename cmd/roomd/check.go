package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"roomd/admin"
	"roomd/admin/english"
	"roomd/cmd/roomd/certificate"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/usage"
	"roomd/netsvc/wire"
	"roomd/store"
	"roomd/store/disk"
)

func newCheck() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check whether the server could start, and say what the configuration amounts to",
		Long: `Check whether the server could start with the configuration, and say what that
amounts to. All mistakes are reported at once, each with its line and what would
be right; and then what serve would find: files and folders that are missing or
not to be read or written, ports that are taken, certificates that are not valid
now. What serve would go on without is a warning: a group that is unknown, an
address that is not there. Root looks with the rights of the owner of
server.data. Nothing is changed. While the server runs its own ports are not
tried.

Exit status: 0 the server could start, perhaps with warnings, 1 it could not, or
could not serve, 2 wrong usage.`,
		Example: `  roomd check
  roomd check --config /etc/roomd/config.toml`,
		Args: usage.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check(file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE`")
	return cmd
}

// check prints what a configuration amounts to, or all that is wrong with it.
func check(file string, out, errw io.Writer) error {
	cfg, err := config.Load(file, 0)
	var mistakes config.Mistakes
	if errors.As(err, &mistakes) {
		fmt.Fprintln(errw, mistakes)
		fmt.Fprintln(errw, english.Plural(len(mistakes), "mistake"))
		return errTold
	}
	if err != nil {
		return err
	}
	name := cfg.Path
	if name == "" {
		name = "no file, the defaults"
	}
	t := &trial{cfg: cfg, owner: ownerOf(cfg.Server.Data), now: time.Now()}
	if err := t.owner.do(t.run); err != nil {
		return err
	}
	warnings := t.warnings
	if cfg.PassedOver != "" {
		warnings = append(warnings, cfg.PassedOver)
	}
	if len(t.failures) > 0 {
		for _, f := range t.failures {
			fmt.Fprintln(errw, wire.CleanString(f))
		}
		for _, w := range warnings {
			fmt.Fprintln(errw, "warning: "+wire.CleanString(w))
		}
		fmt.Fprintf(errw, "%s: %s\n", name, english.Plural(len(t.failures), "failure"))
		return errTold
	}
	fmt.Fprintf(out, "%s: ok\n", name)
	fmt.Fprintf(out, "  master port  %s\n", masterAddresses(cfg))
	fmt.Fprintf(out, "  rooms        %d at most, on ports %v\n", cfg.RoomsAtMost(), cfg.Rooms.Ports)
	fmt.Fprintf(out, "  database     %s%s\n", cfg.Server.Data, t.state)
	fmt.Fprintf(out, "  durability   %s\n", cfg.History.Durability)
	fmt.Fprintf(out, "  may create   %s\n", cfg.Access.Create)
	may, why := cfg.MayDelete()
	fmt.Fprintf(out, "  may delete   %s (%s)\n", may, why)
	if t.until != nil {
		fmt.Fprintf(out, "  TLS          on every port; the certificate is good until %s\n", t.until.Format(time.DateOnly))
	}
	warnings = append(warnings, cfg.Risks()...)
	if w := cfg.FitDescriptors(); w != "" {
		warnings = append(warnings, w)
	}
	for _, w := range warnings {
		fmt.Fprintf(out, "warning: %s\n", wire.CleanString(w))
	}
	return nil
}

// masterAddresses is where the master port is to listen.
func masterAddresses(c *config.Config) string {
	var all []string
	for _, a := range c.Server.Listen {
		all = append(all, netip.AddrPortFrom(a, uint16(c.Server.Port)).String())
	}
	return strings.Join(all, " ")
}

// trial tries what serve does, without doing it.
type trial struct {
	cfg   *config.Config
	owner owner
	now   time.Time

	failures, warnings []string
	running            bool   // a server has the database
	state              string // of the database, for people
	until              *time.Time
}

func (t *trial) fail(key, format string, args ...any) {
	t.failures = append(t.failures, key+": "+fmt.Sprintf(format, args...))
}

func (t *trial) warn(key, format string, args ...any) {
	t.warnings = append(t.warnings, key+": "+fmt.Sprintf(format, args...))
}

// may fails if the owner has not these rights to a file or a folder.
func (t *trial) may(key, path string, mode uint32) bool {
	err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	if err != nil {
		t.fail(key, "%v", t.as(&fs.PathError{Op: "use", Path: path, Err: err}))
	}
	return err == nil
}

// as is an error that the owner has got.
func (t *trial) as(err error) error {
	if t.owner.name != "" && (errors.Is(err, fs.ErrPermission)) {
		return fmt.Errorf("%w (as %s)", err, t.owner.name)
	}
	return err
}

const (
	toRead   = unix.R_OK
	toWrite  = unix.R_OK | unix.W_OK
	toChange = unix.W_OK | unix.X_OK // a folder
)

// run has the owner's rights.
func (t *trial) run() {
	if c := t.cfg; c.Path != "" {
		t.may("configuration", c.Path, toRead)
	}
	t.database()
	t.certificate()
	t.console()
	t.addresses()
}

func (t *trial) database() {
	const key = "server.data"
	path, err := disk.Real(t.cfg.Server.Data)
	if err != nil {
		t.fail(key, "%v", t.as(err))
		return
	}
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); err != nil {
		t.fail(key, "%v; make the folder", t.as(err))
		return
	} else if !st.IsDir() {
		t.fail(key, "%s is not a folder", dir)
		return
	}
	right := t.may(key, dir, toChange)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.state = ", which is made at the first start"
		t.firstRooms()
		return
	case err != nil:
		t.fail(key, "%v", t.as(err))
		return
	case !st.Mode().IsRegular():
		t.fail(key, "%s is not a file", path)
		return
	}
	for _, f := range store.Files(path) {
		if _, err := os.Lstat(f); err == nil {
			right = t.may(key, f, toWrite) && right
		}
	}
	if !right {
		return
	}
	if t.running = locked(path); t.running {
		t.state = ", which a server has open"
		return
	}
	var used *store.InUseError
	switch _, problems, err := store.Inspect(path, false); {
	case errors.As(err, &used):
		t.running = true
	case err != nil:
		t.fail(key, "%v", t.as(err))
	default:
		for _, p := range problems {
			t.warn(key, "%s", strings.ReplaceAll(p.Error(), "\n", "; "))
		}
	}
}

// locked reports whether a server has the database open.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func (t *trial) certificate() {
	c := t.cfg.TLS
	if c.Cert == "" {
		return
	}
	if right := t.may("tls.cert", c.Cert, toRead); !t.may("tls.key", c.Key, toRead) || !right {
		return
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err != nil {
		t.fail("tls.cert", "%s with the key %s: %v", c.Cert, c.Key, err)
		return
	}
	const form = "2006-01-02 15:04 MST"
	from, until := pair.Leaf.NotBefore, pair.Leaf.NotAfter
	if trouble := certificate.Trouble(from, until, t.now); trouble != "" {
		say := t.warn
		if t.now.Before(from) || !t.now.Before(until) {
			say = t.fail
		}
		say("tls.cert", "%s (%s, valid from %s to %s)", trouble, c.Cert, from.Local().Format(form), until.Local().Format(form))
	}
	t.until = &until
}

func (t *trial) console() {
	c := t.cfg.Admin
	if c.Group != "" {
		g, err := user.LookupGroup(c.Group)
		switch {
		case err != nil:
			t.warn("admin.group", "%v; nobody may use the console by it", err)
		case !t.owner.in(g.Gid):
			t.warn("admin.group", "%s is not in the group %s, and so may not give it the socket", t.owner.who(), c.Group)
		}
	}
	if c.Socket == "" {
		return
	}
	const key = "admin.socket"
	const longest = 107 // unix(7)
	dir := filepath.Dir(c.Socket)
	st, err := os.Lstat(c.Socket)
	there, folder := err == nil, os.FileInfo(nil)
	folder, err = os.Stat(dir)
	switch {
	case slices.Contains(store.Files(t.cfg.Server.Data), c.Socket):
		t.fail(key, "%s is of the database", c.Socket)
	case len(c.Socket) > longest:
		t.warn(key, "the path has %d bytes, and that of a socket %d at most", len(c.Socket), longest)
	case errors.Is(err, fs.ErrNotExist):
		t.warn(key, "the folder %s is not there (RuntimeDirectory= of a unit makes one at the start)", dir)
	case err != nil:
		t.warn(key, "%v", t.as(err))
	case !folder.IsDir():
		t.warn(key, "%s is not a folder", dir)
	case there && st.Mode().Type() != fs.ModeSocket:
		t.fail(key, "%s is not a socket; remove it, or set another admin.socket", c.Socket)
	case there && !t.running && answers(c.Socket):
		t.fail(key, "another server answers at %s", c.Socket)
	default:
		if err := unix.Faccessat(unix.AT_FDCWD, dir, toChange, unix.AT_EACCESS); err != nil {
			t.warn(key, "%v", t.as(&fs.PathError{Op: "use", Path: dir, Err: err}))
		}
	}
}

// answers reports whether a server has the socket.
func answers(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// addresses tries the ports that are to be opened, those apart that a server has
// open which runs with this database.
func (t *trial) addresses() {
	c := t.cfg
	ours := func(string, string) bool { return false }
	if t.running {
		now := t.inEffect()
		ours = func(key, port string) bool {
			value, known := now[key]
			return !known || value == port || strings.HasSuffix(value, ":"+port)
		}
	}
	if !ours("server.port", strconv.Itoa(c.Server.Port)) {
		for _, a := range c.Server.Listen {
			t.port("server.port", netip.AddrPortFrom(a, uint16(c.Server.Port)), t.fail)
		}
	}
	if _, port, err := net.SplitHostPort(c.Metrics.Listen); err != nil || ours("metrics.listen", port) {
		return // it is empty, or open
	}
	at, err := net.ResolveTCPAddr("tcp", c.Metrics.Listen)
	if err != nil {
		t.warn("metrics.listen", "%v; it is tried again", err)
		return
	}
	addr := netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), uint16(at.Port))
	if !addr.IsValid() {
		addr = netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(at.Port))
	}
	if slices.ContainsFunc(c.Server.Listen, func(a netip.Addr) bool {
		return int(addr.Port()) == c.Server.Port && (a == addr.Addr() || a.IsUnspecified() || addr.Addr().IsUnspecified())
	}) {
		t.fail("metrics.listen", "%s is the master port", c.Metrics.Listen)
		return
	}
	t.port("metrics.listen", addr, t.warn) // it is tried again
}

// inEffect is the configuration of the server that runs, key by key; empty: it
// does not say.
func (t *trial) inEffect() map[string]string {
	if t.cfg.Admin.Socket == "" {
		return nil
	}
	got := make(chan []byte, 1)
	go func() {
		var out bytes.Buffer
		admin.Once(t.cfg.Admin.Socket, []string{"config", "--json"}, &out, io.Discard, nil)
		got <- out.Bytes()
	}()
	var settings []admin.Setting
	select {
	case b := <-got:
		if json.Unmarshal(b, &settings) != nil {
			return nil
		}
	case <-time.After(3 * time.Second): // it hangs, which is not what is asked
	}
	values := make(map[string]string)
	for _, s := range settings {
		values[s.Key] = s.Value
	}
	return values
}

// port tries one, and says what is wrong with it with say, or warns that the
// machine does not have the address, which is waited for.
func (t *trial) port(key string, at netip.AddrPort, say func(key, format string, args ...any)) {
	switch err := tryBind(at); {
	case err == nil:
	case errors.Is(err, syscall.EADDRINUSE):
		say(key, "port %d is in use by another program at %v (or held for the server by a socket unit)", at.Port(), at.Addr())
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, errNoZone):
		t.warn(key, "%v is not an address of this machine now: %v; it is waited for", at.Addr(), err)
	default:
		say(key, "%v: %v", at, err)
	}
	if at.Port() < 1024 && t.owner.name != "" {
		t.warn(key, "port %d takes a privilege (CAP_NET_BIND_SERVICE) that %s may not have", at.Port(), t.owner.name)
	}
}

// firstRooms looks whether the rooms that the first start makes would find ports.
func (t *trial) firstRooms() {
	const key = "rooms.ports"
	c, found := t.cfg, 0
	var met error
	for p := c.Rooms.Ports.First; p <= c.Rooms.Ports.Last && found < len(c.Server.Create); p++ {
		if p == c.Server.Port {
			continue
		}
		free := true
		for _, a := range c.Server.Listen {
			if err := tryBind(netip.AddrPortFrom(a, uint16(p))); errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
				free, met = false, fmt.Errorf("port %d: %w", p, err)
			}
		}
		if free {
			found++
		}
	}
	if found < len(c.Server.Create) {
		t.fail(key, "the rooms of server.create are made at the first start, and %s of %v can be had for %d: %v",
			english.Plural(found, "port"), c.Rooms.Ports, len(c.Server.Create), met)
	}
}

var errNoZone = errors.New("there is no such interface")

// tryBind binds an address, as a listener does, and lets it go.
func tryBind(at netip.AddrPort) error {
	var sa unix.Sockaddr
	family := unix.AF_INET6
	if a := at.Addr().Unmap(); a.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: a.As4()}
	} else {
		six := &unix.SockaddrInet6{Port: int(at.Port()), Addr: a.As16()}
		if zone := a.Zone(); zone != "" {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return errNoZone
			}
			six.ZoneId = uint32(ifi.Index)
		}
		sa = six
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, sa)
}

// owner is whose rights a trial has.
type owner struct {
	uid, gid int
	groups   []int
	name     string // "": who asks
}

// ownerOf is the user whom a database belongs to, if root asks, and that is not
// root: the one that the server runs as. Before the first start it is the owner
// of the folder.
func ownerOf(data string) owner {
	me := owner{uid: os.Geteuid(), gid: os.Getegid()}
	me.groups, _ = os.Getgroups() // there are none then
	if me.uid != 0 {
		return me
	}
	st, err := os.Stat(data)
	if err != nil {
		st, err = os.Stat(filepath.Dir(data))
	}
	if err != nil {
		return me
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || s.Uid == 0 {
		return me
	}
	o := owner{uid: int(s.Uid), gid: int(s.Gid), name: "user " + strconv.Itoa(int(s.Uid))}
	if u, err := user.LookupId(strconv.Itoa(o.uid)); err == nil {
		o.name = u.Username
		if gid, err := strconv.Atoi(u.Gid); err == nil {
			o.gid = gid
		}
		ids, _ := u.GroupIds() // those that cannot be found give no rights
		for _, id := range ids {
			if gid, err := strconv.Atoi(id); err == nil {
				o.groups = append(o.groups, gid)
			}
		}
	}
	return o
}

// in reports whether the owner may give a file to a group.
func (o owner) in(gid string) bool {
	n, err := strconv.Atoi(gid)
	return o.uid == 0 || err == nil && (n == o.gid || slices.Contains(o.groups, n))
}

func (o owner) who() string {
	if o.name != "" {
		return o.name
	}
	return "your user"
}
