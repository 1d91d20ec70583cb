package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	crashRooms    = 4
	crashTalkers  = 8
	crashInterval = 20 * time.Millisecond // of the relaxed child
)

// appendUntilKilled is the child: talkers say numbered lines in all rooms, one
// at a time each, and what is delivered is printed.
func appendUntilKilled(path string, opts Options) error {
	s, err := Open(path, opts)
	if err != nil {
		return err
	}
	s.Start(Follower{Lines: func(posts []*Post) {
		var b strings.Builder
		for _, p := range posts {
			if p.Err != nil {
				panic(p.Err)
			}
			fmt.Fprintf(&b, "%d %d %d %s\n", p.Room, p.Line.Seq, p.Line.Time.UnixMicro(), p.Line.Text)
		}
		os.Stdout.WriteString(b.String())
		for _, p := range posts {
			p.Owner.(chan struct{}) <- struct{}{}
		}
	}})
	for i := range crashRooms {
		name := fmt.Sprint("room", i)
		if _, err := s.Create(Room{Name: name, Key: name, Port: 9000 + i}); err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	var wg sync.WaitGroup
	for i := range crashTalkers {
		wg.Go(func() {
			back := make(chan struct{}, 1)
			for n := 0; ; n++ {
				p := &Post{Room: uint64(1 + (i+n)%crashRooms), Owner: back, Line: Line{
					Kind: Message, From: "ann", Text: fmt.Sprintf("%d/%d/%d", os.Getpid(), i, n),
				}}
				if err := s.Submit(context.Background(), p); err != nil {
					panic(err)
				}
				<-back
			}
		})
	}
	wg.Wait()
	return nil
}

// printed is a line that the child has shown.
type printed struct {
	room uint64
	Line
}

// killRound lets a child append to path, kills it when it has printed about n
// lines, and returns all it has printed.
func killRound(t *testing.T, what, path string, n int) (lines []printed) {
	t.Helper()
	cmd, out, _ := startChild(t, what, path)
	for {
		if len(lines) >= n && cmd.ProcessState == nil {
			// What it has printed until it is dead is in the pipe.
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			n = math.MaxInt
		}
		s, err := out.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break // what follows the last newline was being written
		}
		var p printed
		var micros int64
		if _, err := fmt.Sscan(s, &p.room, &p.Seq, &micros, &p.Text); err != nil {
			t.Fatalf("the child printed %q: %v", s, err)
		}
		p.Time = time.UnixMicro(micros).UTC()
		p.Kind, p.From = Message, "ann"
		lines = append(lines, p)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return lines
}

func TestKilledWithCommit(t *testing.T) {
	path := dbPath(t)
	shown := make(map[uint64][]Line)
	total := 0
	for round := range 10 {
		n := 0 // the first rounds are killed while they open, or soon after
		if round > 1 {
			n = rand.IntN(500)
		}
		for _, p := range killRound(t, "commit", path, n) {
			shown[p.room] = append(shown[p.room], p.Line)
			total++
		}
		s := open(t, path, Options{})
		for room, want := range shown {
			texts := make(map[string]bool)
			have := s.all(room)
			for _, l := range have {
				if texts[l.Text] {
					t.Errorf("round %d room %d: %q is there twice", round, room, l.Text)
				}
				texts[l.Text] = true
			}
			for _, w := range want {
				for len(have) > 0 && have[0] != w {
					have = have[1:] // on disk, but killed before it was shown
				}
				if len(have) == 0 {
					t.Fatalf("round %d room %d: line %+v was shown and is gone, or is out of order", round, room, w)
				}
			}
		}
		s.stop()
	}
	t.Logf("%d lines were shown before ten kills", total)
}

func TestKilledWithRelaxed(t *testing.T) {
	path := dbPath(t)
	seen := make(map[uint64]uint64) // the newest number anybody saw, by room
	missing, total := 0, 0
	oldest := time.Duration(0)
	for range 4 {
		lines := killRound(t, "relaxed", path, 5000+rand.IntN(10000))
		total += len(lines)
		last := lines[len(lines)-1].Time
		s := open(t, path, Options{Durability: Relaxed})
		have := make(map[printed]bool)
		for room := range uint64(crashRooms) {
			for _, l := range s.all(room + 1) {
				have[printed{room + 1, l}] = true
			}
		}
		gone := make(map[uint64]bool)
		for _, p := range lines {
			if p.Seq <= seen[p.room] {
				t.Errorf("room %d: number %d was given twice", p.room, p.Seq)
			}
			seen[p.room] = p.Seq
			if have[p] {
				if gone[p.room] {
					t.Errorf("room %d: line %d is there, an older one is not", p.room, p.Seq)
				}
				continue
			}
			gone[p.room] = true
			missing++
			// The interval, and generously what a flush takes on a busy disk.
			age := last.Sub(p.Time)
			oldest = max(oldest, age)
			if age > crashInterval+250*time.Millisecond {
				t.Errorf("room %d: line %d is gone, it was shown %v before the end", p.room, p.Seq, age)
			}
		}
		for room, n := range seen {
			p := s.say(room, "after the crash")
			if p.Err != nil || p.Line.Seq <= n {
				t.Errorf("room %d: number %d after the crash (%v), %d was seen before", room, p.Line.Seq, p.Err, n)
			}
			seen[room] = p.Line.Seq
		}
		s.stop()
	}
	t.Logf("%d of %d lines shown are missing after four kills, the oldest of them %v old", missing, total, oldest)
}

// flaky is a child whose syncs fail at the times that strace is told.
func flaky(path string) error {
	s, err := Open(path, Options{Events: Events{ReadOnly: func(why error) { fmt.Println("read-only", why != nil) }}})
	if err != nil {
		return err
	}
	back := make(chan *Post, 1)
	s.Start(Follower{Lines: func(posts []*Post) {
		for _, p := range posts {
			back <- p
		}
	}})
	r, err := s.Create(Room{Name: "lobby", Key: "lobby", Port: 9000})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		p := &Post{Room: r.ID, Line: Line{Kind: Message, From: "ann", Text: fmt.Sprint(i)}}
		if ok, err := s.TrySubmit(p); !ok {
			return fmt.Errorf("submit: %w", err)
		}
		<-back
		if p.Err == nil {
			fmt.Println("kept", p.Line.Seq, i)
			if i >= 40 {
				break
			}
			continue
		}
		if !errors.Is(p.Err, ErrReadOnly) {
			return p.Err
		}
		// Reads go on, and it is as before once the disk is well.
		if st, err := s.Stat(r.ID); err != nil || st.Last != uint64(st.Lines) {
			return fmt.Errorf("%+v %w", st, err)
		}
		fmt.Println("refused", 0, i)
		for try := 0; s.Reopen() != nil; try++ {
			if try == 5 {
				return fmt.Errorf("reopen: %w", s.ReadOnly())
			}
		}
	}
	if err := errors.Join(s.Check(), s.Close()); !errors.Is(err, ErrReadOnly) {
		return err
	}
	return nil // what was kept is on disk all the same
}

