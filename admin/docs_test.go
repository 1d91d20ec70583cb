package admin_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Every command of the table is in the page, with its usage.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`\|`, "|", "...", "", "[debug|info|warn|error]", "[LEVEL]").Replace(string(page))
	s := startShell(t)
	var commands []struct {
		Command string `json:"command"`
	}
	if err := json.Unmarshal([]byte(s.ok("help --json")), &commands); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		usage := strings.NewReplacer("...", "", "[debug|info|warn|error]", "[LEVEL]").Replace(c.Command)
		if !strings.Contains(text, "`"+usage+"`") {
			t.Errorf("%s is not in the page", usage)
		}
	}
}
