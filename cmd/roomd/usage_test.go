package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/usage"
)

// A command line that cannot be understood is answered in our words, with what may
// have been meant or how it is used, and status 2.
func TestUsageInOurWords(t *testing.T) {
	for line, want := range map[string]string{
		"sevre": "did you mean serve?", "xyzzy": `no command "xyzzy"`, "store chek": "did you mean check?", "bench fanuot": "did you mean fanout?",
		"serve 1 2": "usage: roomd serve [PORT]", "serve x": "is not a port", "create": "usage: roomd create NAME", "tail": "usage: roomd tail ROOM", "version now": "usage: roomd version",
		"tail x --timout 3s": "did you mean --timeout?", "tail x -n many": `--lines takes a whole number, not "many"`,
		"send x --timeout 3": `--timeout takes a time like 30s, 5m, 24h or 30d, not "3"`, "check --config": "config", "tail x --since y": `--since "y"`,
	} {
		var out, errs bytes.Buffer
		if status := run(strings.Fields(line), strings.NewReader(""), &out, &errs); status != exitUsage || !strings.Contains(errs.String(), want) || strings.Contains(errs.String(), "arg(s)") || strings.Contains(errs.String(), "strconv") {
			t.Errorf("%s: status %d, %q has no %q", line, status, errs.String(), want)
		}
	}
}

