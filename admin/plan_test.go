package admin_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"roomd/admin"
	"roomd/store"
)

// planned is when the rooms are to be deleted, and the server to stop under "".
func (s *shell) planned() map[string]time.Time {
	s.T.Helper()
	var rooms []struct {
		Name     string
		Deletion time.Time
	}
	var status struct{ Stop time.Time }
	for line, v := range map[string]any{"rooms --json": &rooms, "status --json": &status} {
		if err := json.Unmarshal([]byte(s.ok(line)), v); err != nil {
			s.T.Fatal(line, err)
		}
	}
	all := make(map[string]time.Time)
	for _, r := range append(rooms, struct {
		Name     string
		Deletion time.Time
	}{"", status.Stop}) {
		if !r.Deletion.IsZero() {
			all[r.Name] = r.Deletion
		}
	}
	return all
}

// What is planned is planned after a restart, too, until it is cancelled.
func TestPlansAfterARestart(t *testing.T) {
	s := startShell(t)
	s.ok("create dev")
	s.ok("create ops")
	s.ok("create lobby")
	s.ok("delete dev --in 1h --say moving --yes")
	s.ok("delete ops --in 2h --yes")
	s.ok("stop --in 3h --yes")
	s.ok("delete lobby --in 4h --yes")
	s.ok("delete lobby --yes") // at once
	s.ok("restore lobby")
	before := s.planned()
	if len(before) != 3 || before["dev"].IsZero() || before["ops"].IsZero() || before[""].IsZero() {
		t.Error(before)
	}
	s.ok("rename dev hall")
	s.Stop()
	s.Start()
	after := s.planned()
	if len(after) != 3 || !after["hall"].Equal(before["dev"]) || !after["ops"].Equal(before["ops"]) || !after[""].Equal(before[""]) {
		t.Errorf("%v, and before %v", after, before)
	}
	if out := s.ok("delete hall --cancel"); out != "the deletion of hall is cancelled\n" {
		t.Errorf("%q", out)
	}
	s.ok("stop --cancel")
	s.Stop()
	s.Start()
	if after := s.planned(); len(after) != 1 || after["ops"].IsZero() {
		t.Error(after)
	}
	s.ok("stop --in 1h --yes")
	s.ok("stop --yes")
	s.Stop()
	s.Start()
	if after := s.planned(); len(after) != 1 || after["ops"].IsZero() {
		t.Error(after)
	}
}

// Of what was due while the server was down a deletion is carried out, and a stop
// dropped: the audit says both, of whoever had announced it.
func TestPlansThatAreLate(t *testing.T) {
	s := startShell(t)
	s.ok("create dev")
	s.ok("create ops")
	s.ok("create lobby")
	was := time.Now().Add(-3 * time.Hour)
	plan := func(room, line string, purge bool) {
		t.Helper()
		p := store.Plan{Announced: was.Add(-time.Hour), Due: was, Purge: purge, UID: 4711, User: "somebody", Line: line}
		if room != "" {
			id, err := s.Service.RoomID(room)
			if err != nil {
				t.Fatal(err)
			}
			p.Room = id
		}
		if err := s.Store.SetPlan(p); err != nil {
			t.Fatal(err)
		}
	}
	plan("dev", "delete dev --in 1h", false)
	plan("ops", "delete ops --in 1h --purge", true)
	plan("", "stop --in 1h", false)
	s.Stop()
	s.Start()
	results := make(map[string]string)
	eventually(t, "the audit has all", func() bool {
		var all []audited
		if err := json.Unmarshal([]byte(s.ok("audit --by somebody --json")), &all); err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a.UID != 4711 || a.Door != store.DoorAdmin {
				t.Errorf("%+v", a)
			}
			results[a.Line] = a.Result
		}
		return len(results) >= 3
	})
	for line, want := range map[string]string{
		"delete dev --in 1h (when it was due)":         "done, 3 hours late: the server was down",
		"delete ops --in 1h --purge (when it was due)": "done, 3 hours late: the server was down",
		"stop --in 1h": "not done: the server was down when it was due, 3 hours ago",
	} {
		if results[line] != want {
			t.Errorf("%s: %q, want %q", line, results[line], want)
		}
	}
	eventually(t, "one is in the trash, and the other is not", func() bool {
		var trash []struct{ Name string }
		if err := json.Unmarshal([]byte(s.ok("trash --json")), &trash); err != nil {
			t.Fatal(err)
		}
		return len(trash) == 1 && trash[0].Name == "dev"
	})
	if _, err := s.Service.Room("lobby"); err != nil {
		t.Error(err)
	}
	if got := s.planned(); len(got) != 0 {
		t.Error(got)
	}
	select {
	case <-s.halted:
		t.Error("it stops")
	default:
	}
	s.Stop()
	s.Start()
	if n := strings.Count(s.ok("audit --by somebody --json"), `"line"`); n != 3 {
		t.Errorf("after another restart the audit has %d entries of it", n)
	}
}

// What another process has taken over from one that served until then is not late:
// a stop is carried out.
func TestLateStopAfterAnUpgrade(t *testing.T) {
	s := startShell(t)
	if err := s.Store.SetPlan(store.Plan{Announced: time.Now().Add(-time.Hour), Due: time.Now().Add(-time.Millisecond), UID: os.Getuid(), Line: "stop --in 1h"}); err != nil {
		t.Fatal(err)
	}
	if err := s.srv.LoadPlans(); err != nil {
		t.Fatal(err)
	}
	if got := s.planned(); len(got) != 1 || got[""].IsZero() {
		t.Error(got)
	}
	s.srv.ResumePlans(true)
	<-s.halted
	if got := s.planned(); len(got) != 0 {
		t.Error(got)
	}
	if a := s.audited(1)[0]; a.Line != "stop --in 1h (when it was due)" || a.Result != "done" {
		t.Errorf("%+v", a)
	}
}

// What cannot be kept is not planned, and its members are told nothing of it.
func TestPlanThatCannotBeKept(t *testing.T) {
	s := startShell(t)
	s.ok("create dev")
	ann := s.join("dev")
	s.ok("delete dev --in 1h --yes")
	until(t, ann, "* operator: this room is to be deleted in 1 hour")
	if err := s.Store.Suspend(); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the shell's would look at the store
		s.Service.Stop()
		s.Service = nil
		if err := s.ln.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, line := range []string{"delete dev --cancel", "stop --in 1h --yes"} {
		if _, errs, status := s.do(strings.Fields(line)...); status != admin.ExitRefused || !strings.Contains(errs, "the store is closed") {
			t.Errorf("%s: %d %q", line, status, errs)
		}
	}
	if _, err := s.Service.Say("dev", "the end"); err != nil {
		t.Fatal(err)
	}
	if l := until(t, ann, "* operator: "); !strings.Contains(l, "the end") {
		t.Errorf("it is told %q", l)
	}
}
