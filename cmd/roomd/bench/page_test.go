package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// The table goes to its place in a page, and what is around it stays.
func TestPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writePage(file, "bench", []section{{"Today.", [][]string{{"", "roomd"}, {"a case", "1 µs"}}}}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	want := "before\n<!-- bench: begin -->\nToday.\n\n|  | roomd |\n|---|--:|\n| a case | 1 µs |\n\n<!-- bench: end -->\nafter\n"
	if string(got) != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	page, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bench", "growth"} {
		if err := os.WriteFile(file, page, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := writePage(file, name, nil); err != nil {
			t.Error(err)
		}
	}
}
