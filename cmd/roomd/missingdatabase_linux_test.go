package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An upgrade fails, and the database is not there when the server wants it back: it
// tries for a while, without filling the log, and then ends in good order, so that
// what has started it starts it again.
func TestDatabaseThatIsNotThereAgain(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	ann.say("before\n")
	ann.hear("<guest-1> before")
	successor := filepath.Join(p.dir, "successor")
	if err := os.WriteFile(successor, []byte(fmt.Sprintf("#!/bin/sh\n%s='%s: %s' exec %s \"$@\"\n", asSuccessor, opened, replaces, os.Args[0])), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := p.admin("upgrade", successor); status != exitFailed || !strings.Contains(errs, "reopen the database: ") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	rest, _ := io.ReadAll(ann.in)
	if !strings.HasSuffix(string(rest), "* lobby: the server is stopping\n") {
		t.Errorf("ann sees %q", rest)
	}
	if err := p.kill(0); err == nil || err.Error() != "exit status 1" {
		t.Errorf("it ends with %v", err)
	}
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "level=WARN"); n > 5 || strings.Contains(string(text), "panic:") || strings.Contains(string(text), "fault in roomd") {
		t.Errorf("%d warnings, or a fault: %.3000s", n, text)
	}
	if err := os.Remove(filepath.Join(p.dir, "roomd.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(p.dir, "roomd.db.gone"), filepath.Join(p.dir, "roomd.db")); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.come(p.first).hear("<guest-1> before")
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
