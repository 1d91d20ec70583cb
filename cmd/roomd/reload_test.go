package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roomd/admin"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/roomdtest"
)

// admin gives the running server a command.
func (p *process) admin(words ...string) (out, errs string, status int) {
	p.t.Helper()
	var o, e bytes.Buffer
	status = run(append([]string{"admin", "--socket", filepath.Join(p.dir, "roomd.sock")}, words...), nil, &o, &e)
	return o.String(), e.String(), status
}

// configure writes the configuration anew: what newProcess wrote, with these
// lines instead of those of the same keys.
func (p *process) configure(lines ...string) {
	p.t.Helper()
	base := []string{
		fmt.Sprintf("server.port = %d", p.master), fmt.Sprintf(`rooms.ports = "%d-%d"`, p.first, p.first+38), "rooms.max = 30",
		"limits.lines_per_second = 1e6", "limits.burst = 1000",
	}
	for _, b := range base {
		key, _, _ := strings.Cut(b, " = ")
		replaced := false
		for _, l := range lines {
			replaced = replaced || strings.HasPrefix(l, key+" = ")
		}
		if !replaced {
			lines = append(lines, b)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "config.toml"), []byte(withIRC(strings.Join(lines, "\n")+"\n")), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// reload has the configuration read again and returns the answer by key.
func (p *process) reload(words ...string) (results map[string]admin.Change, errs string) {
	p.t.Helper()
	out, errs, _ := p.admin(append([]string{"reload", "--json"}, words...)...)
	results = make(map[string]admin.Change)
	var changes []admin.Change
	if err := json.Unmarshal([]byte(out), &changes); err != nil {
		return results, out + errs
	}
	for _, ch := range changes {
		results[ch.Key] = ch
	}
	return results, errs
}

// For every key: what config.toml says of a reload is what a reload says of it.
func TestReloadOfEachKey(t *testing.T) {
	other := map[string]string{
		"server.listen": `["127.0.0.1", "::1"]`, "server.advertise": `"chat.example.org:+10"`, "server.proxies": `["192.0.2.1"]`, "server.data": `"other.db"`, "server.create": `["a"]`, "rooms.replay": "3",
		"rooms.quiet_above": "3", "rooms.trash": `"1h"`, "rooms.trash_bytes": "2000000", "history.bytes": "2000000", "limits.members": "3", "limits.connections": "50", "limits.per_address": "30",
		"limits.connects_per_second": "3", "limits.requests_per_second": "3", "limits.rate_exempt": `["192.0.2.1"]`,
		"limits.line_bytes": "100", "limits.lines_per_second": "3", "limits.burst": "3", "limits.max_lag": "3000", "limits.dead_peer": `"30s"`,
		"limits.master_idle": `"1m"`, "history.durability": `"relaxed"`, "history.flush_interval": `"30ms"`, "history.lines": "300",
		"history.age": `"1h"`, "access.create": `"operator"`, "access.delete": `"operator"`, "irc.listen": `["127.0.0.1:1"]`, "irc.name": `"x"`, "irc.network": `"x"`, "irc.password": `"x"`, "irc.resume": `"1h"`, "irc.replay": "3", "web.listen": `""`, "web.hosts": `["x.example"]`, "web.proxies": `["192.0.2.1"]`, "web.title": `"x"`, "admin.socket": `"other.sock"`, "admin.mode": `"0600"`,
		"admin.group": `"root"`, "metrics.listen": `"127.0.0.1:1"`, "metrics.per_room": "true", "metrics.profiles": "true", "log.level": `"debug"`, "log.format": `"json"`, "rooms.max": "3",
	}
	p := newProcess(t, "")
	other["server.port"] = fmt.Sprint(p.master + 39)
	other["rooms.ports"] = fmt.Sprintf(`"%d-%d"`, p.first, p.first+37)
	p.start()
	before, _, _ := p.admin("config", "--json")
	for _, k := range config.Default().Settings() {
		if strings.HasPrefix(k.Key, "tls.") { // needs files: tried with them
			continue
		}
		value, ok := other[k.Key]
		if !ok {
			t.Errorf("%s: the test knows no other value", k.Key)
			continue
		}
		p.configure(k.Key + " = " + value)
		got, errs := p.reload("--dry-run")
		want := map[config.Effect]string{config.OnReload: admin.WouldApply, config.OnUpgrade: admin.NeedsUpgrade, config.OnRestart: admin.Refused, config.OnFirstStart: admin.NoEffect}[k.Effect]
		if ch := got[k.Key]; len(got) != 1 || ch.Result != want || ch.From == ch.To || (ch.Why != "") != (want == admin.Refused) {
			t.Errorf("%s: want %q: %+v, %s", k.Key, want, got, errs)
		}
	}
	if after, _, _ := p.admin("config", "--json"); after != before {
		t.Error("the dry runs have changed something")
	}
}

// Ten keys change under load. The answer names each, what was asked for
// happens, and members notice nothing else.
func TestReload(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for s := range 4 {
		c := p.dial(p.first)
		all.Go(func() { p.talk(c, s, stop) })
	}
	port := nextPort.Take(1) - 1
	p.configure("rooms.replay = 1", "rooms.quiet_above = 0", "limits.members = 5", "limits.line_bytes = 100", `limits.master_idle = "1m"`,
		`access.create = "operator"`, `access.delete = "operator"`, fmt.Sprintf(`metrics.listen = "127.0.0.1:%d"`, port), `log.format = "json"`,
		"history.lines = 500", `history.durability = "relaxed"`, "server.create = []")
	got, errs := p.reload()
	results := make(map[string]string)
	for k, ch := range got {
		results[k] = ch.Result
	}
	want := map[string]string{"history.durability": admin.NeedsUpgrade, "server.create": admin.NoEffect}
	for _, k := range []string{"rooms.replay", "rooms.quiet_above", "limits.members", "limits.line_bytes", "limits.master_idle", "access.create",
		"access.delete", "metrics.listen", "log.format", "history.lines"} {
		want[k] = admin.Applied
	}
	if d := cmp.Diff(want, results); d != "" || errs != "" {
		t.Error(d, errs)
	}
	if got := p.nc(p.master, strings.NewReader("CREATE dev\nDELETE lobby\n")); strings.Count(got, "ERR denied") != 2 {
		t.Errorf("access: %q", got)
	}
	if text, status := roomdtest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port)); status != http.StatusOK || !strings.Contains(text, "roomd_members") {
		t.Error("metrics:", status)
	}
	fifth := p.dial(p.first)
	lines := bufio.NewReader(fifth)
	hello, _ := lines.ReadString('\n')
	fmt.Fprintf(fifth, "%s\n", strings.Repeat("x", 101))
	for {
		l, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(l, "the limit is 100") {
			break
		}
	}
	sixth, err := bufio.NewReader(p.dial(p.first)).ReadString('\n')
	if !strings.Contains(hello, "5 here") || !strings.Contains(sixth, "the room is full: it has 5 members") {
		t.Errorf("limits: %q, %q, %v", hello, sixth, err)
	}
	if out, _, _ := p.admin("config", "--json"); !strings.Contains(out, `{"key":"limits.members","value":"5"`) || !strings.Contains(out, `{"key":"history.durability","value":"commit"`) {
		t.Error(out)
	}
	// The other way, by signal.
	p.configure()
	p.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "the metrics go", func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(stop)
	all.Wait()
	if audit, _, _ := p.admin("audit"); !strings.Contains(audit, "reload") {
		t.Error("not in the audit:", audit)
	}
}

