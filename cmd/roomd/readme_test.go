package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var deleteKey = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

// The README's transcript is carried out as it stands, on other ports.
func TestReadme(t *testing.T) {
	if _, err := exec.LookPath("nc"); err != nil {
		t.Skip("nc (netcat-openbsd) is not installed")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```console\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("there is no transcript")
	}
	p := newProcess(t, "")
	p.start()
	ports := strings.NewReplacer("8080", fmt.Sprint(p.master), "9000", fmt.Sprint(p.first), "9001", fmt.Sprint(p.first+1))
	steps := strings.Split("\n"+string(found[1]), "\n$ ")[1:]
	if len(steps) < 2 {
		t.Fatal("the transcript has no commands")
	}
	for _, step := range steps {
		command, want, _ := strings.Cut(ports.Replace(step), "\n")
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		if got := deleteKey.ReplaceAllString(string(out), "KEY"); strings.TrimSpace(got) != strings.TrimSpace(deleteKey.ReplaceAllString(want, "KEY")) {
			t.Fatalf("$ %s\ngot:\n%s\nwant:\n%s", command, got, want)
		}
	}
}
