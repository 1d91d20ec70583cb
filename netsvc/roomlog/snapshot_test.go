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
		l.used = Formats
		for f := range l.base {
			l.base[f] = rapid.SampledFrom([]uint32{0, 1<<32 - 30}).Draw(t, "offset") // all offsets are modulo 1 << 32
		}
		seq := uint64(100)
		fill := func(l *Log, n int) {
			for i := range n {
				e := Event{Rendered: Rendered{Text: fmt.Appendf(nil, "text %d\n", i)}}
				if rapid.Bool().Draw(t, "stored") {
					seq++
					e.Seq = seq
				}
				if rapid.Bool().Draw(t, "has json") {
					e.Rendered[JSON] = fmt.Appendf(nil, "{%d}\n", i)
				}
				if rapid.Bool().Draw(t, "has IRC") {
					e.Rendered[IRC+2] = fmt.Appendf(nil, ":%d\r\n", i)
				}
				l.Append(e)
			}
		}
		fill(l, rapid.IntRange(0, 40).Draw(t, "before"))
		from := rapid.Uint64Range(0, l.End().Pos).Draw(t, "from")
		most := rapid.IntRange(0, 2000).Draw(t, "most")
		text, err := json.Marshal(l.Snapshot(from, most))
		if err != nil {
			t.Fatal(err)
		}
		var s Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if all := l.Snapshot(from, 1<<20); s.Size() > most || all.Size() <= most && all.Start != s.Start {
			t.Fatalf("of %d bytes it takes %d, and may take %d", all.Size(), s.Size(), most)
		}
		from = max(from, s.Start.Pos) // what is before has fallen out
		m, err := Restore(1000, nil, s)
		if err != nil {
			t.Fatal(err)
		}
		if l.End() != m.End() {
			t.Fatalf("the end is %v and %v", l.End(), m.End())
		}
		for f := range Formats {
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
	if _, err := Restore(1000, nil, Snapshot{Ends: []Piece{{Text: 2}}, Text: []byte("x")}); err == nil {
		t.Error("a log that lies is believed")
	}
}

// A restored log is under the budget like the one that it is of: it counts what it
// has, holds little if the budget is used up, and gives back what it drops.
func TestSnapshotUnderBudget(t *testing.T) {
	l := New(16<<10, 0)
	for i := range 100 {
		l.Append(Event{uint64(i + 1), Rendered{Text: make([]byte, 100)}})
	}
	for _, try := range []struct{ bytes, least, most int }{{1 << 20, 100 * 100, 16 << 10}, {1, 100, 16<<10/16 + 100 + eventSize}} {
		b := NewBudget(int64(try.bytes))
		m, err := Restore(16<<10, b, l.Snapshot(0, 1<<20))
		if err != nil || m.End() != l.End() {
			t.Fatal(m.End(), l.End(), err)
		}
		if used := b.used.Load(); used != int64(m.size()) || used < int64(try.least) || used > int64(try.most) {
			t.Errorf("a budget of %d bytes: %d are counted, and %d are held", try.bytes, used, m.size())
		}
		if m.Clear(); b.used.Load() != 0 {
			t.Errorf("%d bytes are counted, and none is held", b.used.Load())
		}
	}
}