// Every command has an example in its help, and no word twice that tail -f and
// --version stand for.
func TestHelpHasExamples(t *testing.T) {
	root := newRoot()
	root.InitDefaultVersionFlag()
	n := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		n++
		if c.Example == "" || !strings.Contains(c.Example, "roomd") {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if n < 15 {
		t.Errorf("there are %d commands", n)
	}
	if f := root.Flags().Lookup("version"); f == nil {
		t.Error("there is no --version")
	}
	tail, _, err := root.Find([]string{"tail"})
	if err != nil || tail.Flags().ShorthandLookup("f") == nil {
		t.Error("there is no tail -f", err)
	}
}

// The shells' completion shows what a flag does as it is.
func TestCompletionWithoutMarks(t *testing.T) {
	for _, line := range []string{"list --", "tail lobby --", "serve --", "store restore --", "bench --"} {
		var out, errs bytes.Buffer
		args := append([]string{cobra.ShellCompRequestCmd}, strings.Fields(line)...)
		if status := run(args, nil, &out, &errs); status != exitOK || !strings.Contains(out.String(), "--") || strings.Contains(out.String(), "`") {
			t.Errorf("%s: status %d, %s", line, status, &out)
		}
	}
}

func TestVersionFlag(t *testing.T) {
	var long, short, errs bytes.Buffer
	if run([]string{"--version"}, nil, &long, &errs) != exitOK || run([]string{"version"}, nil, &short, &errs) != exitOK || long.String() != short.String() || long.Len() == 0 {
		t.Errorf("%q, %q, %q", &long, &short, &errs)
	}
}

// The help of roomd admin, of which the man page is made, lists every command of
// the console.
func TestAdminHelpListsCommands(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run([]string{"admin", "--help"}, nil, &out, &errs); status != exitOK {
		t.Fatal(status, errs.String())
	}
	if !strings.Contains(out.String(), "--socket FILE") || !strings.Contains(out.String(), "--config FILE") {
		t.Error("the flags are not in the help")
	}
	for _, c := range admin.Summary() {
		if !strings.Contains(out.String(), "\n    "+strings.ReplaceAll(c, "\n", "\n    ")+"\n") {
			t.Errorf("%s is not in the help", c)
		}
	}
}

// Days are times in the configuration and on the command line.
func TestDays(t *testing.T) {
	c, err := config.Parse("config.toml", "rooms.trash = \"30d\"\nhistory.age = \"1d12h\"\n", 0)
	if err != nil || c.Rooms.Trash != 720*time.Hour || c.History.Age != 36*time.Hour {
		t.Error(c, err)
	}
	if _, err := config.Parse("config.toml", `rooms.trash = "30days"`, 0); err == nil {
		t.Error("30days is a time")
	}
	now := time.Now()
	if _, after, err := parseSince("1d", now); err != nil || now.Sub(after) != 24*time.Hour {
		t.Error(after, err)
	}
	var d time.Duration
	cmd := &cobra.Command{}
	usage.DurationVar(cmd.Flags(), &d, "timeout", time.Minute, "")
	if err := cmd.Flags().Parse([]string{"--timeout", "2d"}); err != nil || d != 48*time.Hour {
		t.Error(d, err)
	}
}

// The first lines and the status say which server this is.
func TestWhichServer(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	for _, want := range []string{`msg="server ready"`, "version=", "config=" + p.dir + "/config.toml", "database=" + p.dir + "/roomd.db", "pid="} {
		if !p.logged(want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	out, errs, status := p.admin("status", "--json")
	for _, want := range []string{`"version":"` + thisVersion().Version + `"`, `"pid":`, `"config":"` + p.dir + `/config.toml"`, `"database":"` + p.dir + `/roomd.db"`, `"addresses":"127.0.0.1:`} {
		if status != exitOK || !strings.Contains(out, want) {
			t.Errorf("the status does not say %s: %s%s", want, out, errs)
		}
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Whoever reads them stands in another folder than the server.
	cmd := p.roomd("serve", "--config", "config.toml")
	cmd.Dir = p.dir
	text, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	first, err := bufio.NewReader(text).ReadString('\n')
	if want := "configuration: " + p.dir + "/config.toml, database: " + p.dir + "/roomd.db\n"; err != nil || !strings.HasSuffix(first, want) {
		t.Errorf("%q, %v; want %q", first, err, want)
	}
	out, errs, status = p.admin("status", "--json")
	if want := `"database":"` + p.dir + `/roomd.db"`; status != exitOK || !strings.Contains(out, want) {
		t.Error(out, errs)
	}
}

// Lines that are damaged are known to doctor as soon as somebody has come across
// them, with the name of the room.
func TestDoctorKnowsDamagedRoom(t *testing.T) {
	p := newProcess(t, "rooms.replay = 0")
	p.start()
	p.nc(p.first, strings.NewReader("a line that comes to harm\n"))
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "roomd.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	harmed := bytes.ReplaceAll(whole, []byte("comes to harm"), []byte("comes to hurt"))
	if bytes.Equal(harmed, whole) {
		t.Fatal("the line is not there")
	}
	if err := os.WriteFile(file, harmed, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.nc(p.first, strings.NewReader("/history\n"))
	p.admin("read", "lobby")
	out, errs, _ := p.admin("doctor")
	if !strings.Contains(out, "room lobby") || !strings.Contains(out, "corrupt") {
		t.Error(out, errs)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A flag with nothing in it, as an unset variable of a script makes it, is refused,
// and not taken for the default; so is "-" where a file has to be one.
func TestEmptyFlag(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	socket, server, config := p.dir+"/roomd.sock", fmt.Sprintf("127.0.0.1:%d", p.master), p.dir+"/config.toml"
	for _, args := range [][]string{
		{"tail", "lobby", "--server", server, "--follow=false", "--cursor", ""}, {"tail", "lobby", "--server", server, "--follow=false", "--cursor="},
		{"tail", "lobby", "--server", server, "--follow=false", "--cursor", "-"}, {"tail", "lobby", "--config", config, "--follow=false", "--since", ""},
		{"list", "--server", ""}, {"list", "--config", ""}, {"list", "--server", server, "--ca", ""}, {"chat", "--server", server, "--nick", ""},
		{"send", "lobby", "hi", "--server", server, "--nick", ""}, {"create", "open", "--server", server, "--password", ""},
		{"delete", "lobby", "--server", server, "--yes", "--key", ""}, {"store", "--config", "", "info"}, {"check", "--config", ""}, {"serve", "--config="},
		{"admin", "--socket", "", "version"}, {"admin", "--config=", "version"}, {"admin", "--socket", socket, "backup", "-"},
	} {
		var out, errs bytes.Buffer
		if status := run(args, strings.NewReader(""), &out, &errs); status != exitUsage || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%q: %d %s %s", args, status, &out, &errs)
		}
	}
	if out, errs, status := p.does("", "list"); status != exitOK || strings.Count(out, "\n") != 2 || !strings.Contains(out, "lobby") {
		t.Error("what was refused was done:", out, errs)
	}
	for _, name := range []string{"-", p.dir + "/-"} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("there is a file %s", name)
			os.Remove(name)
		}
	}
	// A file of that name can be had.
	if out, errs, status := p.admin("backup", p.dir+"/-"); status != exitOK {
		t.Error(out, errs)
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
		"check x":       `--config FILE`,
		"store check x": `(server.data)`,
		"version x":     `usage: roomd version [flags]; "x" is one argument too many` + "\n",
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
		if status := run(strings.Fields(line), nil, out, errw); status != exitOK || !strings.Contains(out.String(), "Example") || errw.Len() > 0 {
			t.Errorf("roomd %s: status %d, %q, %q", line, status, out, errw)
		}
	}
	out := new(bytes.Buffer)
	if status := run([]string{"version", "--json"}, nil, out, out); status != exitOK || !strings.Contains(out.String(), `"platform":"`) {
		t.Error(status, out)
	}
	t.Chdir(t.TempDir())
	out.Reset()
	if status := run([]string{"check"}, nil, out, out); status != exitOK || !strings.Contains(out.String(), "127.0.0.1:8080") {
		t.Error(status, out)
	}
}
