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

// The commands of the operator's page are carried out as they stand, in their
// order, with paths and ports of the test. A line after a command must be in
// its output; … is anything.
func TestOperations(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := int(nextPort.Add(1)) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", metrics))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nGORACE=atexit_sleep_ms=0 %s=1 exec %q \"$@\"\n", asRoomd, self)
	if err := os.WriteFile(filepath.Join(bin, "roomd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	backups := t.TempDir()
	there := strings.NewReplacer("/var/backups", backups, "/etc/roomd/config.toml", "config.toml", "9180", fmt.Sprint(metrics))
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllSubmatch(page, -1) {
		for _, step := range strings.Split("\n"+there.Replace(string(block[1])), "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			commands++
			t.Log(command)
			switch command {
			case "systemctl start roomd":
				p.start()
				p.nc(p.first, strings.NewReader("a line\n"))
				continue
			case "systemctl stop roomd":
				if err := p.kill(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				continue
			}
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir = p.dir
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), p.configured())
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
			rest := string(out)
			for part := range strings.SplitSeq(strings.TrimSpace(want), "…") {
				for line := range strings.SplitSeq(part, "\n") {
					_, after, ok := strings.Cut(rest, strings.TrimSpace(line))
					if !ok {
						t.Errorf("%s\n%s\nlacks %q", command, out, line)
					}
					rest = after
				}
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands", commands)
	}
	// What the page says of metrics is about ones that there are.
	source, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`roomd_[a-z_]+[a-z]`).FindAllString(string(page), -1) {
		if name = strings.TrimSuffix(strings.TrimPrefix(name, "roomd_"), "_bucket"); name != "store" && !strings.Contains(string(source), `"`+name+`"`) && !strings.Contains(string(source), `"roomd_`+name+`"`) {
			t.Errorf("there is no metric roomd_%s", name)
		}
	}
}
