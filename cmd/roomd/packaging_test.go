package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
			if err != nil || allowed < stopBound+2*time.Second {
				t.Errorf("the unit allows %v, stopping may take %v, %v", allowed, stopBound, err)
			}
			return
		}
	}
	t.Error("TimeoutStopSec is not set")
}
