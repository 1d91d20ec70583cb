package admin_test

import (
	"encoding/json"
	"fmt"
	"regexp"
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
		if out := s.ok("delete " + name + " --yes --purge"); !strings.Contains(out, "deleted for good") {
			t.Errorf("%s: %s", name, out)
		}
		if out := s.ok("trash"); strings.Contains(out, name) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// Of several deleted rooms of one name the answer says which one comes back, or goes,
// and that there are others; each can be had by its ID.
func TestRestoreSaysWhich(t *testing.T) {
	s := startShell(t)
	for _, name := range []string{"dev", "DEV", "dev"} {
		s.ok("create " + name)
		s.speak(name, "hello")
		s.ok("delete dev --yes")
	}
	var trash []struct{ ID uint64 }
	if err := json.Unmarshal([]byte(s.ok("trash --json")), &trash); err != nil || len(trash) != 3 {
		t.Fatal(trash, err)
	}
	const gone = "#%d, deleted [-0-9]+ [:0-9]+ [-+0-9]+, 1 line"
	for _, c := range []struct {
		line string
		id   int
		want string
	}{
		{"restore dev --dry-run", 0, "^the room dev would be restored: " + gone + "; the trash has 2 other rooms with that name: trash lists them, restore #ID takes one of them\n$"},
		{"trash", 0, "(?m)^#%d +dev "},
		{fmt.Sprintf("purge #%d", trash[1].ID), 1, "removes DEV for good: " + gone + "; the trash has 2 other rooms with that name: trash lists them, purge #ID takes one of them"},
		{fmt.Sprintf("purge #%d --yes", trash[1].ID), 1, "^the room DEV is removed for good\n"},
		{fmt.Sprintf("restore #%d", trash[2].ID), 2, "^the room dev is restored on port \\d+: " + gone + "; the trash has 1 other room with that name"},
		{"delete dev --yes", 0, ""}, {fmt.Sprintf("purge #%d --yes", trash[0].ID), 0, ""},
		{"restore dev", 2, "^the room dev is restored on port \\d+: " + gone + "\n$"},
	} {
		out, errs, _ := s.do(strings.Fields(c.line)...)
		want := c.want
		if strings.Contains(want, "%d") {
			want = fmt.Sprintf(want, trash[c.id].ID)
		}
		if !regexp.MustCompile(want).MatchString(out + errs) {
			t.Errorf("%s: %s%s", c.line, out, errs)
		}
	}
}
