package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed puts the script of a shell where that looks for it.
func (p *process) installed(shell, file string) {
	p.t.Helper()
	script, errs, status := p.roomdSays("completion", shell)
	if status != exitOK || errs != "" || len(script) < 1000 {
		p.t.Fatalf("%d %s %.100q", status, errs, script)
	}
	file = filepath.Join(p.dir, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// roomdSays is what a command says that has no server.
func (p *process) roomdSays(args ...string) (out, errs string, status int) {
	var o, e strings.Builder
	status = run(args, nil, &o, &e)
	return o.String(), e.String(), status
}

// fish completes with the script that is installed, with a description of each
// command and flag, and the rooms and members as they are.
func TestFishCompletion(t *testing.T) {
	t.Parallel()
	fish, err := exec.LookPath("fish")
	if err != nil {
		t.Skip("fish is not installed")
	}
	p := newProcess(t, `server.create = ["lobby", "dev", "Café"]`)
	p.start()
	c := p.visit(p.first)
	c.until(t, "you are guest-1")
	p.installed("fish", "fish/completions/roomd.fish")
	socket, server := filepath.Join(p.dir, "roomd.sock"), fmt.Sprintf("127.0.0.1:%d", p.master)
	for line, want := range map[string][]string{
		"roomd ad":         {"admin"},
		"roomd send --lon": {"--long"},
		"roomd admin --socket " + socket + " members ": {"Café", "dev", "lobby"},
		"roomd admin --socket=" + socket + " kick gu":  {"guest-1"},
		"roomd admin memb":                            {"members"},
		"roomd send --server " + server + " ":         {"Café", "dev", "lobby"},
		"roomd chat --server " + server + " lobby de": {"dev"},
		"roomd send --server " + server + " lobby d":  nil,
		"roomd send --server 127.0.0.1:1 lo":          nil,
	} {
		cmd := exec.Command(fish, "--private", "-c", `complete -C "$argv"`, line)
		cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.onPath(), atOnce, "HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir, "XDG_DATA_HOME="+p.dir)
		out, err := cmd.CombinedOutput()
		var got []string
		for l := range strings.Lines(string(out)) {
			word, about, described := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			if got = append(got, word); described != (word == "admin" || word == "--long") || described && about == "" {
				t.Errorf("%s: %q", line, l)
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || err != nil {
			t.Errorf("%s: %q, not %q, %v", line, got, want, err)
		}
	}
}

// zsh completes at a terminal, with the script that is installed.
func TestZshCompletion(t *testing.T) {
	t.Parallel()
	zsh, err := exec.LookPath("zsh")
	if err != nil {
		t.Skip("zsh is not installed")
	}
	p := newProcess(t, `server.create = ["lobby", "dev", "Café"]`)
	p.start()
	c := p.visit(p.first)
	c.until(t, "you are guest-1")
	p.installed("zsh", "site-functions/_roomd")
	cmd := exec.Command(zsh, "-f", "-i")
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.onPath(), p.configured(), "LC_ALL=C.UTF-8", "ZDOTDIR="+p.dir)
	s := p.programAtTerminal(500, 50, cmd)
	s.types("PS1=; unsetopt zle_bracketed_paste; bindkey -e; fpath=($PWD/site-functions $fpath); autoload -U compinit; compinit -D -u; print -r be''gin\r")
	s.expect("begin")
	socket, server := filepath.Join(p.dir, "roomd.sock"), fmt.Sprintf("127.0.0.1:%d", p.master)
	for _, q := range [][2]string{
		{"roomd adm", "roomd admin"}, {"roomd send --lon", "roomd send --long"}, {"roomd admin memb", "roomd admin members"},
		{"roomd admin --socket " + socket + " members lo", "roomd admin --socket " + socket + " members lobby"},
		{"roomd admin --socket=" + socket + " kick gu", "roomd admin --socket=" + socket + " kick guest-1"},
		{"roomd send --server " + server + " Ca", "roomd send --server " + server + " Café"}, {"roomd send lo", "roomd send lobby"},
		{"roomd send lobby d", "roomd send lobby d"}, {"roomd send --server 127.0.0.1:1 lo", "roomd send --server 127.0.0.1:1 lo"},
	} {
		s.types(q[0] + "\t\x05]'\x01print -r -- '[\r") // what Tab has made of it is printed
		s.expect("\n[" + q[1] + "]\r\n")
	}
	// Those that are possible are listed, commands with what they do.
	s.types("roomd s\t")
	s.expect("-- Send a line to a room")
	s.types("\x15roomd send \t")
	s.expect("Café")
	s.expect("lobby")
	s.types("\x15exit\r")
	<-s.exited
}
