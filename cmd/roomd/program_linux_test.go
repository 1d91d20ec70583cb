package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roomd/cmd/roomd/roomdtest"
)

// openDir is a folder that others can look into, as that of a test is not.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "roomd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A member of admin.group has the server run no program of its own, and the audit
// has each that was started, by a dry run too, with its path and checksum.
func TestUpgradeOfTheGroup(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	const gid, uid = 65534, 65533
	g, err := user.LookupGroupId(fmt.Sprint(gid))
	if err != nil {
		t.Skip("there is no such group here:", err)
	}
	dir := openDir(t)
	p := newProcessIn(t, dir, fmt.Sprintf("admin.group = %q", g.Name))
	p.start()
	socket := filepath.Join(dir, "roomd.sock")
	open, ran := filepath.Join(dir, "open"), filepath.Join(dir, "ran")
	evil := filepath.Join(open, "roomd")
	roomdtest.Must(t, os.Mkdir(open, 0o777), os.Chmod(open, 0o777), os.WriteFile(evil, []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o777))
	began := func() bool { _, err := os.Stat(ran); return err == nil }
	lines := []string{"upgrade " + evil, "upgrade " + evil + " --dry-run", "upgrade /bin/true"}
	for _, line := range lines {
		if verdict, err := asks(socket, uid, gid, line); err != nil || !strings.HasPrefix(verdict, "ERR denied nothing was started, ") {
			t.Errorf("%s: %q %v", line, verdict, err)
		}
	}
	if began() {
		t.Error("it was started")
	}
	for _, line := range []string{"upgrade --dry-run", "upgrade"} {
		if verdict, err := asks(socket, uid, gid, line); err != nil || verdict != "OK" {
			t.Errorf("%s: %q %v", line, verdict, err)
		}
	}
	var serving struct{ PID int }
	out, errs, _ := p.admin("status", "--json")
	if err := json.Unmarshal([]byte(out), &serving); err != nil {
		t.Fatal(out, errs, err)
	}
	p.succeeded(serving.PID)
	if _, _, status := p.admin("upgrade", evil, "--dry-run"); status != exitFailed || !began() {
		t.Errorf("root may: status %d, started %v", status, began())
	}
	out, errs, _ = p.admin("audit", "--json")
	var all []struct {
		UID          int
		Line, Result string
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(out, errs, err)
	}
	self, err := os.Executable()
	roomdtest.Must(t, err)
	self, err = filepath.EvalSymlinks(self)
	roomdtest.Must(t, err)
	var got []string
	for _, a := range all {
		got = append(got, fmt.Sprint(a.UID, " ", a.Line, ": ", a.Result))
	}
	begun := func(path string) string { return "begun: " + path + ", SHA-256 " + roomdtest.Sum(t, path) }
	for _, want := range []string{fmt.Sprint(uid, " upgrade --dry-run: ", begun(self)), fmt.Sprint(uid, " upgrade: ", begun(self)), "0 upgrade " + evil + " --dry-run: " + begun(evil)} {
		if !slices.Contains(got, want) {
			t.Errorf("the audit lacks %q; it has %q", want, got)
		}
	}
	for _, line := range lines {
		if !slices.ContainsFunc(got, func(g string) bool {
			return strings.HasPrefix(g, fmt.Sprint(uid, " ", line, ": nothing was started, "))
		}) {
			t.Errorf("the audit lacks %q; it has %q", line, got)
		}
	}
}
