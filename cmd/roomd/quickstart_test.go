package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// without returns the first of the wanted lines that an output lacks, in their order;
// … stands for anything.
func without(out, want string) (lacks string) {
	for part := range strings.SplitSeq(strings.TrimSpace(want), "…") {
		for line := range strings.SplitSeq(part, "\n") {
			_, after, ok := strings.Cut(out, strings.TrimSpace(line))
			if !ok {
				return line
			}
			out = after
		}
	}
	return ""
}

// program makes the command roomd in a folder of its own, for documents that use it.
func program(t *testing.T, folder string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nGORACE=atexit_sleep_ms=0 %s=1 exec %q \"$@\"\n", asRoomd, self)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "roomd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
}

// The commands of the quick start are carried out as they stand, in their order, on
// other ports, and its bot is asked for the time.
func TestQuickstart(t *testing.T) {
	if _, err := exec.LookPath("nc"); err != nil {
		t.Skip("nc (netcat-openbsd) is not installed")
	}
	text, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, "")
	p.start()
	program(t, filepath.Join(p.dir, "bin"))
	page := strings.NewReplacer("8080", fmt.Sprint(p.master), "9000", fmt.Sprint(p.first), "9001", fmt.Sprint(p.first+1)).Replace(string(text))
	shell := func(script string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.configured())
		return cmd
	}
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for _, step := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			commands++
			out, err := shell(command).CombinedOutput()
			if err != nil {
				t.Errorf("$ %s: %v\n%s", command, err, out)
			}
			if line := without(string(out), want); line != "" {
				t.Errorf("$ %s\n%s\nlacks %q", command, out, line)
			}
		}
	}
	if commands < 10 {
		t.Errorf("only %d commands", commands)
	}
	found := regexp.MustCompile("(?s)```sh\n([^`]*while read[^`]*)```").FindStringSubmatch(page)
	if found == nil {
		t.Fatal("there is no bot")
	}
	bot := shell(found[1])
	bot.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	defer bot.Wait()
	defer syscall.Kill(-bot.Process.Pid, syscall.SIGKILL)
	eventually(t, "the bot is in the room", func() bool {
		out, _, _ := p.admin("members", "kitchen", "--json")
		return strings.Contains(out, `"room"`)
	})
	ann := p.visit(p.first + 1)
	ann.until(t, "you are guest-")
	fmt.Fprintln(ann, "!date")
	ann.until(t, "<clock> it is ")
}
