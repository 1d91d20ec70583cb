package term

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// complete extends the word before the cursor by the common prefix of all completions. If that
// adds nothing, it lists them above the line.
func complete(b *buffer) {
	b.acceptSearch()
	e := b.editor
	if e.options.Complete == nil || e.secret.Load() {
		return
	}
	typed := expandPasted(string(b.line[:b.cursor]), b.pasted, true)
	from := b.cursor
	for from > 0 && b.line[from-1] != ' ' && b.line[from-1] != '\t' {
		from--
	}
	words := slices.Clone(e.options.Complete(typed))
	words = slices.DeleteFunc(words, func(w string) bool {
		return w == "" || strings.ContainsFunc(w, func(r rune) bool { return isControl(r) || unicode.IsSpace(r) || r >= firstPasted })
	})
	switch len(words) {
	case 0:
		e.display.write(item{"\a", true}, false)
	case 1:
		b.replace(from, b.cursor, []rune(words[0]+" "))
	default:
		same := commonPrefix(words)
		if len(same) > b.cursor-from {
			b.replace(from, b.cursor, same)
			return
		}
		columns, rows := e.display.size()
		e.Print(columnTable(words, columns, rows))
	}
}

// commonPrefix returns the prefix that all words share, in any case, in the spelling of the
// first.
func commonPrefix(words []string) []rune {
	same := []rune(words[0])
	for _, w := range words[1:] {
		n := 0
		for _, r := range w {
			if n == len(same) || unicode.ToLower(r) != unicode.ToLower(same[n]) {
				break
			}
			n++
		}
		same = same[:n]
	}
	for len(same) > 0 && strings.HasPrefix(words[0], string(same)) && inCluster([]rune(words[0]), len(same)) {
		same = same[:len(same)-1] // not a part of a character
	}
	return same
}

// columnTable lays words out in columns, on at most half of the screen.
func columnTable(words []string, columns, rows int) string {
	widest := 0
	for _, w := range words {
		widest = max(widest, Width(w))
	}
	across := max(1, (columns+1)/(widest+2))
	down := (len(words) + across - 1) / across
	most := max(1, rows/2)
	var b strings.Builder
	for y := range min(down, most) {
		if y > 0 {
			b.WriteByte('\n')
		}
		for x := 0; x*down+y < len(words); x++ {
			w := words[x*down+y]
			b.WriteString(w)
			if (x+1)*down+y < len(words) {
				b.WriteString(strings.Repeat(" ", widest-Width(w)+2))
			}
		}
	}
	if down > most {
		fmt.Fprintf(&b, "\n(%d words in all)", len(words))
	}
	return b.String()
}