// powerChild talks and prints what is delivered, with changes and checkpoints between
// the lines, and ends without a Close.
func powerChild(path string, opts Options) error {
	s, err := Open(path, opts)
	if err != nil {
		return err
	}
	back := make(chan *Post, 64)
	s.Start(Follower{Lines: func(posts []*Post) {
		var b strings.Builder
		for _, p := range posts {
			fmt.Fprintf(&b, "%d %d %d %s\n", p.Room, p.Line.Seq, p.Line.Time.UnixMicro(), p.Line.Text)
			s.SavePositions(ReaderPositions{"ann", Positions{p.Room: p.Line.Seq}})
			back <- p
		}
		os.Stdout.WriteString(b.String())
		if rand.IntN(4) == 0 {
			s.writePositions()
		}
	}})
	batches := min(80, rounds(8))
	for i := range batches {
		n := 1 + rand.IntN(4)
		for j := range n {
			p := &Post{Room: uint64(1 + rand.IntN(crashRooms)), Line: Line{Kind: Message, From: "ann", Text: fmt.Sprintf("%d/%d/%s", i, j, strings.Repeat("x", rand.IntN(300)))}}
			if err := s.Submit(context.Background(), p); err != nil {
				return err
			}
		}
		for range n {
			if p := <-back; p.Err != nil {
				return p.Err
			}
		}
		what := rand.IntN(max(8, batches/3))
		switch i { // whatever chance brings
		case batches / 3:
			what = 0
		case batches * 2 / 3:
			what = 1
		}
		switch what {
		case 0:
			c := &task{checkpoint: true, done: make(chan struct{})}
			if err := s.queue.put(item{task: c}); err != nil {
				return err
			}
			<-c.done
			err = c.err
		case 1:
			_, err = s.Update(uint64(1+rand.IntN(crashRooms)), Edit{Topic: new(fmt.Sprint(i))})
		}
		if err != nil {
			return err
		}
	}
	os.Exit(0)
	return nil
}

