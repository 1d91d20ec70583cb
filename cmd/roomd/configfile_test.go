package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/remote"
)

// hugo is the configuration of a site.
const hugo = `baseURL = "https://example.org/"
languageCode = "en-us"
title = "My site"
[params]
  author = "ann"
[server]
  [[server.headers]]
    for = "/**"
`

// What is wrong elsewhere in the file keeps nobody from looking.
func TestMistakesElsewhere(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	file := filepath.Join(p.dir, "config.toml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try := func(line string) (out, errs string, status int) {
		var o, e bytes.Buffer
		words := strings.Fields(line)
		words = slices.Insert(words, 1, "--config", file)
		status = run(words, strings.NewReader("hello\n"), &o, &e)
		return o.String(), e.String(), status
	}
	tools := []string{"list", "create dev", "send lobby", "tail lobby --follow=false", "chat lobby", "delete dev --yes", "admin status"}
	for _, bad := range []string{
		"access.delete = \"everyone\"", "limits.burst = -1\nhistroy.lines = 5", "rooms.max = 5000", "metrics.listen = \"x\"", "nonsense", "[limits\n",
		"log.level = 5 # ports",
	} {
		write(string(good) + bad + "\n")
		for _, tool := range tools {
			out, errs, status := try(tool)
			if status != exitOK || !strings.Contains(errs, "roomd: warning: ") || strings.Count(errs, "\n") != 1 {
				t.Errorf("%q, %s: %d %q %q", bad, tool, status, out, errs)
			}
		}
		if _, errs, status := try("check"); status != exitFailed || !strings.Contains(errs, "mistake") {
			t.Errorf("%q is no mistake: %d %q", bad, status, errs)
		}
	}
	// What they need must be right: nobody is to be sent to another server.
	for _, bad := range []string{"\"8080\"", "80808", "80 80", "\"8080"} {
		write(strings.Replace(string(good), fmt.Sprint("server.port = ", p.master), "server.port = "+bad, 1))
		if _, errs, status := try("list"); status != exitFailed || !strings.Contains(errs, ":1: ") || !strings.Contains(errs, "--server") {
			t.Errorf("%s: %d %q", bad, status, errs)
		}
		if _, errs, status := try(fmt.Sprint("list --server 127.0.0.1:", p.master)); status != exitOK || errs != "" {
			t.Errorf("%s: %d %q", bad, status, errs)
		}
		if _, errs, status := try("admin status"); status != exitOK {
			t.Errorf("%s: %d %q", bad, status, errs)
		}
	}
	write(strings.Replace(string(good), "server.port", "server.prot", 1))
	if _, errs, status := try("list"); status != exitFailed || !strings.Contains(errs, "server.port") {
		t.Errorf("%d %q", status, errs)
	}
	write(string(good) + "admin.socket = 5\n")
	if _, errs, status := try("admin status"); status != exitUnreachable || !strings.Contains(errs, "admin.socket") {
		t.Errorf("%d %q", status, errs)
	}
	if _, errs, status := try("list"); status != exitOK {
		t.Errorf("%d %q", status, errs)
	}
	// One that is named is used, or is an error.
	write(hugo)
	for _, tool := range append(tools, "check", "serve", "store info") {
		want := exitFailed
		if strings.HasPrefix(tool, "admin") {
			want = exitUnreachable
		}
		if _, errs, status := try(tool); status != want || tool != "check" && tool != "serve" && !strings.Contains(errs, "is not a configuration of roomd") {
			t.Errorf("%s: %d %q", tool, status, errs)
		}
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	write(string(good) + "access.delete = \"everyone\"\n")
	if out, errs, status := try("store"); status != exitOK && out == "" {
		t.Error(errs)
	}
	if out, _ := p.tool("store", "check"); !strings.Contains(out, "is whole") || !strings.Contains(out, "warning") {
		t.Error(out)
	}
	write(string(good) + "history.lines = 5\n")
	if out, status := p.tool("store", "compact"); status != exitFailed || !strings.Contains(out, "history.lines") {
		t.Error(out) // it would remove lines by that
	}
	write(string(good))
}

// A file that happens to lie in a folder is used by those who work there, if it is
// one of roomd, and by root never.
func TestConfigHere(t *testing.T) {
	if _, err := os.Stat(config.Installed); err == nil {
		t.Skip(config.Installed, "is there")
	}
	dir := foreignFolder(t)
	p := newProcess(t, fast)
	p.start()
	own, err := os.ReadFile(filepath.Join(p.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		uid        uint32
		env        string
		warns      string
		found      bool // the server
	}{
		{"ours", string(own), 1000, "", "", true},
		{"ours, as root", string(own), 0, "", "not used", false},
		{"ours, as root, named", string(own), 0, config.Var + "=config.toml", "", true},
		{"Hugo's", hugo, 1000, "", "config.toml is not a configuration of roomd: it has the keys baseURL, languageCode, params.author", false},
		{"Hugo's, as root", hugo, 0, "", "", false},
		{"Hugo's, and the server is named", hugo, 1000, fmt.Sprintf("%s=127.0.0.1:%d", remote.ServerVar, p.master), "", true},
	} {
		if c.uid != 0 && os.Geteuid() != 0 {
			c.uid = uint32(os.Geteuid())
		} else if c.uid == 0 && os.Geteuid() != 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(dir, "roomd"), "list")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), asRoomd+"=1", c.env, "HOME="+dir)
		if c.uid != uint32(os.Geteuid()) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}}
		}
		b, err := cmd.CombinedOutput()
		out := string(b)
		if found := err == nil && strings.Contains(out, "lobby"); found != c.found || !strings.Contains(out, c.warns) || c.warns == "" && strings.Contains(out, "warning") {
			t.Errorf("%s: %v %s", c.name, err, out)
		}
	}
}

