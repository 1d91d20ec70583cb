package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is the store as maps and slices.
type model struct {
	*tap
	rooms    map[uint64]*modelRoom
	released []int // oldest first
	newest   uint64
	said     int
}

type modelRoom struct {
	Room
	lines   []Line
	last    uint64
	removed uint64
}

func (r *modelRoom) alive() bool { return r != nil && r.Deleted.IsZero() }

func TestModel(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		t.Run("plain", func(t *testing.T) {
			testModel(t, Options{Durability: d, FlushInterval: time.Hour, Retention: Retention{Trash: time.Hour}})
		})
		t.Run("retention", func(t *testing.T) {
			testModel(t, Options{Durability: d, Retention: Retention{Lines: 20, Age: time.Hour, Trash: time.Hour}})
		})
	})
}

func testModel(t *testing.T, opts Options) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &model{
			tap:   &tap{t: t, path: filepath.Join(dir, fmt.Sprint(n)), opts: opts},
			rooms: make(map[uint64]*modelRoom),
		}
		m.start()
		defer func() { m.Close() }() // whichever is open then
		rt.Repeat(map[string]func(*rapid.T){
			"create":  m.create,
			"delete":  m.delete,
			"append":  m.append,
			"append2": m.append,
			"burst":   m.burst,
			"lines":   m.lines,
			"lines2":  m.lines,
			"newest":  m.newestN,
			"back":    m.backward,
			"reopen":  func(*rapid.T) { m.reopen() },
			"expire":  m.expire,
			"":        m.compare,
		})
		if err := m.Check(); err != nil {
			rt.Fatal(err)
		}
	})
}

// pick draws the id of a room: there, deleted, purged, or never made.
func (m *model) pick(rt *rapid.T) uint64 {
	return rapid.Uint64Range(1, m.newest+1).Draw(rt, "room")
}

func (m *model) create(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"alpha", "beta", "gamma", "delta", "epsilon"}).Draw(rt, "name")
	r := Room{
		Name: name, Key: name, Port: 9000 + rapid.IntRange(0, 5).Draw(rt, "port"),
		Created: time.Now().UTC(), Creator: "::1", KeyHash: []byte{1, 2},
	}
	taken := false
	for _, have := range m.rooms {
		taken = taken || have.alive() && (have.Key == r.Key || have.Port == r.Port)
	}
	got, err := m.Create(r)
	if taken {
		if !errors.Is(err, ErrExists) {
			rt.Fatalf("create %s on %d: %v, want ErrExists", r.Name, r.Port, err)
		}
		return
	}
	m.newest++
	r.ID = m.newest
	if diff := cmp.Diff(r, got); err != nil || diff != "" {
		rt.Fatalf("create: %v %s", err, diff)
	}
	m.released = slices.DeleteFunc(m.released, func(p int) bool { return p == r.Port })
	m.rooms[r.ID] = &modelRoom{Room: r}
}

