package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"roomd/admin"
)

// A fault in a command, now or when it is due, is an error: the server goes on.
func TestFaultInACommand(t *testing.T) {
	s := startShell(t)
	s.srv.Reload = func(bool) ([]admin.Change, error) { panic("a fault") }
	s.srv.Upgrade = func(context.Context, string, bool) (admin.Upgrade, error) { var p *admin.Upgrade; return *p, nil }
	for _, line := range []string{"reload", "upgrade", "upgrade --dry-run"} {
		if out, errs, status := s.do(strings.Fields(line)...); status == admin.ExitDone || !strings.Contains(errs, "a fault in roomd") {
			t.Errorf("%s: status %d, %s%s", line, status, out, errs)
		}
	}
	s.ok("status")
}

// A reload that comes at the wrong moment is refused for that, and not for the
// configuration.
func TestReloadAtTheWrongMoment(t *testing.T) {
	s := startShell(t)
	for err, want := range map[error]string{admin.BusyError("try again"): "ERR busy", errors.New("a mistake"): "ERR refused"} {
		s.srv.Reload = func(bool) ([]admin.Change, error) { return nil, err }
		verdict := s.verdict("reload")
		if out, errs, _ := s.do("reload"); verdict != want || !strings.Contains(out+errs, err.Error()) || out != "" && want == "ERR busy" {
			t.Errorf("%v: %s, %s%s", err, verdict, out, errs)
		}
	}
}
