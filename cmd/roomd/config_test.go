package main

import (
	"bytes"
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
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// The file at the top says what the defaults are, key by key, each with a word.
func TestConfigFileIsTheDefaults(t *testing.T) {
	text, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseConfig("config.toml", string(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Path = "config.toml"
	if d := cmp.Diff(want, got, addrs); d != "" {
		t.Error(d)
	}
	p := &parser{lines: make(map[string]int)}
	values := p.read(string(text))
	lines := strings.Split(string(text), "\n")
	for _, k := range schema {
		if _, ok := values[k.name]; !ok {
			t.Errorf("%s is not in the file", k.name)
			continue
		}
		delete(values, k.name)
		// The comment ends with when a new value counts.
		mark := map[effect]string{onReload: "[reload]", onUpgrade: "[upgrade]", onRestart: "[restart]", atFirst: "[first start]"}[k.effect]
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
	c, err := loadConfig("", 9191)
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
	c, err = loadConfig("", 0)
	if os.Geteuid() == 0 {
		if err != nil || c.Server.Port != 8080 || c.PassedOver == "" {
			t.Errorf("%v, %+v", err, c)
		}
		t.Setenv(configVar, "config.toml")
		c, err = loadConfig("", 0)
	}
	if err != nil || c.Server.Data != "x.db" || c.Server.Port != 9 || c.PassedOver != "" {
		t.Errorf("%v, %+v", err, c)
	}
	c, err = loadConfig(filepath.Join(dir, "config.toml"), 10)
	if err != nil || c.Server.Data != filepath.Join(dir, "x.db") || c.Server.Port != 10 {
		t.Errorf("%v, %+v", err, c)
	}
	if _, err := loadConfig("nowhere.toml", 0); err == nil || !strings.Contains(err.Error(), "nowhere.toml") {
		t.Error(err)
	}
}

// All mistakes at once, each with its line and what would be right.
func TestMistakes(t *testing.T) {
	t.Chdir("testdata")
	out, errw := new(bytes.Buffer), new(bytes.Buffer)
	status := run([]string{"check", "--config", "mistakes.toml"}, nil, out, errw)
	want := `mistakes.toml:3: server.listen: "localhost" is not an IP address; write addresses like ["127.0.0.1", "::1"]
mistakes.toml:4: server.prot: there is no such key; did you mean server.port?
mistakes.toml:5: server.port: "8080" is not a whole number; write one like 8080
mistakes.toml:8: rooms.ports: "9999-9000" runs backwards; write it as "9000-9999"
mistakes.toml:8: rooms.ports: "9000-9999" has 1000 ports for 5000 rooms; widen it, or lower rooms.max
mistakes.toml:10: rooms.trash: 24 has no unit; write a string like "24s"
mistakes.toml:13: limits.line_bytes: 10 is out of range; write a number from 64 to 65536, or 0 for the most
mistakes.toml:14: limits.max_lag: -10 is too small; write 0 or more
mistakes.toml:15: limits.dead_peer: "soon" is not a time; write a number with a unit, like "30s", "5m", "24h" or "30d"
mistakes.toml:17: histroy: there is no section [histroy]; did you mean history?
mistakes.toml:21: access.delete: "everyone" is none of its values; write one of "auto", "anyone", "creator", "operator"
mistakes.toml:24: tls.cert: tls.key is missing; write both, or none
mistakes.toml:26: syntax: expected '.' or ']' to end table name, but got '\n' instead
mistakes.toml:27: tls.level: there is no such key; did you mean log.level?
14 mistakes
`
	if d := cmp.Diff(want, errw.String()); d != "" || status != exitFailed || out.Len() > 0 {
		t.Errorf("status %d, out %q\n%s", status, out, d)
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
			if _, err := parseConfig("f", c.key+" = "+v, 0); err != nil {
				t.Errorf("%s = %s: %v", c.key, v, err)
			}
		}
		for _, v := range c.bad {
			_, err := parseConfig("f", "\n"+c.key+" = "+v, 0)
			if err == nil || !strings.HasPrefix(err.Error(), "f:2: "+c.key+": ") {
				t.Errorf("%s = %s: %v", c.key, v, err)
			}
		}
		if !slices.ContainsFunc(schema, func(k key) bool { return k.name == c.key }) {
			t.Errorf("%s is no key", c.key)
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
	_, err := parseConfig("f", text, 0)
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
	c := defaults()
	if w := fitDescriptors(c, 20000); w != "" || c.Limits.Connections != 10000 {
		t.Error(w)
	}
	w := fitDescriptors(c, 1024)
	if c.Limits.Connections != 1024-64-64 || !strings.Contains(w, "from 10000 to 896") {
		t.Error(c.Limits.Connections, w)
	}
	c.Limits.Connections = 5000
	if fitDescriptors(c, 100); c.Limits.Connections != 16 {
		t.Error(c.Limits.Connections)
	}
}

// What is no command line is told so on standard error, with status 2.
func TestUsage(t *testing.T) {
	for line, want := range map[string]string{
		"serve x":       `"x" is not a port: a number from 1 to 65535`,
		"serve 0":       `"0" is not a port: a number from 1 to 65535`,
		"serve 70000":   `"70000" is not a port: a number from 1 to 65535`,
		"serve 1 2":     "usage: roomd serve [PORT]",
		"sing":          `roomd has no command "sing"`,
		"check --bad":   "roomd check has no --bad",
		"check x":       "usage: roomd check",
		"version --x":   "roomd version has no --x",
		"serve --port1": "roomd serve has no --port1",
		"help sing":     `roomd has no command "sing"`,
		"help store x":  `roomd store has no command "x"`,
		"help send x":   `roomd send has no command "x"`,
		"tail x -n -3":  `--lines takes a number of 0 or more, not "-3"`,
	} {
		out, errw := new(bytes.Buffer), new(bytes.Buffer)
		status := run(strings.Fields(line), nil, out, errw)
		if status != exitUsage || out.Len() > 0 || !strings.Contains(errw.String(), want) || !strings.Contains(errw.String(), "--help") {
			t.Errorf("roomd %s: status %d, out %q, err %q", line, status, out, errw)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, line := range []string{"", "--help", "serve --help", "check --help", "version --help", "help", "help serve", "help store restore", "help admin kick", "help help"} {
		out, errw := new(bytes.Buffer), new(bytes.Buffer)
		if status := run(strings.Fields(line), nil, out, errw); status != exitDone || !strings.Contains(out.String(), "Example") || errw.Len() > 0 {
			t.Errorf("roomd %s: status %d, %q, %q", line, status, out, errw)
		}
	}
	out := new(bytes.Buffer)
	if status := run([]string{"version", "--json"}, nil, out, out); status != exitDone || !strings.Contains(out.String(), `"platform":"`) {
		t.Error(status, out)
	}
	t.Chdir(t.TempDir())
	out.Reset()
	if status := run([]string{"check"}, nil, out, out); status != exitDone || !strings.Contains(out.String(), "127.0.0.1:8080") {
		t.Error(status, out)
	}
}

// Whatever stands in a file, it is an error with a line or a configuration.
func FuzzConfig(f *testing.F) {
	for _, k := range schema {
		f.Add(k.name + " = 1")
	}
	f.Add("[server]\nlisten = [\"::1\"")
	f.Add("[[rooms]]\n[log]\n[log.level]\n\"\" = 1")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parseConfig("f", text, 0)
		if err == nil {
			return
		}
		found, ok := err.(mistakes)
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
	c, err := parseConfig("config.toml", "limits.rate_exempt = [\"::ffff:10.0.0.0/104\", \"::ffff:192.0.2.1\", \"2001:db8::1\"]", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Limits.RateExempt); got != "[10.0.0.0/8 192.0.2.1/32 2001:db8::1/128]" {
		t.Error(got)
	}
	if _, err := parseConfig("config.toml", "limits.rate_exempt = [\"::ffff:0:0/80\"]", 0); err == nil {
		t.Error("a network of mapped addresses and others")
	}
}
