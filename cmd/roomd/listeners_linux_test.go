package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"roomd/admin"
	"roomd/netsvc"
)

// apart has the server run in a network of its own, where commands are run before.
func (p *process) apart(commands string) {
	p.t.Helper()
	how := []string{"unshare", "--user", "--map-root-user", "--net", "sh", "-ec"}
	if _, err := exec.LookPath("ip"); err != nil {
		p.t.Skip("needs ip (iproute2)")
	}
	commands = "ip link set lo up\n" + commands
	if out, err := exec.Command(how[0], append(how[1:len(how):len(how)], commands)...).CombinedOutput(); err != nil {
		p.t.Skipf("a network of its own: %v %s", err, out)
	}
	p.prefix = append(how, commands+"\nexec \"$0\" \"$@\"")
}

// status is what the console says.
func (p *process) status() netsvc.Status {
	p.t.Helper()
	out, errs, _ := p.admin("status", "--json")
	var st netsvc.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		p.t.Fatal(err, out, errs)
	}
	return st
}

// Addresses that come after the start, one with a zone, and all ports of the system
// for outgoing connections: the server starts with what there is, says what is
// missing, and has it when it comes. Reloads and an upgrade change nothing of that.
func TestAddressesThatComeLater(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `server.listen = ["127.0.0.1", "192.0.2.77", "fe80::5%lo"]`+"\n"+`metrics.listen = "192.0.2.77:9180"`)
	p.apart("echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range")
	p.start()
	listens := func(n int) bool {
		st := p.status()
		return len(st.Listening) == n && len(st.Missing) == 3-n
	}
	if st := p.status(); len(st.Listening) != 1 || len(st.Missing) != 2 || st.Unbound != 0 {
		t.Fatalf("%+v", st)
	}
	for _, want := range []string{"ip_local_reserved_ports", "metrics cannot be served yet", "address=192.0.2.77", "address=fe80::5%lo"} {
		if !p.logged(want) {
			t.Errorf("the log has no %q", want)
		}
	}
	add := func(addr string) {
		t.Helper()
		net := fmt.Sprintf("--net=/proc/%d/ns/net", p.cmd.Process.Pid)
		if out, err := exec.Command("nsenter", net, "ip", "addr", "add", addr, "dev", "lo").CombinedOutput(); err != nil {
			t.Skipf("%v %s", err, out)
		}
	}
	same := func() {
		t.Helper()
		if got, errs := p.reload(); len(got) != 0 || errs != "" {
			t.Error(got, errs)
		}
	}
	same()
	add("fe80::5/64")
	eventually(t, "one address more", func() bool { return listens(2) })
	same()
	p.upgrade()
	eventually(t, "the same after an upgrade", func() bool { return listens(2) })
	same()
	p.cmd.Process.Signal(syscall.SIGHUP)
	add("192.0.2.77/32")
	eventually(t, "all addresses", func() bool { return listens(3) })
	eventually(t, "the metrics", func() bool { return p.logged("metrics are served now") })
	for range 3 {
		same()
	}
	p.upgrade()
	eventually(t, "all addresses after an upgrade", func() bool { return listens(3) })
	if want := netip.MustParseAddrPort(fmt.Sprintf("[fe80::5%%lo]:%d", p.master)); !slices.Contains(p.status().Listening, want) {
		t.Errorf("%+v", p.status())
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// Ports that the system leaves out of outgoing connections are no risk.
func TestReservedPorts(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.apart(fmt.Sprintf("echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range\necho %d-%d,9 >/proc/sys/net/ipv4/ip_local_reserved_ports", p.first, p.first+38))
	p.start()
	if p.logged("ip_local_reserved_ports") {
		t.Error("it warns of ports that are reserved")
	}
}

// withoutIPv6 makes the test binary begin again where the kernel has no IPv6.
const withoutIPv6 = "ROOMD_TEST_NO_IPV6"

func init() {
	if os.Getenv(withoutIPv6) == "" {
		return
	}
	os.Unsetenv(withoutIPv6)
	const allow, refuse = 0x7fff0000, 0x00050000 | uint32(syscall.EAFNOSUPPORT) // seccomp(2)
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // its first argument
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_INET6, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	runtime.LockOSThread()
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "no IPv6:", err)
	os.Exit(exitFailed)
}

// Without IPv6, in the kernel or on the machine's interfaces, its addresses are
// missing, and the rest is there.
func TestNoIPv6(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		listen    string
		kernel    bool
		listening int
	}{
		"none on the interfaces":           {`["127.0.0.1", "::1"]`, true, 1},
		"none in the kernel":               {`["127.0.0.1", "::1"]`, false, 1},
		"none in the kernel, all":          {`["::"]`, false, 0},
		"none in the kernel, all and IPv4": {`["127.0.0.1", "::"]`, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "server.listen = "+c.listen)
			if c.kernel {
				p.apart("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
			} else {
				p.env = []string{withoutIPv6 + "=1"}
			}
			p.start()
			if st := p.status(); len(st.Listening) != c.listening || len(st.Missing) != 1 || st.Missing[0].Cause == "" {
				t.Fatalf("%+v", st)
			}
			if c.listening > 0 && !c.kernel { // we are in that network
				p.come(p.first).hear("you are guest-1")
			}
		})
	}
}

