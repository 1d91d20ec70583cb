package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxMarks is how many characters that take no room of their own a text may
// have in a row. No word of a living script has more than six; the longest
// Tibetan stack that people write has eight. What is beyond hides the lines
// around it.
const MaxMarks = 8

// Clean makes text of what came: each byte that is not UTF-8, each control
// character but tab, each format character that lets text lie about itself, and
// each mark behind MaxMarks others becomes U+FFFD. The joiners U+200C and
// U+200D, which scripts and emoji need, are kept. Cleaning twice changes nothing
// more.
func Clean(line []byte) string {
	for i, b := range line {
		if b >= utf8.RuneSelf || (b < ' ' && b != '\t') || b == 0x7f {
			return cleanFrom(string(line), i)
		}
	}
	return string(line)
}

// CleanString is Clean.
func CleanString(s string) string { return cleanFrom(s, 0) }

// cleanFrom cleans s, whose bytes before from are ASCII and known to be clean.
func cleanFrom(s string, from int) string {
	marks := 0
	for i, r := range s[from:] {
		before := marks
		if marks = stacked(marks, r); r != utf8.RuneError && !lies(r) && marks <= MaxMarks {
			continue
		}
		var b strings.Builder
		b.Grow(len(s) + 8)
		b.WriteString(s[:from+i])
		marks = before
		for _, r := range s[from+i:] {
			if marks = stacked(marks, r); lies(r) || marks > MaxMarks {
				r = utf8.RuneError
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	return s
}

// stacked counts the marks in a row up to r: combining ones, the vowels and
// final consonants of Hangul in pieces, and the format characters that are kept.
// Spacing ones (Mc) stand beside others and neither count nor end a row.
func stacked(marks int, r rune) int {
	switch {
	case r < 0x300, lies(r): // what is below is shown, or replaced
		return 0
	case r >= 0x1160 && r <= 0x11ff, r >= 0xd7b0 && r <= 0xd7fb, unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return marks + 1
	case unicode.Is(unicode.Mc, r):
		return marks
	}
	return 0
}

// lies reports whether a character could move a reader's cursor, recolour a
// terminal, or make text look like other text.
func lies(r rune) bool {
	switch {
	case r < ' ':
		return r != '\t'
	case r < 0x7f:
		return false
	case r <= 0x9f:
		return true // DEL and C1
	case r == 0x061c, r == 0x200b, r == 0x200e, r == 0x200f, r == 0xfeff:
		return true
	case r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// Blank reports whether a line is nothing: empty, or white space only.
func Blank(line []byte) bool {
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		if !unicode.IsSpace(r) {
			return false
		}
		line = line[n:]
	}
	return true
}
