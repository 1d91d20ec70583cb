package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// atOnce lets a process of the race detector end without the second that it
// waits otherwise.
const atOnce = "GORACE=atexit_sleep_ms=20"

// offered are the words that the hidden command of the shells' scripts offers.
func (p *process) offered(args ...string) (words []string) {
	p.t.Helper()
	cmd := p.roomd(append([]string{"__complete"}, args...)...)
	cmd.Env = append(cmd.Env, atOnce)
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("%q: %v", args, err)
	}
	for l := range strings.Lines(string(out)) {
		if word := strings.TrimSuffix(l, "\n"); !strings.HasPrefix(word, ":") && word != "" {
			words = append(words, word)
		}
	}
	return words
}

// A shell's Tab knows the console's commands, the rooms and the members as they
// are now, and says nothing where no server answers.
func TestShellCompletion(t *testing.T) {
	p := newProcess(t, `server.create = ["lobby", "dev", "Café"]`)
	p.start()
	c := p.visit(p.first)
	c.until(t, "you are guest-1")
	socket, server := "--socket="+filepath.Join(p.dir, "roomd.sock"), fmt.Sprintf("--server=127.0.0.1:%d", p.master)
	for _, q := range []struct {
		args []string
		want []string
	}{
		{[]string{"admin", socket, "memb"}, []string{"members"}},
		{[]string{"admin", socket, "members", ""}, []string{"Café", "dev", "lobby"}},
		{[]string{"admin", "--socket", filepath.Join(p.dir, "roomd.sock"), "members", "lo"}, []string{"lobby"}},
		{[]string{"admin", socket, "kick", "gu"}, []string{"guest-1"}},
		{[]string{"admin", socket, "members", "--so"}, []string{"--sort"}},
		{[]string{"admin", socket, "quit"}, nil}, // the console's own
		{[]string{"admin", "--so"}, []string{"--config", "--help", "--socket"}},
		{[]string{"send", server, "lo"}, []string{"lobby"}},
		{[]string{"send", server, "lobby", "d"}, nil},
		{[]string{"tail", server, "cafe\u0301"}, []string{"Café"}},
		{[]string{"chat", server, "lobby", "d"}, []string{"dev"}},
		{[]string{"delete", server, ""}, []string{"Café", "dev", "lobby"}},
		{[]string{"list", server, "d"}, []string{"dev"}},
	} {
		got := p.offered(q.args...)
		if slices.Sort(got); !slices.Equal(got, q.want) {
			t.Errorf("%q: %q, not %q", q.args, got, q.want)
		}
	}
	if got := p.offered("admin", ""); !slices.Contains(got, "rooms") || slices.Contains(got, "quit") {
		t.Errorf("%q", got)
	}

	// Nobody answers: neither a server that has gone nor one that hangs.
	silent, err := net.Listen("unix", filepath.Join(p.dir, "silent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, args := range [][]string{
		{"admin", "--socket", filepath.Join(p.dir, "none.sock"), "members", ""}, {"admin", "--socket", silent.Addr().String(), "members", ""},
		{"send", "--server", "127.0.0.1:1", ""}, {"send", "--server", mute.Addr().String(), ""}, {"send", "--config", "/nonexistent", ""},
	} {
		began := time.Now()
		if got := p.offered(args...); got != nil {
			t.Errorf("%q: %q", args, got)
		}
		if took := time.Since(began); took > completionTimeout+2*time.Second {
			t.Errorf("%q took %v", args, took)
		}
	}
}

// onPath puts a roomd into the server's folder, and returns a PATH with that.
func (p *process) onPath() string {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	wrapper := fmt.Sprintf("#!/bin/sh\n%s=1 exec %s \"$@\"\n", asRoomd, self)
	if err := os.WriteFile(filepath.Join(p.dir, "roomd"), []byte(wrapper), 0o700); err != nil {
		p.t.Fatal(err)
	}
	return "PATH=" + p.dir + ":" + os.Getenv("PATH")
}

// bash completes with the script that is installed.
func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	p := newProcess(t, `server.create = ["lobby", "dev"]`)
	p.start()
	path := p.onPath()
	script := `_get_comp_words_by_ref() { # of the package bash-completion
	cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
}
source <(roomd completion bash)
words() {
	COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9; COMPREPLY=()
	__start_roomd
	echo "${COMPREPLY[@]}"
}
words roomd admin --socket ` + filepath.Join(p.dir, "roomd.sock") + ` members lo
words roomd send --server 127.0.0.1:` + fmt.Sprint(p.master) + ` de
words roomd admin memb
words roomd admin --socket /nonexistent members lo`
	cmd := exec.Command(bash, "--norc", "-c", script)
	cmd.Env = append(os.Environ(), path, atOnce)
	out, err := cmd.Output()
	if strings.ReplaceAll(string(out), " \n", "\n") != "lobby\ndev\nmembers\n\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}
