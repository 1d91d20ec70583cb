package term

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestWidth(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "abc": 3, "日本語": 6, "한글": 4, "ｶﾅ": 2, "Ｗ": 2, "e\u0301": 1, "\U0001f44d": 2, "\U0001f44d\U0001f3fd": 4,
		"\x1b[1mbold\x1b[0m": 4, "\x1b[38;5;166mx\x1b[0m": 1, "a\a": 1, "\x1b[2J": 4, "\ufffd": 1, "\u202e": 1, "a\u200db": 2, "·—…": 3, "\u1112\u1161\u11ab": 2,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q: %d, not %d", text, got, want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		line          string
		width, indent int
		want          []string
	}{
		{"", 10, 4, []string{""}},
		{"one two", 10, 4, []string{"one two"}},
		{"one two three", 10, 2, []string{"one two", "  three"}},
		{"one two three", 13, 2, []string{"one two three"}},
		{"19:41 dev <mal> " + strings.Repeat(" ", 58) + "19:41 dev <bob> I quit", 80, 6, []string{"19:41 dev <mal>" + strings.Repeat(" ", 59) + "19:41", "      dev <bob> I quit"}},
		{"19:41 dev <mal> " + strings.Repeat(" ", 64) + "19:41 dev <bob> I quit", 80, 6, []string{"19:41 dev <mal>", "      19:41 dev <bob> I quit"}},
		{"19:41 dev <mal> " + strings.Repeat(" ", 500) + "19:41 dev <bob> I quit", 80, 6, []string{"19:41 dev <mal>", "      19:41 dev <bob> I quit"}},
		{"<a> " + strings.Repeat("x", 20), 10, 2, []string{"<a> xxxxxx", "  xxxxxxxx", "  xxxxxx"}},
		{"<a> 日本語日本", 10, 2, []string{"<a> 日本語", "  日本"}},
		{"<a> 日本語日本", 9, 2, []string{"<a> 日本", "  語日本"}},
		{"<a> e\u0301e\u0301e\u0301 e\u0301e\u0301", 8, 2, []string{"<a> e\u0301e\u0301e\u0301", "  e\u0301e\u0301"}},
		{"\x1b[7mone two three\x1b[0m", 10, 2, []string{"\x1b[7mone two\x1b[0m", "  \x1b[7mthree\x1b[0m"}},
		{"a\tb", 20, 2, []string{"a       b"}},
		{"one two", 1, 6, []string{"o", "n", "e", "t", "w", "o"}},
		{"one two", 2, 6, []string{"on", " e", " t", " w", " o"}},
		{"日本", 1, 6, []string{"日", "本"}},
		{"\x1b[2Jx\x9b", 20, 2, []string{"\ufffd[2Jx\ufffd"}},
	} {
		if got := Fold(c.line, c.width, c.indent); !slices.Equal(got, c.want) {
			t.Errorf("%q in %d:\ngot  %q\nwant %q", c.line, c.width, got, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"a日本", 4, "a日"}, {"\x1b[1mabcd\x1b[0m", 3, "\x1b[1mabc\x1b[0m"}, {"abe\u0301d", 3, "abe\u0301"}, {"x", 0, ""},
	} {
		if got := Clip(c.line, c.width); got != c.want {
			t.Errorf("%q to %d: %q, not %q", c.line, c.width, got, c.want)
		}
	}
	if got := Pad("日本", 6); got != "日本  " {
		t.Errorf("%q", got)
	}
}

// Whatever a line is, its rows fit, those behind the first are indented, and no
// character is lost but space at a break.
func TestFoldAnything(t *testing.T) {
	pieces := []string{"a", "word", " ", "     ", "\t", "日", "本語", "\U0001f44d", "e\u0301", "\u0301", "\u200d", "\x1b[1m", "\x1b[0m", "\x1b[2J", "\xff", "\u202e", "\a", strings.Repeat("x", 50), strings.Repeat(" ", 60)}
	r := rand.New(rand.NewPCG(1, 2))
	solid := func(rows ...string) string {
		var b strings.Builder
		for _, row := range rows {
			for row != "" {
				piece, shown, w := cutCluster(row)
				if row = row[len(piece):]; shown != " " && (w > 0 || styleLength(piece) == 0) {
					b.WriteString(shown)
				}
			}
		}
		return b.String()
	}
	for range 20000 {
		var line strings.Builder
		for range r.IntN(12) {
			line.WriteString(pieces[r.IntN(len(pieces))])
		}
		width, indent := r.IntN(60), r.IntN(10)
		rows := Fold(line.String(), width, indent)
		for i, row := range rows {
			if n := Width(row); n > max(3, width) { // what is wide may not fit beside the indentation
				t.Fatalf("%q: %q has %d columns, not %d", line.String(), row, n, width)
			}
			if i > 0 && indent > 0 && width > 1 && !strings.HasPrefix(row, " ") {
				t.Fatalf("%q in %d by %d: %q is not indented", line.String(), width, indent, row)
			}
		}
		if got, want := solid(rows...), solid(line.String()); got != want {
			t.Fatalf("%q in %d by %d:\ngot  %q\nwant %q", line.String(), width, indent, got, want)
		}
	}
}

// The cursor is where the text left of it ends, in whatever width.
func TestLay(t *testing.T) {
	line := []rune("ab日本e\u0301\U0001f469\u200d\U0001f467x\tz" + strings.Repeat("long ", 20))
	for width := range 60 {
		for at := 0; at <= len(line); at = clusterEnd(line, at) {
			rows, row, left := layOut(inputState{prompt: "\x1b[1mroom\x1b[0m> ", text: line, cursor: at}, width)
			if row >= len(rows) || !strings.HasPrefix(rows[row], left) {
				t.Fatalf("width %d, at %d: row %d, %q in %q", width, at, row, left, rows)
			}
			for _, r := range rows {
				if Width(r) > max(2, width) {
					t.Fatalf("width %d: %q", width, r)
				}
			}
			if at == len(line) {
				break
			}
		}
	}
	rows, row, left := layOut(inputState{prompt: "> ", text: []rune("12345678"), cursor: 8}, 10)
	if !slices.Equal(rows, []string{"> 12345678", ""}) || row != 1 || left != "" {
		t.Errorf("%q %d %q", rows, row, left)
	}
}
