package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var addrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// The file at the top says what the defaults are, key by key, each with a word.
func TestConfigFileIsTheDefaults(t *testing.T) {
	text, err := os.ReadFile("../../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("config.toml", string(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path = "config.toml"
	if d := cmp.Diff(want, got, addrs); d != "" {
		t.Error(d)
	}
	p := &parser{lines: make(map[string]int)}
	values := p.read(string(text))
	lines := strings.Split(string(text), "\n")
	for _, k := range keys {
		if _, ok := values[k.name]; !ok {
			t.Errorf("%s is not in the file", k.name)
			continue
		}
		delete(values, k.name)
		// The comment ends with when a new value counts.
		mark := map[Effect]string{OnReload: "[reload]", OnUpgrade: "[upgrade]", OnRestart: "[restart]", OnFirstStart: "[first start]"}[k.effect]
		if before := lines[p.lines[k.name]-2]; !strings.HasPrefix(before, "# ") || !strings.HasSuffix(before, mark) {
			t.Errorf("%s has no comment that ends with %s", k.name, mark)
		}
	}
	for k, v := range values {
		if _, ok := v.(section); !ok {
			t.Errorf("%s is no key", k)
		}
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := Load("", 9191)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Port != 9191 || c.Server.Data != "roomd.db" || c.Path != "" {
		t.Errorf("%+v", c.Server)
	}
	// A file in the folder is found by itself, but not by root; paths are relative
	// to it.
	if err := os.WriteFile("config.toml", []byte("server.data = \"x.db\"\nserver.port = 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err = Load("", 0)
	if os.Geteuid() == 0 {
		if err != nil || c.Server.Port != 8080 || c.Ignored == "" {
			t.Errorf("%v, %+v", err, c)
		}
		t.Setenv(Var, "config.toml")
		c, err = Load("", 0)
	}
	if err != nil || c.Server.Data != "x.db" || c.Server.Port != 9 || c.Ignored != "" {
		t.Errorf("%v, %+v", err, c)
	}
	c, err = Load(filepath.Join(dir, "config.toml"), 10)
	if err != nil || c.Server.Data != filepath.Join(dir, "x.db") || c.Server.Port != 10 {
		t.Errorf("%v, %+v", err, c)
	}
	if _, err := Load("nowhere.toml", 0); err == nil || !strings.Contains(err.Error(), "nowhere.toml") {
		t.Error(err)
	}
}

// Each value from both sides of its bounds.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		key       string
		good, bad []string
	}{
		{"server.listen", []string{`["127.0.0.1", "::1"]`, `["0.0.0.0", "::"]`}, []string{`[]`, `"127.0.0.1"`, `[1]`, `["x"]`, `["0.0.0.0", "127.0.0.1"]`, `["::1", "::1"]`}},
		{"server.port", []string{"1", "65535"}, []string{"0", "65536", "-1", "1.5", `"1"`}},
		{"server.data", []string{`"x"`}, []string{`""`, "1"}},
		{"server.create", []string{`[]`, `["a", "b"]`}, []string{`["a", "A"]`, `["a b"]`, `[1]`, `"a"`}},
		{"rooms.ports", []string{`"9000-9063"`, `"1-32767"`, `"9000-33000"`}, []string{`"9000-9062"`, `"9000"`, `"0-9999"`, `"9999-9000"`, `"60000-70000"`, "9000"}},
		{"rooms.max", []string{"0", "1", "1000"}, []string{"-1", "1001", "60001"}},
		{"rooms.replay", []string{"0", "10000"}, []string{"-1", "10001"}},
		{"rooms.quiet_above", []string{"0", "9"}, []string{"-1"}},
		{"rooms.trash", []string{`"0s"`, `"1h"`}, []string{`"-1s"`, "24", `"24"`, `""`}},
		{"rooms.trash_bytes", []string{"0", "1048576"}, []string{"-1", "1", "1048575", `"1"`}},
		{"limits.members", []string{"0", "1", "1000000"}, []string{"-1", "1000001"}},
		{"limits.connections", []string{"0", "1"}, []string{"-1"}},
		{"limits.per_address", []string{"0", "1"}, []string{"-1"}},
		{"limits.connects_per_second", []string{"0", "0.0", "0.5", "50"}, []string{"-1", `"5"`, "nan"}},
		{"limits.requests_per_second", []string{"0", "20.0"}, []string{"-1", `"5"`}},
		{"limits.rate_exempt", []string{"[]", `["10.0.0.0/8", "192.0.2.1", "::1", "2001:db8::/32"]`}, []string{`"10.0.0.1"`, `["10.0.0.1/8"]`, `["host"]`, "[1]"}},
		{"limits.line_bytes", []string{"0", "64", "65536"}, []string{"1", "63", "65537", "-1"}},
		{"limits.lines_per_second", []string{"0", "0.0", "0.1", "20"}, []string{"-1", `"20"`, "nan", "inf"}},
		{"limits.burst", []string{"0", "1"}, []string{"-1"}},
		{"limits.max_lag", []string{"0", "1", "1000"}, []string{"-1"}},
		{"limits.dead_peer", []string{`"5s"`}, []string{`"4s"`, `"0s"`, "60"}},
		{"limits.master_idle", []string{`"0s"`, `"1s"`}, []string{`"1ms"`, "5"}},
		{"history.durability", []string{`"commit"`, `"relaxed"`}, []string{`"no"`, "1"}},
		{"history.flush_interval", []string{`"1ms"`, `"10s"`}, []string{`"0s"`, `"11s"`}},
		{"history.lines", []string{"0", "1", "100"}, []string{"-1"}},
		{"history.bytes", []string{"0", "1048576", "1099511627776"}, []string{"-1", "1", "1048575", "1.5"}},
		{"history.age", []string{`"0s"`, `"1h"`}, []string{`"-1h"`}},
		{"access.create", []string{`"anyone"`, `"operator"`}, []string{`"creator"`}},
		{"access.delete", []string{`"auto"`, `"anyone"`, `"creator"`, `"operator"`}, []string{`""`}},
		{"tls.cert", []string{`""`}, []string{`"x"`, "1"}}, // alone
		{"tls.key", []string{`""`}, []string{`"x"`}},
		{"irc.listen", []string{`[]`, `["127.0.0.1:6667"]`, `["[::1]:1", "0.0.0.0:1"]`, `["127.0.0.1:1", "127.0.0.1:2"]`}, []string{`["127.0.0.1"]`, `["localhost:6667"]`, `["127.0.0.1:0"]`, `["127.0.0.1:8080"]`, `["0.0.0.0:8080"]`, `["0.0.0.0:1", "127.0.0.1:1"]`, `"127.0.0.1:6667"`, "6667"}},
		{"irc.name", []string{`""`, `"chat.example.org"`, `"a-1"`}, []string{`"a b"`, `"-a"`, `"ä"`, `":x"`, `"a!b"`, "1", `"` + strings.Repeat("x", 64) + `"`}},
		{"irc.network", []string{`"Ro=omd"`}, []string{`""`, `"my net"`, "1", `"` + strings.Repeat("x", 33) + `"`}},
		{"irc.password", []string{`""`, `"p w"`, `"ä:"`}, []string{"7", `"a\nb"`, `"` + strings.Repeat("x", 257) + `"`}},
		{"irc.resume", []string{`"0s"`, `"744h"`, `"31d"`}, []string{`"-1s"`, `"32d"`, "7"}},
		{"irc.replay", []string{"0", "10000"}, []string{"-1", "10001"}},
		{"web.listen", []string{`"master"`, `""`, `"127.0.0.1:8081"`, `"[::1]:8080"`, `"0.0.0.0:80"`}, []string{`"8081"`, `":8081"`, `"localhost:8081"`, `"127.0.0.1:0"`, `"127.0.0.1:8080"`, `"0.0.0.0:8080"`, `"Master"`, "true", `["127.0.0.1:8081"]`}},
		{"web.hosts", []string{`[]`, `["chat.example.org", "Chat", "xn--bcher-kva.example."]`}, []string{`"chat"`, `["chat:8080"]`, `["https://chat"]`, `["*"]`, `["a b"]`, `["bücher.example"]`, `[""]`, "[1]"}},
		{"web.proxies", []string{`[]`, `["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]`}, []string{`"127.0.0.1"`, `["10.0.0.1/8"]`, `["proxy"]`}},
		{"web.title", []string{`"Ops chat"`, `"Küche"`}, []string{`""`, `" "`, "1", `"a\nb"`, `"` + strings.Repeat("x", 65) + `"`}},
		{"admin.socket", []string{`""`, `"x"`}, []string{"1"}},
		{"admin.mode", []string{`"0660"`, `"600"`}, []string{`"0680"`, `"rw"`, "432", `"1777"`}},
		{"admin.group", []string{`"adm"`}, []string{"4"}},
		{"metrics.profiles", []string{"true", "false"}, []string{`"true"`, "1"}},
		{"metrics.per_room", []string{"true", "false"}, []string{`"true"`, "1"}},
		{"metrics.listen", []string{`""`, `"127.0.0.1:9180"`, `":1"`}, []string{`"127.0.0.1"`, `"x:0"`, `"x:y"`}},
		{"log.level", []string{`"debug"`}, []string{`"loud"`}},
		{"log.format", []string{`"json"`}, []string{`"xml"`}},
	} {
		for _, v := range c.good {
			if _, err := Parse("f", c.key+" = "+v, 0); err != nil {
				t.Errorf("%s = %s: %v", c.key, v, err)
			}
		}
		for _, v := range c.bad {
			_, err := Parse("f", "\n"+c.key+" = "+v, 0)
			if err == nil || !strings.HasPrefix(err.Error(), "f:2: "+c.key+": ") {
				t.Errorf("%s = %s: %v", c.key, v, err)
			}
		}
		if !slices.ContainsFunc(keys, func(k key) bool { return k.name == c.key }) {
			t.Errorf("%s is no key", c.key)
		}
	}
}

// Where IRC clients look for a server depends on TLS, and a default that is in use is no mistake.
func TestIRCPort(t *testing.T) {
	for text, want := range map[string]string{
		"": "127.0.0.1:6667", "tls.cert = \"c\"\ntls.key = \"k\"": "127.0.0.1:6697", "tls.cert = \"c\"\ntls.key = \"k\"\nirc.listen = [\"127.0.0.1:7000\"]": "127.0.0.1:7000",
		"server.port = 6667": "127.0.0.1:6667", "irc.listen = []": "",
	} {
		c, err := Parse("f", text, 0)
		if err != nil || c.Value("irc.listen") != want {
			t.Errorf("%q: %v %v", text, c, err)
		}
	}
}

// The URL of the page is one that a person at this machine can open, or that others are told.
func TestPageURLs(t *testing.T) {
	for text, want := range map[string]string{
		"": "[http://localhost:8080/]", `server.listen = ["0.0.0.0", "::"]`: "[http://localhost:8080/]", `server.listen = ["192.0.2.1", "127.0.0.1"]`: "[http://192.0.2.1:8080/ http://localhost:8080/]",
		`web.listen = ""`: "[]", `web.listen = "[2001:db8::1]:81"`: "[http://[2001:db8::1]:81/]", "tls.cert = \"c\"\ntls.key = \"k\"": "[https://localhost:8080/]",
		`server.advertise = "chat.example.org:+10"`: "[http://chat.example.org:8090/]",
	} {
		c, err := Parse("f", text, 0)
		if err != nil || fmt.Sprint(c.PageURLs()) != want {
			t.Errorf("%q: %v %v", text, c.PageURLs(), err)
		}
	}
	c, err := Parse("f", "web.hosts = [\"A.example.\"]\nserver.advertise = \"Chat.example.org\"\nweb.listen = \"127.0.0.1:6667\"", 0)
	if err != nil || fmt.Sprint(c.PageHosts()) != "[a.example chat.example.org]" {
		t.Error(c, err)
	}
	if _, err := Parse("f", "web.listen = \"127.0.0.1:7000\"\nirc.listen = [\"0.0.0.0:7000\"]", 0); err == nil {
		t.Error("two doors at one port")
	}
}

// Nobody is shown a secret, nor whether another one is like it; a change of it is one.
func TestSecret(t *testing.T) {
	a, err := Parse("f", `irc.password = "hunter2"`, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.Settings() {
		if strings.Contains(s.Value, "hunter2") || s.Key == "irc.password" && s.Value == s.Default {
			t.Error(s)
		}
	}
	b, _ := Parse("f", `irc.password = "hunter3"`, 0)
	if d := a.ApplyReload(b); len(d) != 1 || strings.Contains(fmt.Sprint(d), "hunter") || a.IRC.Password != "hunter3" {
		t.Error(d, a.IRC.Password)
	}
	if _, err := Parse("f", "irc.password = \"hunter2\\u0001\"", 0); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestCleanServerName(t *testing.T) {
	for in, want := range map[string]string{"box": "box", "a_b.c": "a-b.c", "-ä-": "", "x" + strings.Repeat("-", 80): "x", strings.Repeat("x", 80): strings.Repeat("x", 63)} {
		if got := CleanServerName(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// However a key is written, its mistake has its line.
func TestLines(t *testing.T) {
	text := `
# a remark
server.create = [
  "lobby", # one
  "lob by",
]

limits = { burst = -1, members = -1 }
[rooms]
replay = -1 # why not
this is no TOML
max = -1
quiet_above = = 1
`
	_, err := Parse("f", text, 0)
	var lines []string
	for l := range strings.Lines(fmt.Sprint(err)) {
		where, _, _ := strings.Cut(l, ": ")
		lines = append(lines, where)
	}
	want := []string{"f:3", "f:8", "f:8", "f:10", "f:11", "f:12", "f:13"}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("%s\n%v", d, err)
	}
}

func TestFitDescriptors(t *testing.T) {
	c := Default()
	if w := c.fitDescriptors(20000); w != "" || c.Limits.Connections != 10000 {
		t.Error(w)
	}
	w := c.fitDescriptors(1024)
	if c.Limits.Connections != 1024-64-64 || !strings.Contains(w, "from 10000 to 896") {
		t.Error(c.Limits.Connections, w)
	}
	c.Limits.Connections = 5000
	if c.fitDescriptors(100); c.Limits.Connections != 16 {
		t.Error(c.Limits.Connections)
	}
}

// Whatever stands in a file, it is an error with a line or a configuration.
func FuzzConfig(f *testing.F) {
	for _, k := range keys {
		f.Add(k.name + " = 1")
	}
	f.Add("[server]\nlisten = [\"::1\"")
	f.Add("[[rooms]]\n[log]\n[log.level]\n\"\" = 1")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse("f", text, 0)
		if err == nil {
			return
		}
		found, ok := err.(Mistakes)
		if !ok || len(found) == 0 {
			t.Fatalf("%T %v", err, err)
		}
		for _, m := range found {
			if m.line < 1 || m.line > strings.Count(text, "\n")+1 || strings.ContainsAny(m.key+m.text, "\n\x1b") {
				t.Fatalf("%+v", m)
			}
		}
	})
}

// A network of IPv4-mapped addresses is the IPv4 network: no peer's address is
// mapped, and it would hold for nobody.
func TestMappedNetworks(t *testing.T) {
	c, err := Parse("config.toml", "limits.rate_exempt = [\"::ffff:10.0.0.0/104\", \"::ffff:192.0.2.1\", \"2001:db8::1\"]", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Limits.RateExempt); got != "[10.0.0.0/8 192.0.2.1/32 2001:db8::1/128]" {
		t.Error(got)
	}
	if _, err := Parse("config.toml", "limits.rate_exempt = [\"::ffff:0:0/80\"]", 0); err == nil {
		t.Error("a network of mapped addresses and others")
	}
}
