package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page that says where things are names files that are there, and each package.
func TestArchitecturePage(t *testing.T) {
	root := filepath.Join("..", "..")
	b, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	named := regexp.MustCompile("`([a-z_0-9/]+(?:\\.go)?)`").FindAllStringSubmatch(page, -1)
	files := 0
	for _, n := range named {
		if !strings.Contains(n[1], "/") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, n[1])); err != nil {
			t.Errorf("%s: %v", n[1], err)
		}
		files++
	}
	if files < 20 {
		t.Errorf("the page names %d files", files)
	}
	out, err := exec.Command("go", "list", "roomd/...").Output()
	if err != nil {
		t.Skip("go list:", err)
	}
	words := strings.FieldsFunc(page, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz/", r) })
	there := make(map[string]bool)
	for _, w := range words {
		there[w] = true
	}
	for p := range strings.Lines(string(out)) {
		p = strings.TrimPrefix(strings.TrimSpace(p), "roomd/")
		if base := p[strings.LastIndexByte(p, '/')+1:]; !there[p] && !there[base] && !strings.HasSuffix(base, "test") {
			t.Errorf("the page does not name %s", p)
		}
	}
}
