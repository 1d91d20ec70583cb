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

// A table of the page that is about a package, or about some, names each of its files once, and
// none that is not there.
func TestArchitectureFiles(t *testing.T) {
	root := filepath.Join("..", "..")
	b, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	head := regexp.MustCompile("(?m)^\\| (`[a-z/]+/`(?:, `[a-z/]+/`)*) ")
	ticked := regexp.MustCompile("`([a-z_0-9/]+(?:\\.go)?)`")
	tables := 0
	for _, table := range strings.Split(string(b), "\n\n") {
		about := head.FindStringSubmatch(table)
		if about == nil {
			continue
		}
		tables++
		named := make(map[string]int)
		for _, row := range strings.Split(table, "\n")[2:] {
			for _, n := range ticked.FindAllStringSubmatch(row, -1) {
				if strings.HasSuffix(n[1], ".go") {
					named[n[1]]++
				}
			}
		}
		for _, p := range ticked.FindAllStringSubmatch(about[1], -1) {
			files, err := filepath.Glob(filepath.Join(root, p[1], "*.go"))
			if err != nil || len(files) == 0 {
				t.Errorf("%s: no files, %v", p[1], err)
			}
			for _, f := range files {
				name := filepath.Base(f)
				switch n := named[name]; {
				case name == "doc.go" || strings.HasSuffix(name, "_test.go"):
				case n != 1:
					t.Errorf("the table of %s names %s %d times", p[1], name, n)
				}
				delete(named, name)
			}
		}
		for name := range named {
			t.Errorf("the table of %s names %s, which is not there", about[1], name)
		}
	}
	if tables < 8 {
		t.Errorf("the page has %d tables of files", tables)
	}
}