// The console's socket may come later, or never: the server starts.
func TestSocketThatComesLater(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `admin.socket = "later/roomd.sock"`)
	p.start()
	if !p.logged("admin socket cannot be opened yet") {
		t.Error("it does not say so")
	}
	p.come(p.first).hear("you are guest-1")
	if err := os.Mkdir(filepath.Join(p.dir, "later"), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the console", func() bool {
		_, err := os.Stat(filepath.Join(p.dir, "later", "roomd.sock"))
		return err == nil && p.logged("admin socket is open now")
	})
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for _, length := range []int{pathMost(p.dir), pathMost(p.dir) + 1} {
		os.WriteFile(filepath.Join(p.dir, "config.toml"), []byte(fmt.Sprintf("server.port = %d\nrooms.ports = \"%d-%d\"\nrooms.max = 30\nirc.listen = []\nadmin.socket = %q\n",
			p.master, p.first, p.first+38, strings.Repeat("s", length))), 0o600)
		p.start()
		_, err := os.Stat(filepath.Join(p.dir, strings.Repeat("s", length)))
		if there := err == nil; there != (length == pathMost(p.dir)) || there == p.logged("the server runs without a console") {
			t.Errorf("a path of %d bytes: there is a socket: %v", len(p.dir)+1+length, there)
		}
		if err := p.kill(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}

// A folder for the console's socket that can only be read keeps the server from
// nothing else.
func TestSocketInAReadOnlyFolder(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `admin.socket = "shut/roomd.sock"`)
	shut := filepath.Join(p.dir, "shut")
	if err := os.Mkdir(shut, 0o700); err != nil {
		t.Fatal(err)
	}
	how := []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"}
	mount := fmt.Sprintf("mount -t tmpfs -o ro none %q\n", shut)
	if out, err := exec.Command(how[0], append(how[1:len(how):len(how)], mount)...).CombinedOutput(); err != nil {
		t.Skipf("mounts of its own: %v %s", err, out)
	}
	p.prefix = append(how, mount+"exec \"$0\" \"$@\"")
	p.start()
	if !p.logged("admin socket cannot be opened yet") || !p.logged(syscall.EROFS.Error()) {
		t.Error("it does not say so")
	}
	p.come(p.first).hear("you are guest-1")
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// pathMost is how long a name in a folder may be, so that it has 107 bytes in all.
func pathMost(dir string) int { return 107 - len(dir) - 1 }

// A take-over that cannot have the ports of its configuration keeps those that
// there are, says so, and goes by them: no reload ends the server, and each says
// what is refused, until it can be had.
func TestReloadAfterRefusedTakeOver(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	thief, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.9:%d", p.master))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"server.port":   fmt.Sprint(thief.Addr().(*net.TCPAddr).Port),
		"server.listen": `["127.0.0.1", "192.0.2.77"]`, "server.listen ": `["0.0.0.0"]`,
	} {
		key = strings.TrimSpace(key)
		before, _, _ := p.admin("config", "--json")
		p.configure(key + " = " + value)
		refused := func(when string) {
			t.Helper()
			got, errs := p.reload()
			for end := time.Now().Add(patience); strings.Contains(errs, "under way") && time.Now().Before(end); {
				got, errs = p.reload() // the one of a signal
			}
			if got[key].Result != admin.Refused || got[key].Why == "" {
				t.Errorf("%s = %s %s: %v, %s", key, value, when, got, errs)
			}
			if after, _, _ := p.admin("config", "--json"); after != before {
				t.Errorf("%s = %s %s: the configuration says\n%s, and said\n%s", key, value, when, after, before)
			}
			st := p.status()
			if len(st.Listening) != 1 || st.Listening[0] != netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", p.master)) || len(st.Missing) != 0 {
				t.Errorf("%s = %s %s: %+v", key, value, when, st)
			}
			p.come(p.master).say("QUIT\n")
			ann.say(when + "\n")
			ann.hear("> " + when)
		}
		refused("before")
		p.upgrade()
		eventually(t, "the new process says so", func() bool { return p.logged("the old values stay in effect") })
		p.cmd.Process.Signal(syscall.SIGHUP)
		refused("after an upgrade")
		p.cmd.Process.Signal(syscall.SIGHUP)
		refused("after SIGHUP")
		if out, errs, status := p.admin("doctor"); status != exitOK {
			t.Error(out, errs)
		}
	}
	other.Close()
	p.configure(`server.listen = ["0.0.0.0"]`)
	// The reload of the last signal may come only now, and be the one that applies it.
	if got, errs := p.reload(); got["server.listen"].Result != admin.Applied && (len(got) > 0 || errs != "") {
		t.Error(got, errs)
	}
	if st := p.status(); len(st.Listening) != 1 || st.Listening[0] != netip.MustParseAddrPort(fmt.Sprintf("0.0.0.0:%d", p.master)) {
		t.Errorf("%+v", st)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