// talk says lines and sees each come back, in order, until stop is closed.
func (p *process) talk(c net.Conn, me int, stop chan struct{}) {
	in := bufio.NewReader(c)
	for i := 0; ; i++ {
		if _, err := fmt.Fprintf(c, "member %d line %d\n", me, i); err != nil {
			p.t.Error(err)
			return
		}
		for {
			l, err := in.ReadString('\n')
			if err != nil {
				p.t.Error(err)
				return
			}
			if !strings.Contains(l, fmt.Sprintf("> member %d line ", me)) {
				continue
			}
			if !strings.HasSuffix(l, fmt.Sprintf(" line %d\n", i)) {
				p.t.Errorf("line %d came as %q", i, l)
				return
			}
			break
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// Where we listen changes under the members, who stay.
func TestReloadListen(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	master := p.come(p.master)
	listens := func(addr string, port int) bool {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	step := func(what string, up, down []string, lines ...string) {
		t.Helper()
		p.configure(lines...)
		if got, errs := p.reload(); errs != "" || len(got) == 0 {
			t.Errorf("%s: %v, %s", what, got, errs)
		}
		for _, where := range []struct {
			addrs []string
			want  bool
		}{{up, true}, {down, false}} {
			for _, a := range where.addrs {
				host, port, err := net.SplitHostPort(a)
				if err != nil {
					t.Fatal(err)
				}
				n, _ := strconv.Atoi(port)
				if listens(host, n) != where.want {
					t.Errorf("%s: %s listens: %v", what, a, !where.want)
				}
			}
		}
		ann.say(what + "\n")
		ann.hear("> " + what)
	}
	at := func(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
	step("two more", []string{at("127.0.0.1", p.first), at("127.0.0.2", p.first), at("127.0.0.2", p.master), at("127.0.0.1", p.master)}, nil,
		`server.listen = ["127.0.0.1", "127.0.0.2"]`)
	step("one less", []string{at("127.0.0.2", p.first), at("127.0.0.2", p.master)}, []string{at("127.0.0.1", p.first), at("127.0.0.1", p.master)},
		`server.listen = ["127.0.0.2"]`)
	step("all", []string{at("127.0.0.1", p.first), at("127.0.0.2", p.first), at("127.0.0.3", p.master)}, nil, `server.listen = ["0.0.0.0"]`)
	step("one", []string{at("127.0.0.1", p.first)}, []string{at("127.0.0.2", p.first)}, `server.listen = ["127.0.0.1"]`)
	taken, err := net.Listen("tcp", at("127.0.0.3", p.first))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, addrs := range []string{`["127.0.0.1", "127.0.0.3"]`, `["0.0.0.0"]`} {
		p.configure("server.listen = " + addrs)
		if got, errs := p.reload(); got["server.listen"].Result != admin.Refused || !strings.Contains(errs, "1 key refused") {
			t.Errorf("an address that is taken: %v, %s", got, errs)
		}
		if !listens("127.0.0.1", p.first) || !listens("127.0.0.1", p.master) || listens("127.0.0.3", p.master) {
			t.Error("the refused addresses have changed something")
		}
	}
	other := p.master + 39
	p.configure(fmt.Sprintf("server.port = %d", other))
	if got, errs := p.reload(); got["server.port"].Result != admin.Applied {
		t.Error(got, errs)
	}
	if !listens("127.0.0.1", other) || listens("127.0.0.1", p.master) {
		t.Error("the master port has not moved")
	}
	master.say("LIST\n")
	master.hear("OK 1")
	// The addresses of a new configuration count after an upgrade too.
	p.configure(`server.listen = ["127.0.0.2"]`, fmt.Sprintf("server.port = %d", p.master))
	p.upgrade()
	eventually(t, "the successor listens where it is to, and nowhere else", func() bool {
		return listens("127.0.0.2", p.first) && !listens("127.0.0.1", p.first) && listens("127.0.0.2", p.master) && !listens("127.0.0.1", other)
	})
	ann.say("at last\n")
	ann.hear("> at last")
}

// A mistake, or a key that cannot be, changes nothing at all.
func TestReloadRefused(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	before, _, _ := p.admin("config", "--json")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		lines []string
		want  []string
	}{
		{[]string{"rooms.replay = 5", "rooms.max = -1", "limits.bust = 3"}, []string{"rooms.max: -1", "limits.bust", "limits.burst?"}},
		{[]string{"rooms.replay = 5", `server.data = "x.db"`}, []string{"server.data", admin.Refused, admin.WouldApply}},
		{[]string{"rooms.replay = 5", fmt.Sprintf(`metrics.listen = "%s"`, taken.Addr())}, []string{"metrics.listen", admin.Refused}},
		{[]string{"rooms.replay = 5", `admin.group = "nosuch"`}, []string{"admin.group", admin.Refused, "nosuch"}},
	} {
		p.configure(c.lines...)
		out, errs, status := p.admin("reload")
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%q: no %q in\n%s%s", c.lines, want, out, errs)
			}
		}
		if status != exitFailed {
			t.Errorf("%q: status %d", c.lines, status)
		}
		if after, _, _ := p.admin("config", "--json"); after != before {
			t.Errorf("%q: something is changed: %s", c.lines, after)
		}
	}
	p.configure()
	if out, errs, status := p.admin("reload", "--json"); status != exitOK || strings.TrimSpace(out) != "[]" {
		t.Error(out, errs, status)
	}
}
