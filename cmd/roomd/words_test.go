package main

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// refused are patterns of words that a reader at night, whose first language may be
// another one, has to read twice, or that say nothing; and of names that this tree gave
// to things that have a known one. Beside each is what to write.
var refused = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\b(anew|again and again|all the same|beside itself|lately|let go|leaves? word|look once more|so long|straight away|` +
		`whoever stays takes|is at it|nobody's)\b`), "a plain word"},
	{regexp.MustCompile(`(?i)\b(by|of|for|with|and|from|to|than|as|at|behind|in|on|before|after|only|or|but|also|into|until|beside|against|about) who\b`),
		"the member, client, goroutine or operator that …"},
	// A sentence whose subject is "who". (A question has a mark at its end.)
	{regexp.MustCompile(`(^|[.:;] )Who\b[^?]*$`), "the member, client, goroutine or operator that …"},
	{regexp.MustCompile(`(?i)\bvirgin\b`), "an empty database"},
	{regexp.MustCompile(`(?i)\blatch(es|ed)?\b`), "read-only"},
	{regexp.MustCompile(`(?i)\b(tidy|tidies|tidied)\b`), "retention"},
	{regexp.MustCompile(`(?i)\b(spoilt|spoiled)\b`), "corrupt"},
	{regexp.MustCompile(`(?i)\bnudge[ds]?\b`), "wake"},
	{regexp.MustCompile(`(?i)\b(knocks?|knocked)\b`), "a password check"},
	{regexp.MustCompile(`(?i)\bparked\b`), "frozen"},
	{regexp.MustCompile(`(?i)\b(heal|heals|healed|healing)\b`), "recover, or recovery"},
	{regexp.MustCompile(`(?i)\bhousekeeping\b`), "retention"},
	{regexp.MustCompile(`(?i)\b(to|from|in|into|write|writes|read|reads|sync|syncs) the journal (is|of|has|and|before)\b|\bfold(s|ed|ing)? (it |them )?into\b`), "the write-ahead log, a checkpoint"},
	{regexp.MustCompile(`(?i)\b(call|calls|called|calling) (it )?off\b`), "cancel"},
	{regexp.MustCompile(`(?i)\bbarred\b`), "refused"},
	{regexp.MustCompile(`(?i)\bleftovers?\b`), "pending input"},
	{regexp.MustCompile(`\b(hurry|hurries|hurried)\b`), "a rate limit"},
	{regexp.MustCompile(`\b(crowd|crowds|crowded)\b`), "very many connections"},
	{regexp.MustCompile(`(?i)\bflush pass`), "a fan-out"},
	{regexp.MustCompile(`(?i)\b(see|sees|seen|saw) (it|him|her|them|somebody) off\b`), "end, or disconnect"},
}

// bareWhat is "what" as a noun, in a document: a sentence begins with it (and is no
// question), or it stands behind a preposition.
var bareWhat = regexp.MustCompile(`(^|[.:;] )What [^?]*$|\b(by|of|for|with|from|to|than|as|at|behind|into|beside|beyond|but|in|on) what\b`)

// fixed is text that the refused patterns leave alone: promises of the protocol page, and
// names in code, old ones in the changelog among them.
var fixed = regexp.MustCompile("too far behind and are let go|`[^`]*`")

// refusedIn returns the first refused words of a text and what to write, or "".
func refusedIn(text string) (words, instead string) {
	text = fixed.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	for _, r := range refused {
		if words := r.pattern.FindString(text); words != "" {
			return words, r.instead
		}
	}
	return "", ""
}

func TestRefusedIn(t *testing.T) {
	for text, refused := range map[string]bool{
		"the lines are read by who joins": true, "Who joins sees them.": true, "for so\n// long": false, "is written anew": true,
		"Who may delete?": false, "say who you are": false, "as soon as it is read": false, "a member that joins sees them": false,
		"`latch` was its name": false,
	} {
		if got, _ := refusedIn(text); (got != "") != refused {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// No text of ours that a person reads has refused words: documents, comments, and the
// strings of the program. A message of the log is a phrase.
func TestWords(t *testing.T) {
	files := 0
	check := func(path string, line int, text string) {
		if words, instead := refusedIn(text); words != "" {
			t.Errorf("%s:%d: %q is hard to read; write %s", path, line, words, instead)
		}
	}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "testdata"):
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		code := strings.HasSuffix(name, ".go")
		if !code && !strings.HasSuffix(name, ".md") && !slices.Contains(documents, name) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if code {
			checkSource(t, path, text, check)
			return nil
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			check(path, n, line)
			if words := bareWhat.FindString(strings.TrimSpace(line)); words != "" && strings.HasSuffix(name, ".md") {
				t.Errorf("%s:%d: %q is hard to read; write the bytes, the lines, the state …", path, n, words)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files", files)
	}
}

// documents are files that a person reads beside those that end with .md.
var documents = []string{"config.toml", "Makefile", "roomd.service", "roomd.socket"}

// checkSource checks each comment (several lines of one are one text) and each string
// of a Go file.
func checkSource(t *testing.T, path string, text []byte, check func(path string, line int, text string)) {
	file := token.NewFileSet().AddFile(path, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	var (
		code, comments int // lines
		exports        bool
		comment        string // so far, with its first and its last line
		first, last    int
		before         [3]token.Token // the last tokens, the newest first
		function       string         // the last identifier
	)
	for {
		pos, tok, lit := s.Scan()
		line := file.Line(pos)
		switch tok {
		case token.COMMENT:
			comments++
			if line != last+1 {
				check(path, first, comment)
				comment, first = "", line
			}
			comment, last = comment+" "+strings.TrimLeft(lit, "/ "), line
		case token.STRING:
			check(path, line, strings.Trim(lit, "`\""))
			if logs[function] && before == [3]token.Token{token.LPAREN, token.IDENT, token.PERIOD} && !strings.Contains(lit, " ") {
				t.Errorf("%s:%d: the message %s is no phrase: say what happened to what", path, line, lit)
			}
		case token.SEMICOLON:
			code++
		case token.IDENT:
			function = lit
			exports = exports || before[0] == token.FUNC && token.IsExported(lit)
		case token.EOF:
			check(path, first, comment)
			if exports && comments*100 < 8*(code+comments) {
				t.Logf("%s exports something and has few comments: %d lines of %d", path, comments, code+comments)
			}
			return
		}
		before = [3]token.Token{tok, before[0], before[1]}
	}
}

// logs are the methods of a slog.Logger whose first argument is a message.
var logs = map[string]bool{"Debug": true, "Info": true, "Warn": true, "Error": true}
