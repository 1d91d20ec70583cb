package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each test, benchmark and target that docs/security.md names is there.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	note := func(file, pattern string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
	}
	err = filepath.WalkDir("../..", func(file string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(file, "_test.go") {
			note(file, `(?m)^func ((?:Test|Benchmark)\w+)\(`)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	note("../../Makefile", `(?m)^([a-z-]+):.*## `)
	named := 0
	for _, m := range regexp.MustCompile("`((?:Test|Benchmark)\\w+)`|`make ([a-z-]+)|(?m)^make ([a-z-]+)").FindAllSubmatch(page, -1) {
		named++
		if name := string(m[1]) + string(m[2]) + string(m[3]); !there[name] {
			t.Errorf("the page names %s, which is nowhere", name)
		}
	}
	if named < 40 {
		t.Errorf("the page names only %d tests", named)
	}
}
