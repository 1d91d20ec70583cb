package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text of what came: each byte that is not UTF-8, each control
// character but tab, and each format character that lets text lie about itself
// becomes U+FFFD. The joiners U+200C and U+200D, which scripts and emoji need,
// are kept. Cleaning twice changes nothing more.
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

// cleanFrom cleans s, whose bytes before from are known to be clean.
func cleanFrom(s string, from int) string {
	for i, r := range s[from:] {
		if r != utf8.RuneError && !lies(r) {
			continue
		}
		var b strings.Builder
		b.Grow(len(s) + 8)
		b.WriteString(s[:from+i])
		for _, r := range s[from+i:] {
			if lies(r) {
				r = utf8.RuneError
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	return s
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
