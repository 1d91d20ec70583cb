package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a newcomer can still survey: files of a package and fields of a struct, those of
// structs in it not counted; lines of the command itself.
const (
	mostFiles  = 25
	mostFields = 25
	mostLines  = 2500
)

func TestPackagesStaySmall(t *testing.T) {
	files, fields, lines := make(map[string]int), make(map[string]int), 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "dist" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), filepath.Join("..", "..")+"/"))
		if files[pkg]++; pkg == "cmd/roomd" {
			lines += bytes.Count(text, []byte("\n"))
		}
		for n := range ast.Preorder(f) {
			if spec, ok := n.(*ast.TypeSpec); ok {
				for n := range ast.Preorder(spec.Type) {
					if s, ok := n.(*ast.StructType); ok {
						name := pkg + "." + spec.Name.Name
						fields[name] = max(fields[name], fieldsOf(s))
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 || len(fields) < 100 || lines == 0 {
		t.Errorf("%d packages, %d structs, %d lines in cmd/roomd", len(files), len(fields), lines)
	}
	for pkg, n := range files {
		if n > mostFiles {
			t.Errorf("%s has %d files: which of them are a package?", pkg, n)
		}
	}
	for name, n := range fields {
		if n > mostFields {
			t.Errorf("%s has %d fields: which of them are a type?", name, n)
		}
	}
	if lines > mostLines {
		t.Errorf("cmd/roomd has %d lines: what a command does goes to a package below it", lines)
	}
}

// fieldsOf counts the fields of a struct: one that is embedded is one.
func fieldsOf(s *ast.StructType) (n int) {
	for _, f := range s.Fields.List {
		n += max(1, len(f.Names))
	}
	return n
}

// That a server stands still and goes over to another process is the subject of a few files
// of netsvc. Elsewhere whoever waits asks whether the engine is suspended.
func TestUpgradeIsTheSubjectOfFewFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "netsvc", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	subject, n := regexp.MustCompile(`(?i)freez|frozen|thaw|handover|hand(ed)? over|adopt`), 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Base(name) {
		case "handover.go", "adopt.go", "doc.go":
			n++
			continue
		}
		if found := subject.Find(b); found != nil && !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s says %q", name, found)
		}
	}
	if n != 3 {
		t.Errorf("%d of the three files are there", n)
	}
}
