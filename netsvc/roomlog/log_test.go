package roomlog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive is the log as a slice of everything.
type naive struct {
	events []Event
	seqs   []uint64 // newest sequence number up to and with each
}

func (n *naive) seqAt(pos uint64) uint64 {
	if pos == 0 {
		return 0
	}
	return n.seqs[pos-1]
}

func (n *naive) bytes(f Format, from, to uint64) []byte {
	var b []byte
	for _, e := range n.events[from:to] {
		b = append(b, e.Rendered[f]...)
	}
	return b
}

func TestAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 2000).Draw(t, "window")
		l, n := New(window, 0), &naive{}
		seq := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "do") {
			default:
				e := Event{Rendered: Rendered{Text: []byte(rapid.StringMatching(`[a-z]{0,30}`).Draw(t, "text")), JSON: []byte(rapid.StringMatching(`[A-Z]{0,30}`).Draw(t, "json"))}}
				newest := seq
				if rapid.Bool().Draw(t, "stored") {
					seq += rapid.Uint64Range(1, 3).Draw(t, "gap")
					e.Seq, newest = seq, seq
				}
				if got, want := l.Append(e), (Cursor{uint64(len(n.events)), n.seqAt(uint64(len(n.events)))}); got != want {
					t.Fatalf("Append was at %v, want %v", got, want)
				}
				n.events, n.seqs = append(n.events, e), append(n.seqs, newest)
			case 0:
				if rapid.IntRange(0, 5).Draw(t, "forget") == 0 {
					l.Clear()
				}
			case 1, 2, 3:
				checkRead(t, l, n)
			case 4:
				checkFind(t, l, n, seq)
			}
			if end := l.End(); end.Pos != uint64(len(n.events)) || end.Seq != n.seqAt(end.Pos) {
				t.Fatalf("End = %v after %d events", end, len(n.events))
			}
			if l.size() > window && len(l.events) > 1 {
				t.Fatalf("the window holds %d bytes, its bound is %d", l.size(), window)
			}
		}
	})
}

func checkRead(t *rapid.T, l *Log, n *naive) {
	pos := rapid.Uint64Range(0, uint64(len(n.events))).Draw(t, "pos")
	until := rapid.Uint64Range(0, uint64(len(n.events))+2).Draw(t, "until")
	max := rapid.IntRange(1, 100).Draw(t, "max")
	f := Format(rapid.IntRange(0, 1).Draw(t, "format"))
	c := Cursor{pos, n.seqAt(pos)}
	s, ok := l.Read(c, f, until, max)
	if ok != (pos >= l.start.Pos) {
		t.Fatalf("Read from %d, window from %d: ok %v", pos, l.start.Pos, ok)
	}
	if !ok {
		return
	}
	if s.Next.Seq != n.seqAt(s.Next.Pos) {
		t.Fatalf("Next is %v, sequence number there %d", s.Next, n.seqAt(s.Next.Pos))
	}
	if want := n.bytes(f, pos, s.Next.Pos); !bytes.Equal(s.Bytes, want) {
		t.Fatalf("Read(%d…%d) = %q, want %q", pos, s.Next.Pos, s.Bytes, want)
	}
	end := min(until, uint64(len(n.events)))
	switch {
	case pos >= end:
		if s.Next != c {
			t.Fatalf("nothing to read, yet moved from %v to %v", c, s.Next)
		}
	case s.Next.Pos > end || s.Next.Pos == pos:
		t.Fatalf("Read from %d until %d came to %d", pos, until, s.Next.Pos)
	case len(s.Bytes) > max && s.Next.Pos > pos+1:
		t.Fatalf("Read gave %d bytes, bound %d", len(s.Bytes), max)
	case s.Next.Pos < end && len(n.bytes(f, pos, s.Next.Pos+1)) <= max:
		t.Fatalf("Read stopped at %d although more would have fitted", s.Next.Pos)
	}
	cut := rapid.IntRange(0, len(s.Bytes)).Draw(t, "cut")
	next, rest := s.After(cut)
	if want := n.bytes(f, pos, next.Pos); !bytes.Equal(append(append([]byte(nil), s.Bytes[:cut]...), rest...), want) {
		t.Fatalf("After(%d) = %v with %q to come, of %q", cut, next, rest, want)
	}
	if next.Seq != n.seqAt(next.Pos) {
		t.Fatalf("After(%d) = %v, sequence number there %d", cut, next, n.seqAt(next.Pos))
	}
}