func (m *model) delete(rt *rapid.T) {
	id := m.pick(rt)
	err := m.Delete(id)
	r := m.rooms[id]
	if !r.alive() {
		if !errors.Is(err, ErrNoRoom) {
			rt.Fatalf("delete room %d: %v, want ErrNoRoom", id, err)
		}
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	r.Deleted = time.Now()
	m.released = append(m.released, r.Port)
}

func (m *model) append(rt *rapid.T) {
	n := rapid.IntRange(1, 12).Draw(rt, "n")
	posts := make([]*Post, n)
	for i := range posts {
		posts[i] = &Post{Room: m.pick(rt), Line: Line{
			Kind: rapid.SampledFrom([]Kind{Message, Message, Action, Topic, Notice}).Draw(rt, "kind"),
			From: rapid.SampledFrom([]string{"", "ann", "bob", "zoë"}).Draw(rt, "from"),
			Text: rapid.SampledFrom([]string{"", "hi", "a somewhat longer line, but not by much"}).Draw(rt, "text"),
		}}
	}
	m.submit(rt, posts)
}

// burst is enough for retention, and for pages to split.
func (m *model) burst(rt *rapid.T) {
	posts := make([]*Post, rapid.IntRange(100, 300).Draw(rt, "n"))
	room := m.pick(rt)
	for i := range posts {
		posts[i] = &Post{Room: room, Line: Line{Kind: Message, From: "eve", Text: "one of very many lines"}}
	}
	m.submit(rt, posts)
}

func (m *model) submit(rt *rapid.T, posts []*Post) {
	back := make(chan *Post, 1)
	posts[len(posts)-1].Owner = back
	before := len(m.seen())
	for _, p := range posts {
		m.said++
		p.Line.Text += fmt.Sprint(" ", m.said)
		if err := m.Submit(context.Background(), p); err != nil {
			rt.Fatal(err)
		}
	}
	<-back
	got := m.seen()[before:]
	if !slices.Equal(got, posts) {
		rt.Fatalf("delivered %d posts, submitted %d, or in another order", len(got), len(posts))
	}
	for _, p := range got {
		r := m.rooms[p.Room]
		if !r.alive() {
			if !errors.Is(p.Err, ErrNoRoom) {
				rt.Fatalf("a line for room %d: %v, want ErrNoRoom", p.Room, p.Err)
			}
			continue
		}
		r.last++
		if p.Err != nil || p.Line.Seq != r.last {
			rt.Fatalf("room %d: seq %d err %v, want %d", p.Room, p.Line.Seq, p.Err, r.last)
		}
		r.lines = append(r.lines, p.Line)
		if p.Line.Kind == Topic {
			r.Topic = p.Line.Text
		}
	}
	if m.opts.Lines > 0 {
		m.settled()
	}
	m.retain(rt)
}

// retain lets the model forget the lines that the store says it has removed, after
// looking whether that was right.
func (m *model) retain(rt *rapid.T) {
	for _, r := range m.rooms {
		if !r.alive() {
			continue
		}
		st, err := m.Stat(r.ID)
		if err != nil {
			rt.Fatal(err)
		}
		if st.Removed < r.removed || m.opts.Lines == 0 && m.opts.Age == 0 && st.Removed != 0 {
			rt.Fatalf("room %d: removed up to %d, was %d", r.ID, st.Removed, r.removed)
		}
		if st.Removed == r.removed {
			continue
		}
		r.removed = st.Removed
		r.lines = slices.DeleteFunc(r.lines, func(l Line) bool { return l.Seq <= st.Removed })
		if uint64(len(r.lines)) < m.opts.Lines {
			rt.Fatalf("room %d: only %d lines are left", r.ID, len(r.lines))
		}
	}
}

func (m *model) lines(rt *rapid.T) {
	id := m.pick(rt)
	r := m.rooms[id]
	last := uint64(0)
	if r != nil {
		last = r.last
	}
	after := rapid.Uint64Range(0, last+1).Draw(rt, "after")
	upto := rapid.Uint64Range(0, last+2).Draw(rt, "upto")
	maxBytes := rapid.IntRange(0, 400).Draw(rt, "maxBytes")
	got, err := m.Lines(id, after, upto, maxBytes)
	if after >= upto {
		if err != nil || got != nil {
			rt.Fatalf("no lines wanted: %v %v", got, err)
		}
		return
	}
	if r == nil {
		if !errors.Is(err, ErrNoRoom) {
			rt.Fatalf("lines of room %d: %v, want ErrNoRoom", id, err)
		}
		return
	}
	var want []Line
	size := 0
	for _, l := range r.lines {
		if l.Seq > after && l.Seq <= upto && (len(want) == 0 || size < maxBytes) {
			want = append(want, l)
			size += 10 + len(l.From) + len(l.Text)
		}
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		rt.Fatalf("lines of room %d (%d, %d] in %d bytes: %v %s", id, after, upto, maxBytes, err, diff)
	}
}

func (m *model) newestN(rt *rapid.T) {
	id := m.pick(rt)
	r := m.rooms[id]
	n := rapid.IntRange(-1, 40).Draw(rt, "n")
	upto := ^uint64(0)
	if r != nil && rapid.Bool().Draw(rt, "bounded") {
		upto = rapid.Uint64Range(0, r.last+2).Draw(rt, "upto")
	}
	after, count, _, err := m.Newest(id, upto, n)
	if r == nil && n > 0 {
		if !errors.Is(err, ErrNoRoom) {
			rt.Fatalf("newest of room %d: %v, want ErrNoRoom", id, err)
		}
		return
	}
	wantAfter, wantCount := upto, 0
	if r != nil {
		for _, l := range slices.Backward(r.lines) {
			if l.Seq <= upto && wantCount < n {
				wantAfter, wantCount = l.Seq-1, wantCount+1
			}
		}
	}
	if err != nil || after != wantAfter || count != wantCount {
		rt.Fatalf("newest %d of room %d upto %d: %d after %d, %v; want %d after %d", n, id, upto, count, after, err, wantCount, wantAfter)
	}
}

// backward reads a room from its end on.
func (m *model) backward(rt *rapid.T) {
	id := m.pick(rt)
	r := m.rooms[id]
	upto := ^uint64(0)
	if r != nil && rapid.Bool().Draw(rt, "bounded") {
		upto = rapid.Uint64Range(0, r.last+2).Draw(rt, "upto")
	}
	maxBytes := rapid.SampledFrom([]int{0, 100, 5000, 1 << 20}).Draw(rt, "maxBytes")
	var got []Line
	for reads, after := 0, upto; ; reads++ {
		lines, next, skipped, err := m.LinesBackward(id, after, maxBytes)
		if r == nil && errors.Is(err, ErrNoRoom) {
			return
		}
		if err != nil || skipped > 0 || next >= after && next > 0 || reads > 10_000 {
			rt.Fatalf("lines of room %d up to %d: then %d, %d skipped, %v", id, after, next, skipped, err)
		}
		for _, l := range lines {
			if l.Seq > after || l.Seq <= next {
				rt.Fatalf("line %d is not in (%d, %d]", l.Seq, next, after)
			}
		}
		got = append(got, lines...)
		if after = next; after == 0 {
			break
		}
	}
	var want []Line
	if r != nil {
		for _, l := range slices.Backward(r.lines) {
			if l.Seq <= upto {
				want = append(want, l)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("lines of room %d up to %d, backward: %s", id, upto, diff)
	}
}

func (m *model) expire(rt *rapid.T) {
	now := time.Now()
	later := rapid.Bool().Draw(rt, "later")
	if later {
		now = now.Add(2 * time.Hour)
	}
	if err := m.applyRetentionAt(now); err != nil {
		rt.Fatal(err)
	}
	m.settled()
	if !later {
		return
	}
	for id, r := range m.rooms {
		if !r.alive() {
			delete(m.rooms, id)
			continue
		}
		if m.opts.Age == 0 {
			continue
		}
		if len(r.lines) > 0 {
			r.removed = r.lines[len(r.lines)-1].Seq
		}
		r.lines = nil
	}
}

// compare looks at everything that is cheap to look at.
func (m *model) compare(rt *rapid.T) {
	var want []Room
	for id, r := range m.rooms {
		st, err := m.Stat(id)
		if !r.alive() {
			if !errors.Is(err, ErrNoRoom) {
				rt.Fatalf("stat of deleted room %d: %v", id, err)
			}
			continue
		}
		ws := Stat{Last: r.last, Lines: uint64(len(r.lines)), Removed: r.removed}
		for _, l := range r.lines {
			ws.Bytes += uint64(8 + 10 + len(l.From) + len(l.Text))
		}
		if err != nil || st != ws {
			rt.Fatalf("stat of room %d: %+v %v, want %+v", id, st, err, ws)
		}
		if m.opts.Lines > 0 && m.retention.overLimit(&head{Stat: st}) {
			rt.Fatalf("room %d has %d lines, may have %d", id, st.Lines, m.opts.Lines)
		}
		want = append(want, r.Room)
	}
	slices.SortFunc(want, func(a, b Room) int { return strings.Compare(a.Key, b.Key) })
	got, err := m.Rooms()
	if m.opts.Durability == Relaxed { // the topic is in the room when it is flushed
		for i := range min(len(got), len(want)) {
			got[i].Topic, want[i].Topic = "", ""
		}
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		rt.Fatalf("rooms: %v %s", err, diff)
	}
	ports, err := m.ReleasedPorts()
	if err != nil || !slices.Equal(ports, m.released) {
		rt.Fatalf("released ports %v %v, want %v", ports, err, m.released)
	}
	empty, err := m.Empty()
	if err != nil || empty != (m.newest == 0) {
		rt.Fatalf("empty: %v %v", empty, err)
	}
}
