package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deletion is when a room is to be deleted; zero: it is not.
func (p *process) deletion(room string) time.Time {
	p.t.Helper()
	out, errs, status := p.admin("room", room, "--json")
	var r struct{ Deletion time.Time }
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitOK {
		p.t.Fatal(status, out, errs, err)
	}
	return r.Deletion
}

// mustAdmin gives a command that must be done.
func (p *process) mustAdmin(words ...string) {
	p.t.Helper()
	if out, errs, status := p.admin(words...); status != exitOK {
		p.t.Fatalf("%v: %d %s%s", words, status, out, errs)
	}
}

// results are those that the audit has of a line.
func (p *process) results(line string) (results []string) {
	p.t.Helper()
	out, errs, status := p.admin("audit", "--json")
	var all []struct{ Line, Result string }
	if err := json.Unmarshal([]byte(out), &all); err != nil || status != exitOK {
		p.t.Fatal(status, out, errs, err)
	}
	for _, a := range all {
		if a.Line == line {
			results = append(results, a.Result)
		}
	}
	return results
}

// What was announced comes, through upgrades, kill -9 and restarts; the member that
// an upgrade hands over is not told twice.
func TestPlansGoOn(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	ann := p.come(p.first)
	ann.hear("you are guest-1")
	p.mustAdmin("delete", "lobby", "--in", "1h", "--yes")
	ann.hear("* operator: this room is to be deleted in 1 hour")
	due := p.deletion("lobby")
	same := func(what string) {
		t.Helper()
		if got := p.deletion("lobby"); due.IsZero() || !got.Equal(due) {
			t.Errorf("after %s it is to be deleted at %v, and not at %v", what, got, due)
		}
	}
	p.upgrade()
	same("an upgrade")
	ann.say("still here\n")
	for l := ""; !strings.Contains(l, "still here"); {
		if l = ann.hear(""); strings.Contains(l, "is to be deleted") {
			t.Errorf("it is told %q", l)
		}
	}
	if err := p.kill(syscall.SIGKILL); err != nil && p.cmd != nil {
		t.Fatal(err)
	}
	p.start()
	same("kill -9")
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.start()
	same("a restart")
	ann = p.come(p.first)
	ann.hear("you are guest-1")
	p.mustAdmin("delete", "lobby", "--in", "2s", "--yes")
	p.upgrade()
	ann.hear("* lobby: chat room being deleted")
	const line = "delete lobby --in 2s --yes (when it was due)"
	eventually(t, "the audit has it", func() bool { return len(p.results(line)) > 0 })
	if got := p.results(line); len(got) != 1 || got[0] != "done" {
		t.Errorf("%q", got)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// A stop that was announced comes after an upgrade, too, and is over then: the next
// start goes on.
func TestPlannedStopGoesOn(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	stop := func() time.Time {
		t.Helper()
		var status struct{ Stop time.Time }
		out, errs, _ := p.admin("status", "--json")
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			t.Fatal(out, errs, err)
		}
		return status.Stop
	}
	p.mustAdmin("stop", "--in", "1h", "--yes")
	due := stop()
	p.upgrade()
	if got := stop(); due.IsZero() || !got.Equal(due) {
		t.Errorf("it is to stop at %v, and not at %v", got, due)
	}
	p.mustAdmin("stop", "--in", "1s", "--yes")
	p.gone()
	if err := p.parent.Wait(); err != nil {
		t.Fatal(err)
	}
	p.cmd, p.parent, p.orphan = nil, nil, false
	p.start()
	if got := stop(); !got.IsZero() {
		t.Errorf("it is to stop at %v again", got)
	}
	if got := p.results("stop --in 1s --yes (when it was due)"); len(got) != 1 || got[0] != "done" {
		t.Errorf("%q", got)
	}
}
