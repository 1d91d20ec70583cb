package admin_test

import (
	"strings"
	"testing"
	"time"

	"roomd/store"
)

// A room that is deleted for good is gone, whether the trash has kept it until then
// or not.
func TestDeleteForGood(t *testing.T) {
	s := startShell(t)
	for name, keep := range map[string]store.Retention{"kept": {Trash: time.Hour}, "late": {}, "large": {Trash: time.Hour, TrashBytes: 1}} {
		s.ok("create " + name)
		s.Store.SetRetention(keep)
		if out := s.ok("delete " + name + " --yes --purge"); !strings.Contains(out, "gone for good") {
			t.Errorf("%s: %s", name, out)
		}
		if out := s.ok("trash"); strings.Contains(out, name) {
			t.Errorf("%s: %s", name, out)
		}
	}
}
