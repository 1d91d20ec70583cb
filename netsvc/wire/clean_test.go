package wire_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

// forbidden is the list of the protocol page.
var forbidden = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x00, 0x08, 1}, {0x0a, 0x1f, 1}, {0x7f, 0x9f, 1}, {0x061c, 0x061c, 1}, {0x200b, 0x200b, 1},
		{0x200e, 0x200f, 1}, {0x2028, 0x202e, 1}, {0x2060, 0x2069, 1}, {0xfeff, 0xfeff, 1},
	},
	R32: []unicode.Range32{{0xe0000, 0xe007f, 1}},
}

// jamo are the vowels and final consonants of Hangul in pieces.
var jamo = &unicode.RangeTable{R16: []unicode.Range16{{0x1160, 0x11ff, 1}, {0xd7b0, 0xd7fb, 1}}}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":      "",
		"hello": "hello",
		"a\tb":  "a\tb",
		"grüße, 東京, 👩\u200d🚀, می\u200cخواهم": "grüße, 東京, 👩\u200d🚀, می\u200cخواهم",
		"\x1b[31mred":       "\ufffd[31mred",
		"a\rb\x00c\x7f":     "a\ufffdb\ufffdc\ufffd",
		"a\x7fb":            "a\ufffdb", // nothing else in the line calls for cleaning
		"\u0085\u009b2J":    "\ufffd\ufffd2J",
		"a\xffb":            "a\ufffdb",
		"\xe2\x82":          "\ufffd\ufffd",
		"\xed\xa0\x80":      "\ufffd\ufffd\ufffd", // a surrogate
		"\xc0\x8a":          "\ufffd\ufffd",       // a line end, too long
		"already \ufffd":    "already \ufffd",
		"abc\u202etxt.exe":  "abc\ufffdtxt.exe",
		"a\u2028* ann left": "a\ufffd* ann left",
		"\ufeffhello":       "\ufffdhello",
		"x\U000e0041":       "x\ufffd",
	} {
		if got := wire.Clean([]byte(in)); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
		if got := wire.CleanString(in); got != want {
			t.Errorf("CleanString(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCleanOfEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		want := r
		if unicode.Is(forbidden, r) {
			want = utf8.RuneError
		}
		if got := wire.CleanString(string(r)); got != string(want) {
			t.Errorf("%U becomes %q, want %U", r, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"hello", "a\xff\x1b[2Jb", "\u202e\u2066\u200d", "\xf0\x9f\x98"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var want strings.Builder
		row := 0                       // marks
		for _, r := range string(in) { // gives U+FFFD for each invalid byte
			switch {
			case unicode.Is(forbidden, r):
				r, row = utf8.RuneError, 0
			case unicode.In(r, unicode.Mn, unicode.Me, jamo), r > 0x300 && unicode.Is(unicode.Cf, r):
				if row++; row > wire.MaxMarks {
					r = utf8.RuneError
				}
			case !unicode.Is(unicode.Mc, r):
				row = 0
			case row > wire.MaxMarks:
				r = utf8.RuneError
			}
			want.WriteRune(r)
		}
		got := wire.Clean(in)
		switch {
		case got != want.String():
			t.Errorf("Clean(%q) = %q, want %q", in, got, want.String())
		case wire.CleanString(string(in)) != got:
			t.Errorf("CleanString(%q) is not Clean", in)
		case wire.CleanString(got) != got:
			t.Errorf("cleaning %q twice is not cleaning it once", in)
		case wire.Blank(in) != (strings.TrimSpace(string(in)) == ""):
			t.Errorf("Blank(%q) = %v", in, wire.Blank(in))
		}
	})
}

func TestBlank(t *testing.T) {
	for line, want := range map[string]bool{
		"": true, " ": true, "\t \r\v\f": true, "\u00a0\u3000\u2003": true,
		"a": false, "  a": false, "\xff": false, " \xc2": false, "\u200b": false, "\x00": false,
	} {
		if got := wire.Blank([]byte(line)); got != want {
			t.Errorf("Blank(%q) = %v", line, got)
		}
	}
}

func BenchmarkClean(b *testing.B) {
	for name, line := range map[string]string{
		"ASCII":   "a line of a usual length, as people type them",
		"Unicode": "eine Zeile üblicher Länge, so wie man sie tippt: 東京",
		"unclean": "a line \x1b[31mof a usual length\x1b[0m, as \xff people type them",
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(line)
			b.ReportAllocs()
			for b.Loop() {
				wire.Clean(p)
			}
		})
	}
}
