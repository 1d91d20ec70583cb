package term

import (
	"strings"
	"testing"
)

// Whatever comes from a keyboard, in whatever pieces, leaves a line and a cursor
// that can be drawn in any width.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("one two\x1b[1;5D\x17\x19\x14\x12ro\x07"), uint8(3), uint8(20))
	f.Add([]byte(pasteBegin+"a\nb"+pasteEnd+"\x1b[D\x7f\xff日\u0301"), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, typed []byte, piece, columns uint8) {
		p := newTypist("rooms", "members", "日本")
		p.editor.options.Complete = func(string) []string { return []string{"lobby", "日本", "e\u0301t", "e\u0302"} }
		for n := max(1, int(piece)); len(typed) > 0; typed = typed[min(n, len(typed)):] {
			p.types(string(typed[:min(n, len(typed))]))
			rows, row, left := layOut(inputState{prompt: "> ", label: p.label(), text: p.line, cursor: p.cursor, pasted: p.pasted}, int(columns))
			if row >= len(rows) || !strings.HasPrefix(rows[row], left) {
				t.Fatalf("%q: row %d, %q in %q", string(p.line), row, left, rows)
			}
		}
	})
}

// Whatever is printed, no row of it reaches beyond the terminal, begins as a line
// does, or has anything in it that moves the cursor.
func FuzzFold(f *testing.F) {
	f.Add("19:41 dev <mal> "+strings.Repeat(" ", 58)+"19:41 dev <bob> I quit", uint8(80), uint8(6))
	f.Add("\x1b[1mwide 日本\x1b[0m \x1b[2J\u202e\xff", uint8(5), uint8(2))
	f.Fuzz(func(t *testing.T, line string, columns, indent uint8) {
		for i, row := range Fold(line, int(columns), int(indent)) {
			switch {
			case Width(row) > max(3, int(columns)):
				t.Errorf("%q has %d columns", row, Width(row))
			case i > 0 && indent > 0 && columns > 1 && !strings.HasPrefix(row, " "):
				t.Errorf("%q is not indented", row)
			case strings.ContainsAny(row, "\n\r\b\t\x7f\u009b\u2028"):
				t.Errorf("%q", row)
			}
			for rest := row; rest != ""; {
				if n := strings.IndexByte(rest, '\x1b'); n < 0 {
					break
				} else if rest = rest[n:]; styleLength(rest) == 0 {
					t.Fatalf("%q", row)
				} else {
					rest = rest[styleLength(rest):]
				}
			}
		}
	})
}
