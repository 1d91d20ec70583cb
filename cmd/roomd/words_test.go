package main

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// refused are words and phrases that a reader at night, whose first language may be
// another one, has to read twice; or that say nothing.
var refused = regexp.MustCompile(`(?i)\b(anew|again and again|all the same|beside itself|lately|let go|leaves? word|look once more|so long|straight away|` +
	`whoever stays takes|is at it|nobody's|virgin)\b|\b(by|of|for|with|and|from|to|than|as|at|behind) who\b`)

// bareWho is a sentence whose subject is "who". (A question has a mark at its end.)
var bareWho = regexp.MustCompile(`(^|[.:;] )Who [a-z]+s\b[^?]*$`)

// wireText is what the protocol page promises, whatever we would write today.
var wireText = regexp.MustCompile(`too far behind and are let go`)

// refusedIn returns the first refused words of a text, or "".
func refusedIn(text string) string {
	text = wireText.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	if w := refused.FindString(text); w != "" {
		return w
	}
	return bareWho.FindString(text)
}

func TestRefusedIn(t *testing.T) {
	for text, refused := range map[string]bool{
		"the lines are read by who joins": true, "Who joins sees them.": true, "for so\n// long": false, "is written anew": true,
		"Who may delete?": false, "say who you are": false, "as soon as it is read": false, "a member that joins sees them": false,
	} {
		if got := refusedIn(text); (got != "") != refused {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// No text of ours that a person reads has refused words: documents, comments, and the
// strings of the program.
func TestWords(t *testing.T) {
	files := 0
	check := func(file string, line int, text string) {
		if w := refusedIn(text); w != "" {
			t.Errorf("%s:%d: %q is hard to read: known words; subject, verb, object", file, line, w)
		}
	}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata") {
			if d != nil && d.IsDir() && err == nil {
				return fs.SkipDir
			}
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir():
			return nil
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
		case strings.HasSuffix(name, ".md"), name == "config.toml", name == "Makefile":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if !strings.HasSuffix(name, ".go") {
			n := 0
			for line := range strings.Lines(string(text)) {
				n++
				check(path, n, line)
			}
			return nil
		}
		set := token.NewFileSet()
		file := set.AddFile(path, -1, len(text))
		var s scanner.Scanner
		s.Init(file, text, nil, scanner.ScanComments)
		code, comment := 0, 0
		exports := false
		said, first, last := "", 0, 0 // the comment so far, and its lines
		say := func() {
			check(path, first, said)
			said = ""
		}
		defer func() { say() }()
		for before := token.ILLEGAL; ; {
			pos, tok, lit := s.Scan()
			switch tok {
			case token.EOF:
				if exports && comment*100 < 8*(code+comment) {
					t.Logf("%s exports something and has few comments: %d lines of %d", path, comment, code+comment)
				}
				return nil
			case token.COMMENT:
				comment++
				line := file.Line(pos)
				if line != last+1 {
					say()
					first = line
				}
				said, last = said+" "+strings.TrimLeft(lit, "/ "), line
			case token.STRING:
				check(path, file.Line(pos), strings.Trim(lit, "`\""))
			case token.SEMICOLON:
				code++
			case token.IDENT:
				exports = exports || before == token.FUNC && token.IsExported(lit)
			}
			before = tok
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files", files)
	}
}
