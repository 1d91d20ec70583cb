package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxMarks is how many characters without a width of their own a text may have in a row. No
// word of a living script has more than six; the longest Tibetan stack that people write has
// eight. More of them hide the lines around the text.
const MaxMarks = 8

// Clean makes safe text of a line. These become U+FFFD: bytes that are not UTF-8, control
// characters but tab, invisible characters, characters that reorder text, and marks behind
// MaxMarks others. The joiners U+200C and U+200D and the variation selectors U+FE0E and
// U+FE0F stay, as scripts and emoji need them. A cleaned text stays as it is when it is
// cleaned again.
func Clean(line []byte) string {
	for i, b := range line {
		if b >= utf8.RuneSelf || (b < ' ' && b != '\t') || b == 0x7f {
			return cleanFrom(string(line), i)
		}
	}
	return string(line)
}

// CleanString is Clean for a string.
func CleanString(s string) string { return cleanFrom(s, 0) }

// cleanFrom cleans s, whose bytes before from are ASCII and known to be clean.
func cleanFrom(s string, from int) string {
	marks := 0
	for i, r := range s[from:] {
		before := marks
		if marks = countMarks(marks, r); r != utf8.RuneError && !isDeceptive(r) && marks <= MaxMarks {
			continue
		}
		var b strings.Builder
		b.Grow(len(s) + 8)
		b.WriteString(s[:from+i])
		marks = before
		for _, r := range s[from+i:] {
			if marks = countMarks(marks, r); isDeceptive(r) || marks > MaxMarks {
				r = utf8.RuneError
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	return s
}

// countMarks counts the marks in a row up to r: combining marks, the vowels and final
// consonants of decomposed Hangul, and the format characters that Clean keeps. Spacing marks
// (Mc) stand beside other characters: they neither count nor end a row.
func countMarks(marks int, r rune) int {
	switch {
	case r < 0x300, isDeceptive(r): // lower ones have a width, or Clean replaces them
		return 0
	case r >= 0x1160 && r <= 0x11ff, r >= 0xd7b0 && r <= 0xd7fb, unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return marks + 1
	case unicode.Is(unicode.Mc, r):
		return marks
	}
	return 0
}

// invisible are the characters that show nothing, in which bytes can be hidden, and those
// that reorder text: Default_Ignorable_Code_Point (Unicode 15.0) but the four that Clean
// keeps, the separators of lines and paragraphs, the anchors of annotations, and the Braille
// pattern without dots.
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0xad, Hi: 0xad, Stride: 1}, {Lo: 0x34f, Hi: 0x34f, Stride: 1}, {Lo: 0x61c, Hi: 0x61c, Stride: 1},
		{Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, {Lo: 0x180b, Hi: 0x180f, Stride: 1},
		{Lo: 0x200b, Hi: 0x200b, Stride: 1}, {Lo: 0x200e, Hi: 0x200f, Stride: 1}, {Lo: 0x2028, Hi: 0x202e, Stride: 1},
		{Lo: 0x2060, Hi: 0x206f, Stride: 1}, {Lo: 0x2800, Hi: 0x2800, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0d, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
		{Lo: 0xfff0, Hi: 0xfffb, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1bca0, Hi: 0x1bca3, Stride: 1}, {Lo: 0x1d173, Hi: 0x1d17a, Stride: 1}, {Lo: 0xe0000, Hi: 0xe0fff, Stride: 1},
	},
	LatinOffset: 1,
}

// invisibleAlone are characters that show nothing, or nothing without others. They have a use
// within a text, and Clean keeps them. No property selects them: these are, of Unicode 15.0,
// Egyptian Hieroglyph Format Controls, KHITAN SMALL SCRIPT FILLER and MUSICAL SYMBOL NULL
// NOTEHEAD.
var invisibleAlone = &unicode.RangeTable{R32: []unicode.Range32{
	{Lo: 0x13430, Hi: 0x1345f, Stride: 1}, {Lo: 0x16fe4, Hi: 0x16fe4, Stride: 1}, {Lo: 0x1d159, Hi: 0x1d159, Stride: 1},
}}

// isDeceptive reports whether a character can move a reader's cursor, recolour a terminal,
// hide something, or make a text look like another one.
func isDeceptive(r rune) bool {
	switch {
	case r < ' ':
		return r != '\t'
	case r < 0x7f:
		return false
	case r <= 0x9f:
		return true // DEL and C1
	}
	return unicode.Is(invisible, r)
}

// CleanTopic is CleanString of a topic without the white space around it; "" for a blank one.
func CleanTopic(s string) string {
	if IsBlank([]byte(s)) {
		return ""
	}
	return CleanString(strings.TrimSpace(s))
}

// IsBlank reports whether a line has nothing to see: no characters but white space, invisible
// ones, and marks without a letter.
func IsBlank(line []byte) bool {
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		if !unicode.IsSpace(r) && !unicode.In(r, invisible, invisibleAlone) && !unicode.IsMark(r) && r != 0x200c && r != 0x200d {
			return false
		}
		line = line[n:]
	}
	return true
}
