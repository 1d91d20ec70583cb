package term

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const (
	joiner      = '\u200d' // binds emoji together
	replacement = '\ufffd'
)

// runeWidth is how many columns a character takes: 2 for those that are wide in
// East Asia and for emoji, 0 for those that combine with the one before (UAX 11,
// UAX 44). The lines that are typed and the texts that are printed are measured
// by it alone.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		if r == 0xad || r >= ' ' && r < 0x7f || r >= 0xa0 {
			return 1
		}
		return 0 // a control character
	case combines(r):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// combines reports whether a character is shown together with the one before.
func combines(r rune) bool {
	return r >= 0x300 && (unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) || r >= 0x1160 && r <= 0x11ff)
}

// isModifier reports whether a character changes the emoji before it.
func isModifier(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

// inCluster reports whether a place in a line is in the middle of what is seen as
// one character.
func inCluster(line []rune, at int) bool {
	return at > 0 && at < len(line) && (combines(line[at]) || isModifier(line[at]) || line[at-1] == joiner)
}

// clusterStart is the place one character before another.
func clusterStart(line []rune, at int) int {
	for at = max(0, at-1); inCluster(line, at); at-- {
	}
	return at
}

// clusterEnd is the place one character behind another.
func clusterEnd(line []rune, at int) int {
	for at = min(len(line), at+1); inCluster(line, at); at++ {
	}
	return at
}

// Width is how many columns a text takes. Sequences that set colours take none.
func Width(text string) (n int) {
	for n < len(text) && text[n] >= ' ' && text[n] < 0x7f { // most texts end here
		n++
	}
	for text = text[n:]; len(text) > 0; {
		piece, _, w := cutCluster(text)
		n += w
		text = text[len(piece):]
	}
	return n
}

// cutCluster cuts the first character off a text that is not empty. shown is what the
// terminal gets for it: a control character, or one that changes the direction of
// writing, would do something there. Sequences that set colours are one
// character, and the bell is none.
func cutCluster(text string) (piece, shown string, columns int) {
	if n := styleLength(text); n > 0 {
		return text[:n], text[:n], 0
	}
	r, n := utf8.DecodeRuneInString(text)
	piece = text[:n]
	switch {
	case r == '\a':
		return piece, piece, 0
	case r == '\t':
		return piece, " ", 1
	case isControl(r) || r == utf8.RuneError:
		return piece, string(replacement), 1
	}
	return piece, piece, runeWidth(r)
}

// isControl reports whether a character does something to a terminal, beyond being
// shown.
func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 ||
		r >= 0x300 && r != joiner && r != 0x200c && unicode.Is(unicode.Cf, r)
}

// styleLength is how long the sequence that sets colours is at the beginning of
// a text (SGR, ECMA-48); 0: there is none.
func styleLength(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for i := 2; i < len(text); i++ {
		switch b := text[i]; {
		case b == 'm':
			return i + 1
		case b != ';' && (b < '0' || b > '9'):
			return 0
		}
	}
	return 0
}

// rowWriter takes characters and breaks them into rows of a terminal's width. What
// sets colours goes on behind the break, and not in the indentation.
type rowWriter struct {
	width, indent int

	rows    []string // complete
	current strings.Builder
	col     int
	base    int // where this row began
	set     string
}

// newRowWriter is paper of a width. Rows but the first are indented, as far as the
// width has space for it.
func newRowWriter(width, indent int) *rowWriter {
	width = max(1, width)
	if indent > 0 {
		indent = min(max(1, min(indent, width/4)), width-1)
	}
	return &rowWriter{width: width, indent: indent}
}

// put adds a character.
func (p *rowWriter) put(shown string, columns int) {
	if p.full(columns) {
		p.turn()
	}
	p.current.WriteString(shown)
	p.col += columns
	if styleLength(shown) > 0 {
		if p.set += shown; shown == "\x1b[0m" || shown == "\x1b[m" {
			p.set = ""
		}
	}
}