// Root does not talk to a socket that somebody else has put into the folder, unless
// it is named: the answers, and what a backup is made of, would be theirs.
func TestSocketHere(t *testing.T) {
	if _, err := os.Stat(config.Installed); err == nil || os.Geteuid() != 0 {
		t.Skip("it takes root, and no ", config.Installed)
	}
	dir := foreignFolder(t)
	name := filepath.Join(dir, "roomd.sock")
	ln, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Chown(name, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 10)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			asked <- true
			c.Close()
		}
	}()
	run := func(args ...string) (out string, status int) {
		cmd := exec.Command(filepath.Join(dir, "roomd"), append([]string{"admin"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), asRoomd+"=1", "HOME="+dir)
		b, _ := cmd.CombinedOutput()
		return string(b), cmd.ProcessState.ExitCode()
	}
	if out, status := run("rooms"); status != exitUnreachable || !strings.Contains(out, "--socket") || len(asked) > 0 {
		t.Errorf("status %d, asked %d times: %s", status, len(asked), out)
	}
	if run("--socket", "roomd.sock", "rooms"); !<-asked {
		t.Error("one that is named is not asked")
	}
}

// foreignFolder is one that every user may enter, with a roomd in it.
func foreignFolder(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "roomd-here")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "roomd"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The environment names the server and the nick.
func TestEnvironment(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	t.Setenv(remote.ServerVar, fmt.Sprint("127.0.0.1:", p.master))
	t.Setenv(remote.NickVar, "ann")
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	if status := run([]string{"send", "lobby", "hello"}, nil, &out, &errs); status != exitOK {
		t.Fatal(errs.String())
	}
	ann := p.begin("chat", "lobby")
	eventually(t, "ann is here", func() bool {
		out.Reset()
		return run([]string{"list"}, nil, &out, &errs) == exitOK && strings.Contains(out.String(), " 1 ")
	})
	if status := run([]string{"send", "lobby", "while I chat"}, nil, &out, &errs); status != exitOK {
		t.Error(errs.String())
	}
	ann.in.Write([]byte("from the chat\n"))
	ann.end()
	out.Reset()
	if status := run([]string{"tail", "lobby", "--follow=false"}, nil, &out, &errs); status != exitOK {
		t.Fatal(errs.String())
	}
	got := out.String()
	if !strings.Contains(got, "<ann> hello\n") || !strings.Contains(got, "<ann> from the chat\n") || !strings.Contains(got, "<ann-") {
		t.Error(got)
	}
}

// What is wrong in the configuration is said once: by the server, if it is to read
// the same file.
func TestMistakeIsSaidOnce(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	for _, c := range []struct {
		lines, commands []string
	}{
		{[]string{`rooms.replay = "abc"`}, []string{"reload", "rel", "reload --dry-run", "reload --json", "upgrade", "upgrade --dry-run"}},
		{[]string{`rooms.replay = "abc"`, `history.lines = "abc"`}, []string{"reload", "upgrade"}},
	} {
		p.configure(c.lines...)
		for _, line := range c.commands {
			var out bytes.Buffer
			status := run(append([]string{"admin", "--config", p.dir + "/config.toml"}, strings.Fields(line)...), nil, &out, &out)
			if n := strings.Count(out.String(), "abc"); status != exitFailed || n != len(c.lines) || strings.ContainsRune(out.String(), utf8.RuneError) || strings.Contains(out.String(), "warning") {
				t.Errorf("%s: %d mistakes are said %d times: %d %s", line, len(c.lines), n, status, &out)
			}
		}
		var out bytes.Buffer
		if status := run([]string{"admin", "--config", p.dir + "/config.toml", "version"}, nil, &out, &out); status != exitOK || strings.Count(out.String(), "warning") != 1 {
			t.Errorf("another command: %d %s", status, &out)
		}
	}
	if p.logged("\ufffd") {
		t.Error("the log has several lines in one")
	}
	p.configure()
}
