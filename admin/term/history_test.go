package term

import (
	"os"
	"path/filepath"
	"testing"
)

// A history that is a link stays one: the file that it leads to has the lines.
func TestPastBehindALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "dotfiles", "history"), filepath.Join(dir, ".history")
	if err := os.Mkdir(filepath.Dir(real), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(real, []byte("status\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dotfiles/history", link); err != nil {
		t.Fatal(err)
	}
	openHistory(link).add("rooms")
	if to, err := os.Readlink(link); err != nil || to != "dotfiles/history" {
		t.Errorf("the link is %q, %v", to, err)
	}
	if text, err := os.ReadFile(real); err != nil || string(text) != "status\nrooms\n" {
		t.Errorf("%q %v", text, err)
	}
}
