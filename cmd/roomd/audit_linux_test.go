package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/store"
)

// What signals ask for is in the log and in the audit, key by key for a reload, and
// how the server was stopped is, though the database is closed after it.
func TestSignalsAreRecorded(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	if !p.logged("room=lobby") || !p.logged("by=server.create") {
		t.Error("the log does not say who made the first room")
	}
	audit := func() (all []store.Audit) {
		out, errs, status := p.admin("audit", "--json")
		if err := json.Unmarshal([]byte(out), &all); err != nil || status != exitOK {
			t.Fatal(status, errs, err)
		}
		return all
	}
	p.configure("limits.members = 77", `access.delete = "operator"`)
	p.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "the reload is in the audit", func() bool { return len(audit()) == 1 })
	a := audit()[0]
	if a.Line != "reload" || a.Door != "signal" || a.UID != -1 || !strings.Contains(a.Result, `limits.members from "256" to "77": applied`) || !strings.Contains(a.Result, "access.delete") {
		t.Errorf("%+v", a)
	}
	for _, key := range []string{"limits.members", "access.delete"} {
		if !p.logged(" key=" + key + " from=") {
			t.Errorf("the log does not have %s", key)
		}
	}
	// An operator's reload is in the log as well.
	p.configure("limits.members = 78", `access.delete = "operator"`)
	if _, errs := p.reload(); errs != "" {
		t.Fatal(errs)
	}
	if a := audit()[1]; a.Door != "admin socket" || !strings.Contains(a.Result, `from "77" to "78": applied`) || !p.logged("key=limits.members from=77 to=78 result=applied") {
		t.Errorf("%+v", a)
	}
	p.cmd.Process.Signal(syscall.SIGUSR2)
	eventually(t, "the upgrade is in the audit", func() bool { return len(audit()) > 2 })
	if a := audit()[2]; a.Line != "upgrade" || a.Door != "signal" || !strings.HasPrefix(a.Result, "begun: /") || !strings.Contains(a.Result, ", SHA-256 ") {
		t.Errorf("%+v", a)
	}
	eventually(t, "another process serves", func() bool { return p.logged("another process serves") })
	var pid int
	eventually(t, "it has another process", func() bool {
		text, _ := os.ReadFile(p.log.Name())
		_, rest, _ := strings.Cut(string(text), "serves now\" pid=")
		n, err := fmt.Sscan(rest, &pid)
		return n == 1 && err == nil
	})
	p.succeeded(pid)
}

// stop ends with status 0 when all has ended: the journal is folded in, and another
// server can start at once.
func TestStopWaitsForItsEnd(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	for range 3 {
		p.start()
		v := p.visit(p.first)
		v.until(t, "you are")
		out, errs, status := p.admin("stop", "--yes", "--say", "good night")
		if status != exitOK || out != "stopping; waiting until the server has stopped\n" {
			t.Fatal(status, out, errs)
		}
		for _, name := range []string{"roomd.sock", "roomd.db.journal"} {
			if _, err := os.Lstat(filepath.Join(p.dir, name)); err == nil {
				t.Errorf("%s is there still", name)
			}
		}
		v.until(t, "the server is stopping")
		p.ok("store", "check")
		if err := p.kill(0); err != nil {
			t.Fatal(err)
		}
	}
}

// A stop is recorded before the database is closed, whoever asks for it.
func TestStopIsRecorded(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	for _, c := range []struct {
		stop       func() error
		line, door string
	}{
		{func() error { return p.kill(syscall.SIGTERM) }, "stop: SIGTERM", "signal"},
		{func() error { return p.kill(syscall.SIGINT) }, "stop: SIGINT", "signal"},
		{func() error {
			if _, errs, status := p.admin("stop", "--yes"); status != exitOK {
				t.Fatal(status, errs)
			}
			return p.kill(0)
		}, "stop --yes", "admin socket"},
		{func() error {
			if _, errs, status := p.admin("stop", "--in", "1s", "--yes"); status != exitOK {
				t.Fatal(status, errs)
			}
			return p.kill(0)
		}, "stop --in 1s --yes (when it was due)", "admin socket"},
	} {
		p.start()
		if err := c.stop(); err != nil {
			t.Fatal(c.line, err)
		}
		st, err := store.Open(filepath.Join(p.dir, "roomd.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		st.Start(store.Follower{})
		all, _, err := st.Audits(t.Context(), time.Time{}, 1, nil)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || len(all) != 1 || !strings.HasPrefix(all[0].Line, c.line) || all[0].Door != c.door || all[0].Result != "done" {
			t.Errorf("%s: %+v, %v", c.line, all, err)
		}
		if !p.logged(`msg="server stopping"`) {
			t.Error(c.line, "is not in the log")
		}
	}
}

// A deletion that is refused is in the log, with its address and without the key
// that was tried, and cannot fill the audit.
func TestRefusedDeletionIsLogged(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `access.delete = "creator"`)
	p.start()
	v := p.visit(p.master)
	fmt.Fprint(v, "DELETE lobby opensesame\nQUIT\n")
	v.until(t, "ERR denied")
	v.until(t, "OK bye")
	if !p.logged(`msg="deletion of a room refused" room=lobby remote=`+v.LocalAddr().String()) || p.logged("opensesame") {
		t.Error("the log does not have it, or has the key")
	}
	if out, errs, status := p.admin("audit", "--json"); status != exitOK || strings.TrimSpace(out) != "[]" {
		t.Error(status, out, errs)
	}
}