// doubtRounds are so many that one of a child's threads makes doubtFirst syncs.
const doubtRounds = 400

// doubting is a child that says lines, makes rooms and deletes them, and prints
// what it was told of each. With only, a kind, it does nothing else after its first
// steps, until that is refused. When something is refused it ends on the spot, or,
// if it is to recover, it reopens the file and goes on.
func doubting(path string, recovers bool, only string) error {
	s, err := Open(path, Options{Retention: Retention{Trash: 1 << 60}})
	if err != nil {
		return err
	}
	back := make(chan *Post, 1)
	s.Start(Follower{Lines: func(posts []*Post) { back <- posts[0] }})
	rounds, refused := 8, false
	if only != "" {
		rounds = doubtRounds
	}
	lobby := uint64(1)
	did := func(what string, name any, err error) error {
		if err == nil {
			fmt.Println(what, "kept", name)
			return nil
		}
		fmt.Println(what, "refused", name)
		refused = true
		if !errors.Is(err, ErrReadOnly) {
			return err
		}
		if !recovers {
			os.Exit(0)
		}
		for try := 0; s.Reopen() != nil; try++ {
			if try == 5 {
				return fmt.Errorf("reopen: %w", s.ReadOnly())
			}
		}
		return nil
	}
	_, err = s.Create(Room{Name: "lobby", Key: "lobby", Port: 9000})
	if err := did("create", "lobby", err); err != nil {
		return err
	}
	var made []Room // deletes take them in turn
	if only == "delete" {
		for i := range rounds {
			name := fmt.Sprint("room", i)
			made = append(made, Room{Name: name, Key: name, Port: 9001 + i})
		}
		if made, err = s.CreateAll(made, ""); err != nil {
			return err
		}
		for _, r := range made {
			fmt.Println("create kept", r.Name)
		}
	}
	for i := 0; i < rounds && (only == "" || !refused); i++ {
		if _, err := s.Stat(lobby); err != nil {
			break // it is what was refused
		}
		if only == "" || only == "say" {
			p := &Post{Room: lobby, Line: Line{Kind: Message, From: "ann", Text: fmt.Sprint(i)}}
			if _, err := s.TrySubmit(p); err != nil {
				return err
			}
			if err := did("say", i, (<-back).Err); err != nil {
				return err
			}
		}
		if only == "" || only == "create" {
			name := fmt.Sprint("room", i)
			r, err := s.Create(Room{Name: name, Key: name, Port: 9001 + i})
			if err == nil {
				made = append(made, r)
			}
			if err := did("create", name, err); err != nil {
				return err
			}
		}
		if (only == "" && i%2 == 0 || only == "delete") && len(made) > 0 {
			if err := did("delete", made[0].Name, s.Delete(made[0].ID, "")); err != nil {
				return err
			}
			made = made[1:]
		}
	}
	if recovers {
		if err := errors.Join(s.Check(), s.Close()); !errors.Is(err, ErrReadOnly) {
			return err
		}
	}
	os.Exit(0) // as if it was killed
	return nil
}
