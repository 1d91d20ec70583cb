package term

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxTyped bounds a line in characters. A paste that is longer or has several lines counts as
// one character.
const maxTyped = 16 << 10

// firstPasted and the characters after it stand for pasted texts in the line. They are private
// use characters of plane 16 and cannot be typed.
const firstPasted = '\U00100000'

// pasted is a text that is one character in the line; label is its display.
type pasted struct{ label, text string }

// edit is the effect of a key on the line.
type edit func(b *buffer)

// buffer is the line that is edited. The goroutine of the library owns it.
type buffer struct {
	line   []rune
	cursor int
	killed []rune
	pasted []pasted
	editor *lineEditor
	search search
}

// replace replaces the characters between two positions.
func (b *buffer) replace(from, to int, with []rune) {
	if len(b.line)-(to-from)+len(with) > maxTyped && len(with) > to-from {
		b.editor.display.write(item{"\a", true}, false)
		return
	}
	b.line = slices.Concat(b.line[:from], with, b.line[to:])
	b.cursor = from + len(with)
}

// kill removes the characters between two positions; yank inserts them again.
func (b *buffer) kill(from, to int) {
	if from < to {
		b.killed = slices.Clone(b.line[from:to])
		b.replace(from, to, nil)
	}
}

func (b *buffer) insert(text []rune) {
	if b.search.on {
		for _, r := range text {
			b.search.query += string(r)
			b.find(len(b.search.history))
		}
		return
	}
	b.replace(b.cursor, b.cursor, text)
}

// paste inserts a pasted text. Several lines become one character in the line, which is shown
// as "[3 lines pasted]": the cursor passes it in one step, and one key deletes it. Control
// characters in a single line are dropped.
func (b *buffer) paste(text string) {
	b.acceptSearch()
	text = strings.ToValidUTF8(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), string(replacement))
	text = strings.Trim(text, "\n")
	lines := strings.Count(text, "\n") + 1
	if lines == 1 {
		one := []rune(strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == backspace {
				return -1
			}
			return printable(r)
		}, text))
		if len(one) <= maxTyped/4 {
			b.replace(b.cursor, b.cursor, one)
			return
		}
	}
	label := fmt.Sprintf("[%d lines pasted]", lines)
	if lines == 1 {
		label = fmt.Sprintf("[%d characters pasted]", len([]rune(text)))
	}
	if n := len(b.pasted); n > 0 {
		label = fmt.Sprintf("%s, %d]", strings.TrimSuffix(label, "]"), n+1)
	}
	b.pasted = append(b.pasted, pasted{label, text})
	b.replace(b.cursor, b.cursor, []rune{firstPasted + rune(len(b.pasted)-1)})
}

// expandPasted returns a line with the pasted texts, or with their labels if shown is set.
func expandPasted(line string, all []pasted, shown bool) string {
	if !strings.ContainsFunc(line, func(r rune) bool { return r >= firstPasted }) {
		return line
	}
	var b strings.Builder
	for _, r := range line {
		switch n := int(r - firstPasted); {
		case n < 0:
			b.WriteRune(r)
		case n >= len(all):
			b.WriteRune(replacement)
		case shown:
			b.WriteString(all[n].label)
		default:
			b.WriteString(all[n].text)
		}
	}
	return b.String()
}

func moveLeft(b *buffer)   { b.acceptSearch(); b.cursor = clusterStart(b.line, b.cursor) }
func moveRight(b *buffer)  { b.acceptSearch(); b.cursor = clusterEnd(b.line, b.cursor) }
func deleteNext(b *buffer) { b.acceptSearch(); b.replaceAt(b.cursor, clusterEnd(b.line, b.cursor)) }
func killEnd(b *buffer)    { b.acceptSearch(); b.kill(b.cursor, len(b.line)) }
func killBegin(b *buffer)  { b.acceptSearch(); b.kill(0, b.cursor) }
func wordLeft(b *buffer)   { b.acceptSearch(); b.cursor = b.wordBefore() }
func wordRight(b *buffer)  { b.acceptSearch(); b.cursor = b.wordAfter() }
func rubWord(b *buffer)    { b.acceptSearch(); b.kill(b.wordBefore(), b.cursor) }
func killWord(b *buffer)   { b.acceptSearch(); b.kill(b.cursor, b.wordAfter()) }
func yank(b *buffer)       { b.acceptSearch(); b.replace(b.cursor, b.cursor, b.killed) }

// replaceAt removes the characters between two positions; yank does not insert them again.
func (b *buffer) replaceAt(from, to int) { b.replace(from, to, nil) }

func rubOut(b *buffer) {
	if b.search.on {
		if q := []rune(b.search.query); len(q) > 0 {
			b.search.query = string(q[:len(q)-1])
			b.find(len(b.search.history))
		}
		return
	}
	b.replaceAt(clusterStart(b.line, b.cursor), b.cursor)
}

func transpose(b *buffer) {
	b.acceptSearch()
	at := min(b.cursor, clusterStart(b.line, len(b.line)))
	from, to := clusterStart(b.line, at), clusterEnd(b.line, at)
	if from == at {
		return // there is no character before it
	}
	b.replace(from, to, slices.Concat(b.line[at:to], b.line[from:at]))
}

func clearScreen(b *buffer) { b.editor.display.write(item{"\x1b[H\x1b[2J", true}, false) }

// inWord reports whether a character belongs to a word.
func inWord(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.M) || r == '_' }

// wordBefore returns the beginning of the word before the cursor.
func (b *buffer) wordBefore() int {
	at := b.cursor
	for at > 0 && !inWord(b.line[at-1]) {
		at--
	}
	for at > 0 && inWord(b.line[at-1]) {
		at--
	}
	return at
}

// wordAfter returns the end of the word after the cursor.
func (b *buffer) wordAfter() int {
	at := b.cursor
	for at < len(b.line) && !inWord(b.line[at]) {
		at++
	}
	for at < len(b.line) && inWord(b.line[at]) {
		at++
	}
	return at
}

// search is a search in the history.
type search struct {
	on          bool
	query       string
	history     []string
	match       int // the index of the line that was found
	savedLine   []rune
	savedCursor int
}

// searchBack begins a search, or continues it with older lines.
func searchBack(b *buffer) {
	if !b.search.on {
		past := b.editor.History()
		b.search = search{on: true, history: past, match: len(past), savedLine: b.line, savedCursor: b.cursor}
		return
	}
	b.find(b.search.match)
}

// find shows the newest line with the query that is older than line number than.
func (b *buffer) find(than int) {
	s := &b.search
	for i := min(than, len(s.history)) - 1; i >= 0 && s.query != ""; i-- {
		if n := strings.Index(strings.ToLower(s.history[i]), strings.ToLower(s.query)); n >= 0 {
			s.match = i
			b.line = []rune(s.history[i])
			b.cursor = min(len(b.line), len([]rune(strings.ToLower(s.history[i])[:n])))
			return
		}
	}
	b.editor.display.write(item{"\a", true}, false)
}

// acceptSearch ends the search and keeps the found line.
func (b *buffer) acceptSearch() { b.search = search{} }

// cancelSearch ends the search and restores the line as it was before.
func cancelSearch(b *buffer) {
	if b.search.on {
		b.line, b.cursor = b.search.savedLine, b.search.savedCursor
	}
	b.acceptSearch()
}

// label replaces the prompt during a search; empty: the prompt stays.
func (b *buffer) label() string {
	if !b.search.on {
		return ""
	}
	return "(search: " + b.search.query + ") "
}
