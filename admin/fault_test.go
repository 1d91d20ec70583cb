package admin_test

import (
	"context"
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
