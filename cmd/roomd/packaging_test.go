package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/server"
)

// units copies the unit files to a folder, with this binary where roomd will be:
// systemd-analyze looks whether it is there.
func units(t *testing.T) (service, socket string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze (package systemd) is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"roomd.service", "roomd.socket"} {
		text, err := os.ReadFile(filepath.Join("packaging", name))
		if err != nil {
			t.Fatal(err)
		}
		unit := strings.ReplaceAll(string(text), "/usr/bin/roomd", os.Args[0])
		if err := os.WriteFile(filepath.Join(dir, name), []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "roomd.service"), filepath.Join(dir, "roomd.socket")
}

// systemd finds nothing wrong with the units.
func TestUnits(t *testing.T) {
	service, socket := units(t)
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", service, socket).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The unit gives the server little of the machine: 1.5 of 10, or less.
func TestHardening(t *testing.T) {
	service, _ := units(t)
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", service).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The stop of the server is shorter than what systemd allows it.
func TestStopIsShorterThanTheUnit(t *testing.T) {
	text, err := os.ReadFile("packaging/roomd.service")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(l, "TimeoutStopSec="); ok {
			allowed, err := time.ParseDuration(strings.TrimSpace(v))
			if err != nil || allowed < server.StopTimeout+2*time.Second {
				t.Errorf("the unit allows %v, stopping may take %v, %v", allowed, server.StopTimeout, err)
			}
			return
		}
	}
	t.Error("TimeoutStopSec is not set")
}

// installed is the tree that `make install` leaves for the package, with empty
// files for what it builds.
func installed(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Fatal(err)
	}
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"roomd", "man/man1/roomd.1", "man/bash/roomd", "man/zsh/_roomd", "man/fish/roomd.fish"} {
		name = filepath.Join(bin, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("make", "-C", "../..", "-o", "build", "-o", "man", "install", "DESTDIR="+dir, "PREFIX=/usr", "BIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// The documents are installed so that their links lead somewhere.
func TestInstalledDocuments(t *testing.T) {
	doc := filepath.Join(installed(t), "usr/share/doc/roomd")
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	pages, links := 0, 0
	err := filepath.WalkDir(doc, func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		pages++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), string(m[1]))); err != nil {
				t.Errorf("%s: the link to %s leads to nothing", path, m[1])
			}
		}
		return nil
	})
	if err != nil || pages < 8 || links < 12 {
		t.Errorf("%d pages with %d links, %v", pages, links, err)
	}
}

// What is installed agrees: the configuration, the units and the group.
func TestInstalledConfiguration(t *testing.T) {
	dir := installed(t)
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	name := filepath.Join(dir, "etc/roomd/config.toml")
	c, err := config.Parse(name, read("etc/roomd/config.toml"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Data != "/var/lib/roomd/roomd.db" || c.Admin.Socket != "/run/roomd/roomd.sock" || c.Admin.Group != "roomd-admin" || c.Admin.Mode != "0660" {
		t.Errorf("%+v %+v", c.Server, c.Admin)
	}
	users := read("usr/lib/sysusers.d/roomd.conf")
	for _, want := range []string{"u roomd ", "g " + c.Admin.Group + " ", "m roomd " + c.Admin.Group} {
		if !strings.Contains("\n"+users, "\n"+want) {
			t.Errorf("sysusers: %q has no %q", users, want)
		}
	}
	// The socket unit opens what the configuration would, and no more.
	var streams []string
	for l := range strings.Lines(read("usr/lib/systemd/system/roomd.socket")) {
		if v, ok := strings.CutPrefix(l, "ListenStream="); ok {
			streams = append(streams, strings.TrimSpace(v))
		}
	}
	var want []string
	for _, a := range c.Server.Listen {
		want = append(want, netip.AddrPortFrom(a, uint16(c.Server.Port)).String())
	}
	if !slices.Equal(streams, want) {
		t.Errorf("roomd.socket listens on %q, and the configuration says %q", streams, want)
	}
}

// The binary of the package needs no library of the system that it is put on, and
// says the package's version.
func TestPackagedBinary(t *testing.T) {
	make := func(target string) string {
		out, err := exec.Command("make", "-n", "-C", "../..", target, "VERSION=1.2.3~4").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	for target, wants := range map[string][]string{
		"build": {"CGO_ENABLED=0 go build ", "-X main.release=1.2.3~4"},
		"deb":   {"CGO_ENABLED=0 go build ", "-X main.release=1.2.3~4", "VERSION='1.2.3~4' "},
	} {
		out := make(target)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("make %s has no %q:\n%s", target, want, out)
			}
		}
	}
}
