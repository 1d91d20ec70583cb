package term

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// typist is a line that is edited without a terminal.
type typist struct {
	buffer
	from decoder
	done []string // what Enter, Ctrl-C and Ctrl-D ended
}

func newTypist(past ...string) *typist {
	p := new(typist)
	p.editor = &lineEditor{display: newDisplay(io.Discard, func() (int, int) { return 40, 10 }, 2, true), history: &linesBefore{lines: past}}
	return p
}

type linesBefore = history

// types does what the library does with a native key.
func (p *typist) types(text string) {
	for _, k := range p.from.decode([]byte(text)) {
		switch {
		case k.edit != nil:
			k.edit(&p.buffer)
			if p.cursor < 0 || p.cursor > len(p.line) {
				panic(fmt.Sprintf("the cursor is at %d of %q", p.cursor, string(p.line)))
			}
		case k.native == ctrlA:
			p.acceptSearch()
			p.cursor = 0
		case k.native == ctrlE:
			p.acceptSearch()
			p.cursor = len(p.line)
		case k.native == enter, k.native == ctrlC, k.native == ctrlD && len(p.line) == 0:
			p.done = append(p.done, expandPasted(string(p.line), p.pasted, false))
			p.line, p.cursor, p.pasted, p.search = nil, 0, nil, search{}
		}
	}
}

// Keys do what they say, in whatever pieces their bytes come.
func TestKeys(t *testing.T) {
	for typed, want := range map[string]string{
		"abc\x1b[1~x\x1b[4~y":                 "xabcy", // tmux and screen
		"abc\x1b[Hx\x1b[Fy":                   "xabcy",
		"abc\x1bOHx\x1bOFy":                   "xabcy",
		"abc\x1b[7~x\x1b[8~y":                 "xabcy",
		"one two\x1b[1;5DX\x1b[1;5D\x1b[DY":   "oneY Xtwo",
		"one two\x1b[1;5D\x1b[1;5D\x1b[1;5CX": "oneX two",
		"grün süß\x1bbX":                      "grün Xsüß",
		"one two\x17three":                    "one three",
		"one two\x01\x1bd\x1bd":               "",
		"one two\x01\x06\x06\x06\x17":         " two", // what stands behind the cursor stays
		"one\x15\x19\x19":                     "oneone",
		"ab\x14":                              "ba",
		"a\x14\x14x":                          "ax",
		"\x14":                                "",
		"日本\x7fx":                             "日x",
		"e\u0301\x7fx":                        "x",
		"a\U0001f469\u200d\U0001f467\x02x":    "ax\U0001f469\u200d\U0001f467",
		"a\U0001f469\u200d\U0001f467\x7f":     "a",
		"ab\x02\x1b[3~c":                      "ac",
		"a\x00\x1f\x0fb":                      "ab",
		"a\xffb":                              "a\ufffdb",
		"a\U00100000b":                        "a\ufffdb",
		"a\x1b[999;1Rb\x1b[Zc":                "abc",
		"a\x1b[1\x03b":                        "b",
		"one\rtw\x1b[A":                       "tw",
		"\x1b[200~a\tb\x02\x1b[201~c":         "a\tbc",
	} {
		for n := 1; n <= len(typed); n++ {
			p := newTypist()
			for i := 0; i < len(typed); i += n {
				p.types(typed[i:min(i+n, len(typed))])
			}
			if got := string(p.line); got != want {
				t.Errorf("%q by %d: %q, not %q", typed, n, got, want)
			}
		}
	}
}

// Several pasted lines are one thing in the line, each paste a thing of its own,
// and belong to the line that they were pasted into.
func TestPaste(t *testing.T) {
	typed := "a" + pasteBegin + "one\tline\x02\r" + pasteEnd + "b " + pasteBegin + "x\r\ny\tz\n" + pasteEnd +
		pasteBegin + "p [2 lines pasted]\rq" + pasteEnd + "\r" + pasteBegin + "3\n4" + pasteEnd + "\r" + pasteBegin + "5\n6" + pasteEnd + "\x7fgone\r"
	for n := 1; n <= len(typed); n++ {
		p := newTypist()
		for i := 0; i < len(typed); i += n {
			p.types(typed[i:min(i+n, len(typed))])
		}
		if got := strings.Join(p.done, "|"); got != "aone\tlineb x\ny\tzp [2 lines pasted]\nq|3\n4|gone" {
			t.Fatalf("by %d: %q", n, got)
		}
	}
	p := newTypist()
	p.types("x" + pasteBegin + "1\n2\n3" + pasteEnd + pasteBegin + strings.Repeat("y", 5000) + pasteEnd)
	if got := expandPasted(string(p.line), p.pasted, true); got != "x[3 lines pasted][5000 characters pasted, 2]" {
		t.Errorf("%q", got)
	}
	p.types("\r")
	if len(p.done) != 1 || p.done[0] != "x1\n2\n3"+strings.Repeat("y", 5000) {
		t.Errorf("%q", p.done)
	}
	// A mark that never ends does not take the keyboard away.
	p.types(pasteBegin + "lost")
	p.types("\x03")
	p.types("alive")
	if string(p.line) != "alive" {
		t.Errorf("%q", string(p.line))
	}
}

