package roomlog

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// Whoever reads a log gets the same, whether or not the log was taken to another
// process at some place.
func TestSnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New(1000, 100)
		seq := uint64(100)
		fill := func(l *Log, n int) {
			for i := range n {
				e := Event{Text: fmt.Appendf(nil, "text %d\n", i)}
				if rapid.Bool().Draw(t, "stored") {
					seq++
					e.Seq = seq
				}
				if rapid.Bool().Draw(t, "has json") {
					e.JSON = fmt.Appendf(nil, "{%d}\n", i)
				}
				l.Append(e)
			}
		}
		fill(l, rapid.IntRange(0, 40).Draw(t, "before"))
		from := rapid.Uint64Range(0, l.End().Pos).Draw(t, "from")
		text, err := json.Marshal(l.Snapshot(from))
		if err != nil {
			t.Fatal(err)
		}
		var s Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		m, err := Restore(1000, s)
		if err != nil {
			t.Fatal(err)
		}
		if l.End() != m.End() {
			t.Fatalf("the end is %v and %v", l.End(), m.End())
		}
		for f := range formats {
			at := Cursor{Pos: from}
			a, okA := l.Read(at, f, l.End().Pos, 1<<20)
			b, okB := m.Read(at, f, m.End().Pos, 1<<20)
			if okA != okB || string(a.Bytes) != string(b.Bytes) || a.Next != b.Next {
				t.Fatalf("from %d: %q %v %v, %q %v %v", from, a.Bytes, a.Next, okA, b.Bytes, b.Next, okB)
			}
		}
		for q := uint64(99); q <= seq+1; q++ {
			a, okA := l.Find(q)
			// What is before the piece is as if the window had begun there.
			if b, okB := m.Find(q); okB && (!okA || a != b) && b != s.Start {
				t.Fatalf("find %d: %v %v, %v %v", q, a, okA, b, okB)
			}
		}
	})
	if _, err := Restore(1000, Snapshot{Ends: []Piece{{Text: 2}}, Text: []byte("x")}); err == nil {
		t.Error("a log that lies is believed")
	}
}
