package admin

import (
	"bytes"
	"fmt"
	"strings"
)

// A terminal puts what is pasted between two marks if it is asked to
// (xterm, ctlseqs: bracketed paste mode). So text with line ends is no line
// typed after the other, and a tab in it completes nothing.
const (
	pasteOn    = "\x1b[?2004h"
	pasteOff   = "\x1b[?2004l"
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// pastedTab stands for a tab in the line that is edited. It is of the private
// use area and shown as a space.
const pastedTab = '\ue009'

// paste takes pasted text out of what is typed. Several lines are one word in
// the line that is edited, like "[3 lines pasted]": it can be looked at, moved
// about, and taken back as a whole.
type paste struct {
	inside bool
	text   []byte            // so far
	held   []byte            // may be the beginning of a mark
	words  map[string]string // what stands for what, in this line
}

// filter takes bytes as they were typed and returns those for the editor.
func (p *paste) filter(in []byte) (out []byte) {
	in = append(p.held, in...)
	p.held = nil
	for len(in) > 0 {
		mark := pasteBegin
		if p.inside {
			mark = pasteEnd
		}
		before, after, found := bytes.Cut(in, []byte(mark))
		in = after
		if !found {
			n := begins(before, mark)
			p.held = bytes.Clone(before[len(before)-n:])
			before, in = before[:len(before)-n], nil
		}
		if p.inside {
			p.text = append(p.text, before...)
		} else {
			out = append(out, before...)
		}
		if found {
			if p.inside {
				out = append(out, p.word()...)
			}
			p.inside = !p.inside
		}
	}
	return out
}

// begins is how many bytes at the end of b are the beginning of a mark.
func begins(b []byte, mark string) int {
	for n := min(len(b), len(mark)-1); n > 0; n-- {
		if strings.HasPrefix(mark, string(b[len(b)-n:])) {
			return n
		}
	}
	return 0
}

// word ends a paste and returns what stands for it in the line.
func (p *paste) word() string {
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(p.text))
	text = strings.Trim(text, "\n")
	p.text = nil
	lines := strings.Count(text, "\n") + 1
	if lines == 1 {
		return strings.Map(func(r rune) rune {
			switch {
			case r == '\t':
				return pastedTab
			case r < ' ' || r == 0x7f:
				return -1 // a key
			}
			return r
		}, text)
	}
	if p.words == nil {
		p.words = make(map[string]string)
	}
	word := fmt.Sprintf("[%d lines pasted]", lines)
	for n := 2; p.words[word] != ""; n++ {
		word = fmt.Sprintf("[%d lines pasted, %d]", lines, n)
	}
	p.words[word] = text
	return word
}

// expand returns a line with what was pasted into it, and forgets that.
func (p *paste) expand(line string) string {
	for word, text := range p.words {
		line = strings.Replace(line, word, text, 1)
	}
	p.words = nil
	return strings.ReplaceAll(line, string(pastedTab), "\t")
}

// showTabs is how a line with pasted tabs is shown.
type showTabs struct{}

func (showTabs) Paint(line []rune, _ int) []rune {
	shown := make([]rune, len(line))
	for i, r := range line {
		if shown[i] = r; r == pastedTab {
			shown[i] = ' '
		}
	}
	return shown
}
