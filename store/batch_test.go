package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
	"roomd/store/wal"
)

func TestGroupCommit(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		const rooms, talkers, each = 8, 16, 150
		s := open(t, dbPath(t), Options{Durability: d})
		for i := range rooms {
			s.room(fmt.Sprint("room", i), 9000+i)
		}
		var wg sync.WaitGroup
		for i := range talkers {
			wg.Go(func() {
				for n := range each {
					p := &Post{
						Room: 1 + rand.Uint64N(rooms), Owner: [2]int{i, n},
						Line: Line{Kind: Message, From: fmt.Sprint(i), Text: fmt.Sprint(n)},
					}
					if err := s.Submit(context.Background(), p); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		want := make(map[uint64][]Line)
		next := make([]int, talkers)
		for _, p := range s.seen() {
			who := p.Owner.([2]int)
			if p.Err != nil || who[1] != next[who[0]] {
				t.Fatalf("talker %d: line %d (%v) comes where %d was due", who[0], who[1], p.Err, next[who[0]])
			}
			next[who[0]]++
			if have := want[p.Room]; len(have) > 0 && have[len(have)-1].Seq >= p.Line.Seq {
				t.Fatalf("room %d: %d comes after %d", p.Room, p.Line.Seq, have[len(have)-1].Seq)
			}
			want[p.Room] = append(want[p.Room], p.Line)
		}
		if n := len(s.seen()); n != talkers*each {
			t.Errorf("%d lines delivered of %d", n, talkers*each)
		}
		if s.calls >= talkers*each/2 {
			t.Errorf("%d deliveries of %d lines: nothing was grouped", s.calls, talkers*each)
		}
		s.reopen()
		for room, lines := range want {
			if have := s.all(room); !slices.Equal(have, lines) {
				t.Errorf("room %d: %d lines on disk, or others; %d were delivered", room, len(have), len(lines))
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Trash: time.Hour}})
		lobby := s.room("lobby", 9000)
		other := s.room("other", 9001)
		for _, r := range []Room{{Name: "Lobby", Key: "lobby", Port: 9002}, {Name: "new", Key: "new", Port: 9000}} {
			if _, err := s.Create(r); !errors.Is(err, ErrExists) {
				t.Errorf("create %+v: %v", r, err)
			}
		}
		if p := s.say(lobby, "before"); p.Err != nil {
			t.Error(p.Err)
		}
		if err := s.Delete(lobby); err != nil {
			t.Error(err)
		}
		for _, room := range []uint64{lobby, 99, 0} {
			if p := s.say(room, "after"); !errors.Is(p.Err, ErrNoRoom) || p.Line.Seq != 0 {
				t.Errorf("a line for room %d: seq %d, %v", room, p.Line.Seq, p.Err)
			}
			if err := s.Delete(room); !errors.Is(err, ErrNoRoom) {
				t.Errorf("delete room %d: %v", room, err)
			}
			if _, err := s.Stat(room); !errors.Is(err, ErrNoRoom) {
				t.Errorf("stat room %d: %v", room, err)
			}
		}
		// One refused line does not hurt those beside it.
		posts := []*Post{{Room: other}, {Room: lobby}, {Room: other}, {Room: 99}, {Room: other}}
		for _, p := range posts {
			p.Line.Kind = Message
			if err := s.Submit(context.Background(), p); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		for i, p := range posts {
			if refused := p.Room != other; refused != errors.Is(p.Err, ErrNoRoom) {
				t.Errorf("line %d: %v", i, p.Err)
			}
		}
		if n := len(s.all(other)); n != 3 {
			t.Errorf("%d lines", n)
		}
		if id := s.room("lobby", 9000); id == lobby { // both are free again
			t.Error("an id was given twice")
		}
		closed := s.Store
		s.stop()
		if err := closed.Submit(context.Background(), &Post{Room: other}); !errors.Is(err, ErrClosed) {
			t.Errorf("submit after close: %v", err)
		}
		if _, err := closed.Create(Room{Name: "x", Key: "x", Port: 1}); !errors.Is(err, ErrClosed) {
			t.Errorf("create after close: %v", err)
		}
		if err := errors.Join(closed.Close(), closed.Close()); err != nil {
			t.Errorf("close again: %v", err)
		}
	})
}

func TestNotStarted(t *testing.T) {
	s, err := Open(dbPath(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Submit(context.Background(), &Post{}); !errors.Is(err, ErrClosed) {
		t.Errorf("submit before start: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSubmitWaits(t *testing.T) {
	s := open(t, dbPath(t), Options{PendingBytes: 2 * (postOverhead + 10)})
	room := s.room("lobby", 9000)
	post := func(text string) *Post {
		return &Post{Room: room, Owner: make(chan *Post), Line: Line{Kind: Message, Text: text}}
	}
	ctx := context.Background()
	// The first keeps the committer in deliver until its owner takes it back.
	first, second := post("first"), post("second")
	for _, p := range []*Post{first, second} {
		if err := s.Submit(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := s.Submit(short, post("never")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("submit at the bound: %v", err)
	}
	third := post(strings.Repeat("longer than everything that may wait ", 100))
	submitted := make(chan error)
	go func() { submitted <- s.Submit(ctx, third) }()
	select {
	case err := <-submitted:
		t.Errorf("submitted over the bound: %v", err)
	case <-time.After(5 * time.Millisecond):
	}
	<-first.Owner.(chan *Post)
	<-second.Owner.(chan *Post)
	if err := <-submitted; err != nil {
		t.Error(err)
	}
	<-third.Owner.(chan *Post)
	if n := len(s.all(room)); n != 3 {
		t.Errorf("%d lines", n)
	}
}

func TestTrySubmit(t *testing.T) {
	path := dbPath(t)
	st, err := Open(path, Options{PendingBytes: 2 * (postOverhead + 10)})
	if err != nil {
		t.Fatal(err)
	}
	s := &tap{Store: st, t: t, path: path}
	if ok, err := s.TrySubmit(&Post{}); ok || !errors.Is(err, ErrClosed) {
		t.Errorf("before start: %v %v", ok, err)
	}
	s.Start(Follower{Lines: s.deliver})
	room := s.room("lobby", 9000)
	try := func(want bool) *Post {
		t.Helper()
		// The first keeps the committer in deliver until its owner takes it back.
		p := &Post{Room: room, Owner: make(chan *Post), Line: Line{Kind: Message, Text: "x"}}
		if ok, err := s.TrySubmit(p); ok != want || err != nil {
			t.Errorf("%v %v, want %v", ok, err, want)
		}
		return p
	}
	one, two := try(true), try(true)
	try(false)
	try(false)
	<-one.Owner.(chan *Post)
	<-two.Owner.(chan *Post)
	if err := s.Flush(); err != nil { // what was delivered has left the queue by then
		t.Fatal(err)
	}
	<-try(true).Owner.(chan *Post)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.all(room)); n != 3 {
		t.Errorf("%d lines", n)
	}
	s.stop()
	if ok, err := st.TrySubmit(&Post{Room: room}); ok || !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v %v", ok, err)
	}
}

// A line that waits while the store closes is either delivered or refused.
func TestCloseWhileSubmitWaits(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		for range 10 {
			s := open(t, dbPath(t), Options{Durability: d, PendingBytes: postOverhead})
			room := s.room("lobby", 9000)
			const talkers = 4
			accepted := make(chan int, talkers)
			for range talkers {
				go func() {
					n := 0
					for s.Store.Submit(context.Background(), &Post{Room: room, Line: Line{Kind: Message}}) == nil {
						n++
					}
					accepted <- n
				}()
			}
			s.say(room, "one line through")
			if err := s.Store.Close(); err != nil {
				t.Fatal(err)
			}
			sum := 1
			for range talkers {
				sum += <-accepted
			}
			if n := len(s.seen()); n != sum {
				t.Errorf("%d lines accepted, %d delivered", sum, n)
			}
			s.start()
			if n := len(s.all(room)); n != sum {
				t.Errorf("%d lines accepted, %d on disk", sum, n)
			}
			s.stop()
		}
	})
}

func TestRelaxedShowsBeforeItWrites(t *testing.T) {
	s := open(t, dbPath(t), Options{Durability: Relaxed, FlushInterval: time.Hour})
	lobby, other := s.room("lobby", 9000), s.room("other", 9001)
	for i := range 3 {
		if p := s.say(lobby, fmt.Sprint(i)); p.Err != nil || p.Line.Seq != uint64(1+i) {
			t.Fatalf("%+v", p)
		}
	}
	if st, err := s.Stat(lobby); err != nil || st.Last != 3 || st.Lines != 3 {
		t.Errorf("%+v %v", st, err)
	}
	// Reading needs no flush.
	if lines, err := s.Lines(other, 0, 10, 1000); err != nil || len(lines) != 0 {
		t.Errorf("%v %v", lines, err)
	}
	if lines, err := s.Lines(lobby, 0, 4, 1000); err != nil || len(lines) != 3 {
		t.Errorf("%v %v", lines, err)
	}
	if after, n, _, err := s.Newest(lobby, 3, 2); after != 1 || n != 2 || err != nil {
		t.Errorf("the newest 2 are %d after %d, %v", n, after, err)
	}
	if n := s.inWAL(lobby); n != 0 {
		t.Errorf("%d lines are written already", n)
	}
	if err := s.Flush(); err != nil || s.inWAL(lobby) != 3 {
		t.Errorf("%d lines in the WAL, %v", s.inWAL(lobby), err)
	}
	// Close writes what is left, without a check that would flush it before.
	s.say(lobby, "one more")
	s.say(lobby, "the last")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(wal.Path(s.path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the WAL exists after close: %v", err)
	}
	s.start()
	if n := s.onDisk(lobby); n != 5 {
		t.Errorf("%d lines after close, want 5", n)
	}
	if p := s.say(lobby, "next"); p.Line.Seq != 6 {
		t.Errorf("number %d after an orderly close, want 6", p.Line.Seq)
	}
}

// More than a crash may lose is written at once.
func TestRelaxedBound(t *testing.T) {
	s := open(t, dbPath(t), Options{Durability: Relaxed, FlushInterval: time.Hour})
	lobby := s.room("lobby", 9000)
	for range maxUnwritten {
		if err := s.Submit(context.Background(), &Post{Room: lobby, Line: Line{Kind: Message}}); err != nil {
			t.Fatal(err)
		}
	}
	s.say(lobby, "one more")
	b, err := os.ReadFile(wal.Path(s.path))
	if err != nil || len(bytes.Trim(b[walHead:], "\x00")) == 0 {
		t.Errorf("nothing is in the WAL: %v", err)
	}
}

func TestReleasedPorts(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Trash: time.Hour}})
	ids := make(map[int]uint64)
	for _, port := range []int{9001, 9002, 9003, 9004, 9005, 255, 256} {
		ids[port] = s.room(fmt.Sprint(port), port)
	}
	released := func(want ...int) {
		t.Helper()
		if got, err := s.ReleasedPorts(); err != nil || !slices.Equal(got, want) {
			t.Errorf("released %v %v, want %v", got, err, want)
		}
	}
	del := func(ports ...int) {
		t.Helper()
		for _, p := range ports {
			if err := s.Delete(ids[p]); err != nil {
				t.Fatal(err)
			}
		}
	}
	released()
	del(9003, 256, 9001)
	released(9003, 256, 9001)
	s.reopen()
	del(9005)
	released(9003, 256, 9001, 9005)
	ids[9003] = s.room("again", 9003)
	released(256, 9001, 9005)
	s.reopen()
	del(9003)
	released(256, 9001, 9005, 9003)
	if err := s.applyRetentionAt(time.Now().Add(2 * time.Hour)); err != nil { // the rooms go, their ports rest on
		t.Fatal(err)
	}
	s.settled()
	s.reopen()
	released(256, 9001, 9005, 9003)
}

// Housekeeping in several steps: a check passes at each, after a crash too. The
// store is not started, so that the test is the committer.
func TestCheckBetweenSteps(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Age: time.Hour, Trash: time.Hour}})
	gone, aged := s.room("gone", 9000), s.room("aged", 9001)
	const lines = 2*jobBlocks + 20 // of a block each
	for range lines {
		for _, room := range []uint64{gone, aged} {
			if err := s.Submit(context.Background(), &Post{Room: room, Line: Line{Kind: Message, Text: strings.Repeat("x", block.TargetBytes)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Delete(gone); err != nil {
		t.Fatal(err)
	}
	s.stop()
	begin := func() *Store {
		byHand, err := Open(s.path, s.opts)
		if err != nil {
			t.Fatal(err)
		}
		byHand.retention.schedule(time.Now().Add(2*time.Hour), byHand.heads)
		return byHand
	}
	byHand := begin()
	for steps := 1; byHand.runJobs() || len(byHand.checkpoint.dirty) > 0; steps++ {
		if steps%3 == 0 {
			if err := byHand.runCheckpoint(); err != nil {
				t.Fatal(err)
			}
		}
		if err := byHand.file.db.View(checkTx); err != nil {
			t.Errorf("after %d steps: %v", steps, err)
		}
		if steps < 8 { // the next finds it half done
			if err := byHand.Close(); err != nil {
				t.Fatal(err)
			}
			byHand = begin()
		}
		if steps > 100 {
			t.Fatal("no end")
		}
	}
	if err := byHand.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	if _, err := s.Lines(gone, 0, 1, 1); !errors.Is(err, ErrNoRoom) {
		t.Errorf("lines of a purged room: %v", err)
	}
	if st, err := s.Stat(aged); err != nil || st.Lines != 0 || st.Bytes != 0 || st.Removed != st.Last {
		t.Errorf("%+v %v", st, err)
	}
	if n := s.onDisk(aged); n != 0 {
		t.Errorf("%d lines are there", n)
	}
}

// Check runs beside talk and housekeeping: bbolt's own is not safe beside a writer.
func TestCheckWhileWriting(t *testing.T) {
	durabilities(t, func(t *testing.T, d Durability) {
		s := open(t, dbPath(t), Options{Durability: d, Retention: Retention{Lines: 20}})
		room := s.room("lobby", 9000)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 3000 {
				if err := s.Submit(context.Background(), &Post{Room: room, Line: Line{Kind: Message, Text: "x"}}); err != nil {
					t.Error(err)
				}
			}
		})
		for range 20 {
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
	})
}

// Looking whether anything is old must not cost a sync for every room.
func TestRetentionWritesNothing(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Age: time.Hour, Lines: 1000}})
	s.say(s.room("lobby", 9000), "hello")
	before := s.file.db.Stats()
	if err := s.update(func(*bolt.Tx) error { s.retention.schedule(time.Now(), s.heads); return errRollback }, nil); !errors.Is(err, errRollback) {
		t.Fatal(err)
	}
	s.settled()
	after := s.file.db.Stats()
	if n := after.TxStats.GetWrite() - before.TxStats.GetWrite(); n != 0 {
		t.Errorf("%d writes", n)
	}
}
