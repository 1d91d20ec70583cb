package history_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roomd/netsvc/history"
	"roomd/store"
)

// newHistory returns the history of a room of which the first half is in the database, and all its
// lines. Some are topics, and of the others every third is of Bob.
func newHistory(t *testing.T) (*history.History, []store.Line) {
	t.Helper()
	var all []store.Line
	st, err := store.Open(filepath.Join(t.TempDir(), "roomd.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	st.Start(store.Follower{Lines: func(posts []*store.Post) {
		for _, p := range posts {
			all = append(all, p.Line)
		}
	}})
	r, err := st.Create(store.Room{Name: "lobby", Key: "lobby", Port: 9000})
	if err != nil {
		t.Fatal(err)
	}
	for half := range 2 {
		for i := range 1500 {
			l := store.Line{Kind: store.Message, From: []string{"ann", "carol", "Bob"}[i%3], Text: fmt.Sprint(half, " and ", i, strings.Repeat(" more", 10))}
			if i%7 == 0 {
				l.Kind = store.Topic
			}
			if err := st.Submit(t.Context(), &store.Post{Room: r.ID, Line: l}); err != nil {
				t.Fatal(err)
			}
		}
		write := st.Flush
		if half == 0 {
			write = st.Checkpoint
		}
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	h := &history.History{Store: st, Room: r.ID}
	h.Turn = func(read func()) error { read(); return nil }
	h.Charge = func(int) error { return nil }
	return h, all
}

func seqs(lines []store.Line) (all []uint64) {
	for i := range lines {
		all = append(all, lines[i].Seq)
	}
	return all
}

// What is found is what a look at all lines finds, and each piece is read in a turn.
func TestHistoryIsAsTheLines(t *testing.T) {
	h, all := newHistory(t)
	turns, charged := 0, 0
	h.Turn = func(read func()) error { turns++; read(); return nil }
	h.Charge = func(lines int) error { charged += lines; return nil }
	last := all[len(all)-1].Seq
	within := func(after, upto uint64, keep func(*store.Line) bool) (in []store.Line) {
		for i := range all {
			if l := &all[i]; l.Seq > after && l.Seq <= upto && keep(l) {
				in = append(in, *l)
			}
		}
		return in
	}
	any := func(*store.Line) bool { return true }
	rapid.Check(t, func(t *rapid.T) {
		after := rapid.Uint64Range(0, last).Draw(t, "after")
		upto := rapid.Uint64Range(after, last).Draw(t, "upto")
		n := rapid.IntRange(1, 400).Draw(t, "n")
		turns, charged = 0, 0

		in := within(after, upto, any)
		lines, damaged, err := h.Lines(after, upto, n)
		if want := in[max(0, len(in)-n):]; err != nil || damaged > 0 || !slices.Equal(seqs(lines), seqs(want)) {
			t.Fatalf("Lines(%d, %d, %d): %d lines, %d damaged, %v; want %d lines", after, upto, n, len(lines), damaged, err, len(want))
		}

		w := history.Window{After: after, Upto: upto, N: n, Newest: rapid.Bool().Draw(t, "newest"), NoTopics: true}
		in = within(after, upto, func(l *store.Line) bool { return l.Kind != store.Topic })
		want := in[:min(n, len(in))]
		if w.Newest {
			want = in[max(0, len(in)-n):]
		}
		s, err := h.Range(w)
		got := within(s.After, s.Upto, func(l *store.Line) bool { return l.Kind != store.Topic })
		if err != nil || s.Count != len(want) || !slices.Equal(seqs(got), seqs(want)) {
			t.Fatalf("Range(%+v): %+v, %v; want the %d lines %v", w, s, err, len(want), seqs(want))
		}
		if len(want) > 0 && !s.Newest.Equal(want[len(want)-1].Time) {
			t.Fatalf("Range(%+v): the newest is of %v, want %v", w, s.Newest, want[len(want)-1].Time)
		}
		if turns == 0 && after < upto || charged < len(want) {
			t.Fatalf("%d turns, %d lines are charged of %d", turns, charged, len(want))
		}

		found, err := h.Search(upto, "BOB", time.Time{}, n)
		in = within(0, upto, func(l *store.Line) bool { return l.From == "Bob" })
		if err != nil || found.Count != len(in) || !slices.Equal(seqs(found.Lines), seqs(in[max(0, len(in)-n):])) {
			t.Fatalf("Search up to %d: %d of %d, %v; want %d", upto, len(found.Lines), found.Count, err, len(in))
		}

		l := history.Lookup{Text: "bob"}
		for at := upto; l.Text != ""; {
			if at, err = l.Next(h.Store, h.Room, at); err != nil {
				t.Fatal(err)
			}
		}
		newest := seqs(in[max(0, len(in)-history.MaxFound):])
		slices.Reverse(newest)
		if !slices.Equal(l.Hits, newest) {
			t.Fatalf("a lookup up to %d has found %v, want %v", upto, l.Hits, newest)
		}
	})
}

// The reading ends when its turn does not come, or the reader cannot be charged.
func TestHistoryEndsWithItsTurn(t *testing.T) {
	h, all := newHistory(t)
	last := all[len(all)-1].Seq
	end := errors.New("the end")
	always := h.Turn
	for given := range 3 {
		few := func() {
			left := given
			h.Turn = func(read func()) error {
				if left--; left < 0 {
					return end
				}
				return always(read)
			}
		}
		few()
		read := uint64(0)
		if _, err := h.Each(0, last, func(l store.Line) { read = l.Seq }); err != end || (read > 0) != (given > 0) || read == last {
			t.Errorf("Each with %d turns: up to %d of %d, %v", given, read, last, err)
		}
		few()
		if found, err := h.Search(last, "bob", time.Time{}, 10); err != end || (found.Count > 0) != (given > 0) {
			t.Errorf("Search with %d turns: %d lines, %v", given, found.Count, err)
		}
		few()
		if _, err := h.Range(history.Window{Upto: last, N: len(all)}); err != end {
			t.Errorf("Range with %d turns: %v", given, err)
		}
	}
	h.Turn, h.Charge = always, func(int) error { return end }
	for _, newest := range []bool{false, true} {
		if _, err := h.Range(history.Window{Upto: last, N: 10, Newest: newest}); err != end {
			t.Errorf("a reader that cannot be charged: %v", err)
		}
	}
}