// A long line that is typed costs no more than its length: not the square of it.
func TestLongLine(t *testing.T) {
	p := newTypist()
	began := time.Now()
	text := strings.Repeat("long ", 3000)
	for i := 0; i < len(text); i += 1000 {
		p.types(text[i : i+1000])
		p.editor.display.update(func(l *inputState) { l.shown, l.text, l.cursor = true, p.line, p.cursor })
	}
	if took := time.Since(began); took > time.Second || string(p.line) != text {
		t.Errorf("%v, %d characters", took, len(p.line))
	}
	p.types(strings.Repeat("x", 2*maxTyped))
	if len(p.line) > maxTyped {
		t.Error(len(p.line))
	}
}

// Ctrl-R finds what was typed before, the latest first.
func TestSearch(t *testing.T) {
	for typed, want := range map[string]string{
		"\x12ro":             "room two",
		"\x12ro\x12":         "rooms",
		"\x12RO\x12\x12\x12": "rooms",
		"\x12rox":            "room two",
		"\x12rox\x7f\x7f":    "room two",
		"half\x12ro\x07":     "half",
		"half\x12":           "half",
		"\x12two\x1b[D\x7f":  "roo two",
		"\x12two\x05!":       "room two!",
	} {
		p := newTypist("rooms", "members", "room two")
		p.types(typed)
		if got := string(p.line); got != want {
			t.Errorf("%q: %q, not %q", typed, got, want)
		}
	}
	p := newTypist("rooms", "members", "room two")
	p.types("\x12mem\rnext")
	if strings.Join(p.done, "|") != "members" || string(p.line) != "next" {
		t.Errorf("%q %q", p.done, string(p.line))
	}
}

// Tab completes as far as is certain, and lists what may follow.
func TestComplete(t *testing.T) {
	words := []string{"lobby", "Lobster", "日本", "dev", "e\u0301tat"}
	p := newTypist()
	p.editor.options.Complete = func(before string) (fit []string) {
		last := strings.ToLower(before[strings.LastIndexByte(before, ' ')+1:])
		for _, w := range words {
			if strings.HasPrefix(strings.ToLower(w), last) {
				fit = append(fit, w)
			}
		}
		return fit
	}
	for typed, want := range map[string]string{
		"room d\t": "room dev ", "room L\t": "room lob", "room x\t": "room x", "room 日\tx": "room 日本 x", "room \t": "room ", "room l tail\x02\x02\x02\x02\x02\t": "room lob tail",
	} {
		p.line, p.cursor = nil, 0
		p.types(typed)
		if got := string(p.line); got != want {
			t.Errorf("%q: %q, not %q", typed, got, want)
		}
	}
	// What was typed may be written in other ways: with marks of their own, in full width.
	for _, c := range []struct{ typed, want string }{{"cafe\u0301-o", "Café-ops "}, {"ｃａｆé", "Café-ops "}, {"CAFÉ-OPS", "Café-ops "}} {
		p.editor.options.Complete = func(string) []string { return []string{"Café-ops"} }
		p.line, p.cursor = nil, 0
		p.types("room " + c.typed + "\t")
		if got := string(p.line); got != "room "+c.want {
			t.Errorf("%q: %q, not %q", c.typed, got, c.want)
		}
	}
	if got := columnTable([]string{"a", "日本", "ccc", "d"}, 12, 24); got != "a     ccc\n日本  d" {
		t.Errorf("%q", got)
	}
	for columns := range 10 { // wider than the terminal
		if got := columnTable(words, columns, 4); strings.Count(got, "\n") > 2 {
			t.Errorf("%d: %q", columns, got)
		}
	}
}

// Any keys leave a line and a cursor that can be drawn.
func TestAnyKeys(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	keys := []string{"x", "日", "e\u0301", "\U0001f469\u200d\U0001f467", "\u200d", "\u0301", "\U0001f3fd", " ", "\x1b", "[", "\xff", "\x12", "\x07", "\t", "\r", "\x03", "\x01", "\x05", "\x02", "\x06", "\x7f", "\x0b", "\x15", "\x17", "\x19", "\x14",
		"\x1b[3~", "\x1b[1;5D", "\x1b[1;5C", "\x1bd", pasteBegin, pasteEnd, pasteBegin + "a\nb" + pasteEnd, "\n"}
	p := newTypist("rooms", "members", "日本")
	p.editor.options.Complete = func(string) []string { return []string{"lobby", "日本", "e\u0301t", "e\u0302"} }
	for range 20000 {
		p.types(keys[r.IntN(len(keys))])
		rows, row, _ := layOut(inputState{prompt: "> ", text: p.line, cursor: p.cursor, pasted: p.pasted}, r.IntN(30))
		if row >= len(rows) {
			t.Fatal(row, rows)
		}
		if len(p.line) > 200 {
			p.line, p.cursor = nil, 0
		}
	}
}
