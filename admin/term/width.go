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

// runeWidth returns the columns of a character: 2 for wide characters of East Asia and emoji,
// 0 for characters that combine with the one before (UAX 11, UAX 44). Typed lines and printed
// texts use the same widths.
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

// combines reports whether a character is drawn over the one before it.
func combines(r rune) bool {
	return r >= 0x300 && (unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) || r >= 0x1160 && r <= 0x11ff)
}

// isModifier reports whether a character changes the emoji before it.
func isModifier(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

// inCluster reports whether a position is inside of a cluster, that is, of characters that are
// drawn as one.
func inCluster(line []rune, at int) bool {
	return at > 0 && at < len(line) && (combines(line[at]) || isModifier(line[at]) || line[at-1] == joiner)
}

// clusterStart returns the start of the cluster before a position.
func clusterStart(line []rune, at int) int {
	for at = max(0, at-1); inCluster(line, at); at-- {
	}
	return at
}

// clusterEnd returns the end of the cluster after a position.
func clusterEnd(line []rune, at int) int {
	for at = min(len(line), at+1); inCluster(line, at); at++ {
	}
	return at
}

// Width returns the columns of a text. Colour sequences take none.
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

// cutCluster cuts the first character off a text that is not empty. shown is its safe form:
// control characters, and those that change the direction of writing, are replaced. A colour
// sequence is one character, and so is the bell.
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

// isControl reports whether a character controls the terminal instead of being drawn.
func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 ||
		r >= 0x300 && r != joiner && r != 0x200c && unicode.Is(unicode.Cf, r)
}

// styleLength returns the length of the colour sequence at the beginning of a text (SGR,
// ECMA-48); 0: there is none.
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

// rowWriter breaks characters into rows of a terminal's width. Colours continue after a break,
// but not in the indentation.
type rowWriter struct {
	width, indent int

	rows     []string // complete
	current  strings.Builder
	col      int
	rowStart int // column of the first character of this row
	style    string
}

// newRowWriter returns a rowWriter. The indentation of the further rows is reduced for narrow
// terminals.
func newRowWriter(width, indent int) *rowWriter {
	width = max(1, width)
	if indent > 0 {
		indent = min(max(1, min(indent, width/4)), width-1)
	}
	return &rowWriter{width: width, indent: indent}
}

// put appends a character.
func (p *rowWriter) put(shown string, columns int) {
	if p.overflows(columns) {
		p.newRow()
	}
	p.current.WriteString(shown)
	p.col += columns
	if styleLength(shown) > 0 {
		if p.style += shown; shown == "\x1b[0m" || shown == "\x1b[m" {
			p.style = ""
		}
	}
}

// overflows reports whether a character of this width belongs in the next row.
func (p *rowWriter) overflows(columns int) bool {
	return p.col+columns > p.width && p.col > p.rowStart && columns > 0
}

// newRow begins the next row.
func (p *rowWriter) newRow() {
	if p.style != "" {
		p.current.WriteString("\x1b[0m")
	}
	p.rows = append(p.rows, p.current.String())
	p.current.Reset()
	p.current.WriteString(strings.Repeat(" ", p.indent) + p.style)
	p.col, p.rowStart = p.indent, p.indent
}

// finish returns all rows.
func (p *rowWriter) finish() []string { return append(p.rows, p.current.String()) }

// token is not broken if it fits into a row: a word, one wide character, or the space between
// words.
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
			// Combining characters belong to it.
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

// Fold breaks a line into rows of at most width columns. The further rows are indented, so
// that they cannot look like the beginning of another line. Words are not broken if they fit;
// the space at a break is omitted.
func Fold(line string, width, indent int) []string {
	p := newRowWriter(width, indent)
	space := 0 // columns of pending space
	for line != "" {
		t, is := nextToken(line)
		line = line[len(t.text):]
		if is {
			for _, r := range t.text {
				if space++; r == '\t' { // to the next tab stop
					space += 7 - (p.col+space-1)%8
				}
			}
			continue
		}
		over := p.col+space+t.width > p.width
		if over && p.col > p.rowStart && (t.width <= p.width-p.indent || p.col+space >= p.width) {
			p.newRow()
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
	return p.finish()
}

// Clip cuts a line to a width.
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

// Pad pads a text with spaces to a width.
func Pad(text string, width int) string { return text + strings.Repeat(" ", max(0, width-Width(text))) }

// Columns formats the rows of a table, with two spaces between columns. Cells are printable
// and may have colours; the last cell of a row is not padded.
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
