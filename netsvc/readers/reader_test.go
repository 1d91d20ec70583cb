package readers

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"roomd/store"
)

// counts is a conn that has numbers only: it was given bytes, and its peer has acknowledged some.
type counts struct{ given, acked uint32 }

func (c *counts) OnWire(written uint32) uint32 { return written }
func (c *counts) Unacked() (uint32, bool)      { return c.given - c.acked, true }

// newRegistry returns a registry over a store with n rooms, which have lines lines each.
func newRegistry(t testing.TB, n, lines int) (*Registry, []uint64) {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "roomd.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st.Start(store.Follower{Lines: func([]*store.Post) {}})
	var rooms []uint64
	for i := range n {
		name := fmt.Sprint("room-", i)
		k, err := st.Create(store.Room{Name: name, Key: name, Port: 9000 + i})
		if err != nil {
			t.Fatal(err)
		}
		rooms = append(rooms, k.ID)
		for range lines {
			if err := st.Submit(t.Context(), &store.Post{Room: k.ID, Line: store.Line{From: "ann", Text: "x"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	g := NewRegistry(st)
	t.Cleanup(func() {
		g.Stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return g, rooms
}

// A place is the last line of its room whose bytes are acknowledged: never a later one, and never an
// earlier one while few marks are needed. Compared with a list of all lines.
func TestPlaces(t *testing.T) {
	g, rooms := newRegistry(t, 3, 0)
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		c := &counts{given: -uint32(rnd.IntN(5000)), acked: 0} // the counts pass 1 << 32
		c.acked = c.given
		r := g.New(fmt.Sprint("reader ", seed), c)
		type line struct {
			end  uint32
			room uint64
			seq  uint64
		}
		var all []line // with the ends of their bytes
		unsent := uint32(0)
		seqs, acked := make(map[uint64]uint64), make(map[uint64]uint64)
		for _, room := range rooms {
			r.Enter(room, 0)
			r.Begin(room)
		}
		r.Wrote(0, 0, false, c.given, 0)
		stuck := rnd.IntN(3) == 0 // nothing is acknowledged for long
		current := rooms[0]
		for step := range 300 {
			if unsent == 0 {
				current = rooms[rnd.IntN(len(rooms))]
			}
			for range rnd.IntN(4) {
				seqs[current]++
				unsent += uint32(1 + rnd.IntN(100))
				all = append(all, line{c.given + unsent, current, seqs[current]})
			}
			n := unsent
			if rnd.IntN(3) == 0 {
				n = uint32(rnd.IntN(int(unsent) + 1))
			}
			c.given, unsent = c.given+n, unsent-n
			r.Wrote(current, seqs[current], false, c.given, int(unsent))
			if pending := c.given - c.acked; pending > 0 && (!stuck || step < 20) {
				c.acked += uint32(rnd.IntN(int(pending) + 1))
			}
			for len(all) > 0 && passed(c.acked, all[0].end) {
				acked[all[0].room] = all[0].seq
				all = all[1:]
			}
			r.mu.Lock()
			if rnd.IntN(10) == 0 {
				r.look()
			}
			if r.marks != nil && cap(r.marks.list) > 2*mostMarks {
				t.Fatalf("seed %d: room for %d marks", seed, cap(r.marks.list))
			}
			for _, p := range r.places {
				if p.acked > acked[p.room] {
					t.Fatalf("seed %d, step %d: the place is %d, and the peer has %d", seed, step, p.acked, acked[p.room])
				}
			}
			r.mu.Unlock()
		}
		r.mu.Lock()
		r.look()
		behind := uint64(0)
		for _, p := range r.places {
			behind += acked[p.room] - p.acked
		}
		r.mu.Unlock()
		// A write has several lines and one mark, so the peer may have some lines of it.
		if behind > 3*4 {
			t.Errorf("seed %d: the places are %d lines behind", seed, behind)
		}
		c.given += unsent
		r.Wrote(current, seqs[current], false, c.given, 0)
		if c.acked = c.given; !r.IsAcked() {
			t.Fatalf("seed %d: everything is acknowledged, and marks are left", seed)
		}
		for _, p := range r.places {
			if p.acked != seqs[p.room] {
				t.Errorf("seed %d: at the end the place is %d and not %d", seed, p.acked, seqs[p.room])
			}
		}
		r.End(false)
	}
}

// What several sessions with one key have: a dead one is replaced, and of two that live the one that has
// less decides.
func TestSeveral(t *testing.T) {
	g, rooms := newRegistry(t, 1, 100)
	room := rooms[0]
	write := func(r *Reader, seq uint64) {
		c := r.out.(*counts)
		c.given += 10
		r.Wrote(room, seq, false, c.given, 0)
	}
	ack := func(r *Reader) {
		c := r.out.(*counts)
		c.acked = c.given
		if !r.IsAcked() {
			t.Fatal("not acknowledged")
		}
	}
	enter := func(want uint64) *Reader {
		t.Helper()
		r := g.New("ann", &counts{})
		seq, _, known := g.Last(r, room, time.Hour)
		if !known && want != 0 || seq != want {
			t.Fatalf("the place is %d, %v, and not %d", seq, known, want)
		}
		r.Enter(room, seq)
		r.Begin(room)
		return r
	}
	saved := func(want uint64) {
		t.Helper()
		g.Save()
		all, _, err := g.store.Positions("ann")
		if err != nil || all[room] != want {
			t.Fatalf("%v, %v, and not %d", all, err, want)
		}
	}
	a := enter(0)
	write(a, 10)
	ack(a)
	write(a, 20) // the cable is pulled
	b := enter(10)
	write(b, 30)
	ack(b)
	saved(30)
	a.End(false)
	saved(30)
	c := enter(30) // a second client, while b lives
	write(b, 40)
	ack(b)
	write(c, 35)
	ack(c)
	saved(35)
	b.End(false)
	saved(35)
	write(c, 60)
	ack(c)
	saved(40) // b has 40, and may come back
	b = enter(40)
	write(b, 60)
	ack(b)
	saved(60)
	c.End(false)
	b.Leave(room)
	saved(0)
	b.End(false)
	saved(0)
	enter(0).End(false)
}

// The state goes to another process between two writes, in the middle of a line.
func TestState(t *testing.T) {
	g, rooms := newRegistry(t, 2, 100)
	c := &counts{given: 1000, acked: 1000}
	r := g.New("ann", c)
	for _, room := range rooms {
		r.Enter(room, 5)
		r.Begin(room)
	}
	c.given = 1100
	r.Wrote(rooms[0], 6, false, c.given, 0)
	c.given = 1150
	r.Wrote(rooms[1], 7, false, c.given, 30)
	st := r.State()
	r.Drop()
	next := &counts{given: 0, acked: ^uint32(0) - 149} // 150 bytes are not acknowledged
	r = g.Restore(st, next)
	places := func(want ...uint64) {
		t.Helper()
		r.IsAcked()
		for i, w := range want {
			if p := r.find(rooms[i]); p.acked != w {
				t.Errorf("room %d: %d and not %d", i, p.acked, w)
			}
		}
	}
	places(5, 5)
	next.acked += 100
	places(6, 5)
	next.given = 30
	r.Wrote(rooms[1], 7, false, next.given, 0)
	next.acked = 29
	places(6, 5)
	next.acked = 30
	places(6, 7)
	r.End(false)
}

// An idle session with a room costs so many bytes beside the session itself.
func TestReaderIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Reader{}) + unsafe.Sizeof(place{}); n > 136 {
		t.Errorf("%d bytes", n)
	}
}

func BenchmarkWrote(b *testing.B) {
	g, rooms := newRegistry(b, 1, 0)
	c := &counts{}
	r := g.New("ann", c)
	r.Enter(rooms[0], 0)
	r.Begin(rooms[0])
	b.ReportAllocs()
	for i := range b.N {
		c.given += 100
		c.acked = c.given - 100
		r.Wrote(rooms[0], uint64(i), false, c.given, 0)
	}
}