// full reports whether so many more columns belong in the next row.
func (p *rowWriter) full(columns int) bool {
	return p.col+columns > p.width && p.col > p.base && columns > 0
}

// turn begins another row.
func (p *rowWriter) turn() {
	if p.set != "" {
		p.current.WriteString("\x1b[0m")
	}
	p.rows = append(p.rows, p.current.String())
	p.current.Reset()
	p.current.WriteString(strings.Repeat(" ", p.indent) + p.set)
	p.col, p.base = p.indent, p.indent
}

// end returns all rows.
func (p *rowWriter) end() []string { return append(p.rows, p.current.String()) }

// token is what is not broken where it fits: a word, one wide character, or the
// space before the next.
type token struct {
	text  string
	width int
}

// nextToken cuts the first token off a text that is not empty.
func nextToken(text string) (t token, space bool) {
	blank := func(piece string) bool { return piece == " " || piece == "\t" }
	for rest := text; rest != ""; {
		piece, _, w := cutCluster(rest)
		if t.text == "" {
			space = blank(piece)
		} else if blank(piece) != space || w == 2 && t.width > 0 {
			break
		}
		t.text, t.width, rest = text[:len(t.text)+len(piece)], t.width+w, rest[len(piece):]
		if w == 2 {
			// What combines with it belongs to it.
			for rest != "" {
				if piece, _, w = cutCluster(rest); w > 0 || blank(piece) {
					break
				}
				t.text, rest = text[:len(t.text)+len(piece)], rest[len(piece):]
			}
			break
		}
	}
	return t, space
}

// Fold breaks a line into rows of at most width columns. Rows but the first are
// indented, so that none of them can look like the beginning of another line.
// Words are kept whole where they fit; the space at a break is left out.
func Fold(line string, width, indent int) []string {
	p := newRowWriter(width, indent)
	space := 0 // columns of it, not put yet
	for line != "" {
		t, is := nextToken(line)
		line = line[len(t.text):]
		if is {
			for _, r := range t.text {
				if space++; r == '\t' { // to the next stop
					space += 7 - (p.col+space-1)%8
				}
			}
			continue
		}
		over := p.col+space+t.width > p.width
		if over && p.col > p.base && (t.width <= p.width-p.indent || p.col+space >= p.width) {
			p.turn()
			space = 0
		}
		for range min(space, max(0, p.width-p.col-1)) {
			p.put(" ", 1)
		}
		space = 0
		for rest := t.text; rest != ""; {
			piece, shown, w := cutCluster(rest)
			p.put(shown, w)
			rest = rest[len(piece):]
		}
	}
	for range min(space, p.width-p.col) {
		p.put(" ", 1)
	}
	return p.end()
}

// Clip cuts a line off at a width.
func Clip(line string, width int) string {
	var b strings.Builder
	set := false
	for col := 0; line != ""; {
		piece, shown, w := cutCluster(line)
		if col += w; col > width {
			break
		}
		set = set || styleLength(piece) > 0
		b.WriteString(shown)
		line = line[len(piece):]
	}
	if set && line != "" {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// Pad is a text with as many spaces behind it as it lacks to a width.
func Pad(text string, width int) string { return text + strings.Repeat(" ", max(0, width-Width(text))) }

// Columns makes a line of each row of a table: its cells stand below each other, two
// columns apart. Cells are printable, and may have colours; the last of a row is not padded.
func Columns(rows ...[]string) []string {
	var widths []int
	for _, row := range rows {
		widths = append(widths, make([]int, max(0, len(row)-len(widths)))...)
		for i, cell := range row {
			widths[i] = max(widths[i], Width(cell))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		for i, cell := range row {
			if i < len(row)-1 {
				cell = Pad(cell, widths[i]+2)
			}
			lines[n] += cell
		}
	}
	return lines
}