func checkFind(t *rapid.T, l *Log, n *naive, newest uint64) {
	seq := rapid.Uint64Range(0, newest+2).Draw(t, "seq")
	c, ok := l.Find(seq)
	if ok != (seq >= l.start.Seq) {
		t.Fatalf("Find(%d), window after %d: ok %v", seq, l.start.Seq, ok)
	}
	if !ok {
		return
	}
	// Everything stored behind c is above seq, and nothing stored and kept
	// before c is.
	for i, e := range n.events {
		if e.Seq > 0 && (uint64(i) >= c.Pos) != (e.Seq > seq) {
			t.Fatalf("Find(%d) = %v, but the event at %d has sequence number %d", seq, c, i, e.Seq)
		}
	}
	if c.Seq != n.seqAt(c.Pos) {
		t.Fatalf("Find(%d) = %v, sequence number there %d", seq, c, n.seqAt(c.Pos))
	}
}

func TestReadKeepsItsBytes(t *testing.T) {
	l := New(1000, 0)
	l.Append(Event{1, Rendered{Text: []byte("first\n")}})
	s, _ := l.Read(Cursor{}, Text, 1, 100)
	for i := range 1000 {
		l.Append(Event{uint64(i + 2), Rendered{Text: []byte(strings.Repeat("x", 50))}})
	}
	if got := string(s.Bytes); got != "first\n" {
		t.Fatalf("bytes that were read have become %q", got)
	}
}

// What everybody has passed is dropped, its memory kept; but not while one who
// reads from the store may have begun to read from the log.
func TestRelease(t *testing.T) {
	line := []byte("other\n")
	for _, read := range []bool{false, true} {
		b := NewBudget(1 << 20)
		l := New(4000, 0)
		l.SetBudget(b)
		l.Append(Event{1, Rendered{Text: []byte("first\n")}})
		s, _ := l.Read(Cursor{}, Text, 1, 100)
		l.Release(0, 0, read) // there is something behind it
		if l.Start().Pos != 0 || b.used.Load() == 0 {
			t.Errorf("read=%v: the log starts at %v", read, l.Start())
		}
		l.Release(1, 0, read)
		if l.Start() != l.End() || l.End() != (Cursor{1, 1}) || b.used.Load() != 0 {
			t.Errorf("read=%v: the log goes from %v to %v, and %d bytes are held", read, l.Start(), l.End(), b.used.Load())
		}
		if _, ok := l.Read(Cursor{}, Text, 1, 100); ok {
			t.Errorf("read=%v: what is dropped can be read", read)
		}
		l.Append(Event{2, Rendered{Text: line}})
		if got, _ := l.Read(l.Start(), Text, 2, 100); !bytes.Equal(got.Bytes, line) {
			t.Errorf("read=%v: %q", read, got.Bytes)
		}
		if got := string(s.Bytes) == "first\n"; got != read {
			t.Errorf("read=%v: the bytes read before are kept: %v", read, got)
		}
	}
}

func BenchmarkAppendRead(b *testing.B) {
	l := New(256<<10, 0)
	line := []byte(fmt.Sprintf("<ann> %s\n", strings.Repeat("x", 58)))
	b.ReportAllocs()
	c := Cursor{}
	for i := range b.N {
		l.Append(Event{uint64(i + 1), Rendered{Text: line}})
		if i%64 == 0 {
			s, _ := l.Read(c, Text, ^uint64(0), 64<<10)
			c = s.Next
		}
	}
}

// Logs that share a budget hold little more than that together, and give back
// what they drop.
func TestBudget(t *testing.T) {
	b := NewBudget(32 << 10)
	var logs []*Log
	for range 8 {
		l := New(16<<10, 0)
		l.SetBudget(b)
		logs = append(logs, l)
	}
	line := []byte(strings.Repeat("x", 100))
	for i := range 1000 {
		for _, l := range logs {
			l.Append(Event{uint64(i + 1), Rendered{Text: line}})
		}
		if used := b.used.Load(); used > 32<<10+8*1100 {
			t.Fatalf("%d bytes are held", used)
		}
	}
	for _, l := range logs {
		l.Clear()
	}
	if used := b.used.Load(); used != 0 {
		t.Errorf("%d bytes are counted, and none is held", used)
	}
}
