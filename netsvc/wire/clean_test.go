package wire_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

// forbidden reports whether the protocol page forbids a character, by the Unicode properties
// that the page names.
func forbidden(r rune) bool {
	switch {
	case r == '\t', r == 0x200c, r == 0x200d, r == 0xfe0e, r == 0xfe0f:
		return false
	case unicode.Is(unicode.Cc, r), r == 0x2028, r == 0x2029, r == 0x2800, r >= 0xfff9 && r <= 0xfffb:
		return true
	}
	// Default_Ignorable_Code_Point, as in DerivedCoreProperties.txt.
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Cf, unicode.Variation_Selector) &&
		!unicode.In(r, unicode.White_Space, unicode.Prepended_Concatenation_Mark) && (r < 0x13430 || r > 0x13440)
}

// jamo are the vowels and final consonants of decomposed Hangul.
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
		if forbidden(r) {
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
			case forbidden(r):
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
		case wire.IsBlank(in) != (strings.TrimFunc(string(in), shownNot) == ""):
			t.Errorf("Blank(%q) = %v", in, wire.IsBlank(in))
		}
	})
}

// shownNot reports whether a character alone is blank.
func shownNot(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsMark(r) || r == 0x200c || r == 0x200d || forbidden(r) && !unicode.Is(unicode.Cc, r) ||
		r >= 0x13430 && r <= 0x1345f || r == 0x1d159
}

func TestIsBlank(t *testing.T) {
	for line, want := range map[string]bool{
		"": true, " ": true, "\t \r\v\f": true, "\u00a0\u3000\u2003": true,
		"a": false, "  a": false, "\xff": false, " \xc2": false, "\x00": false, "\ufffd": false,
		"\u200b": true, "\u200d\u200c \ufe0f": true, "\u0301": true, " \u00ad\u2800\u3164\u115f": true, "\U000e0100\U000e01ef": true,
		"\U0001d159 \U00016fe4\u2800": true, "\U00013430\U00013438\U00013441\U00013442\U00013443": true, "\U00013000\U00013430\U00013000": false,
		"\u202e\u2066": true, "\u20e3": true, "\ufffb": true, "\u200b.": false, "\u00ad\x1b": false, "\u0301a": false, "👩\u200d": false,
	} {
		if got := wire.IsBlank([]byte(line)); got != want {
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
