package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A Framer that is restored anywhere in a stream cuts it as one that is not.
func TestRestoreFramer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := []byte{'a', 'b', '\r', '\n', telnetIAC, telnetSB, telnetSE, telnetWill, telnetDo, telnetEL, 0, '\b', 1, 0x16, 3, 0xef, 0xbb, 0xbf}
		stream := rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 60).Draw(t, "stream")
		at := rapid.IntRange(0, len(stream)).Draw(t, "at")
		const limit = 5
		type line struct {
			text string
			over int
		}
		cut := func(f *Framer, p []byte, lines []line) []line {
			for {
				l, over, rest, ok := f.Cut(p)
				if !ok {
					return lines
				}
				lines = append(lines, line{string(l), over})
				p = rest
			}
		}
		tail := func(f *Framer, lines []line) []line {
			if l, over, ok := f.Tail(); ok {
				lines = append(lines, line{string(l), over})
			}
			for i, l := range lines { // what stands behind a byte of no text depends on the pieces
				if at := strings.IndexFunc(l.text, func(r rune) bool { return r < ' ' && classes[r]&classBinary != 0 }); at >= 0 {
					return append(lines[:i], line{l.text[:at+1], 0})
				} else if l.over > 0 || !IsBlank([]byte(l.text)) {
					break
				}
			}
			return lines
		}
		whole := NewFramer(limit)
		want := tail(&whole, cut(&whole, bytes.Clone(stream), nil))
		first := NewFramer(limit)
		got := cut(&first, bytes.Clone(stream[:at]), nil)
		text, err := json.Marshal(first.FramerState)
		if err != nil {
			t.Fatal(err)
		}
		var s FramerState
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		second := RestoreFramer(limit, s)
		got = tail(&second, cut(&second, bytes.Clone(stream[at:]), got))
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}
