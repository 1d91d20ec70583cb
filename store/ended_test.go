package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"roomd/store/block"
)

// asked is a context that is done once it has been asked so often.
type asked struct {
	context.Context
	times, most int
}

func (a *asked) Err() error {
	if a.times++; a.times > a.most {
		return context.Canceled
	}
	return nil
}

// A check ends wherever it is once its context is done: it asks no more than a few
// times again, and says nothing of what it has found.
func TestCheckEnds(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	for i := range 3 {
		r, err := s.Create(Room{Name: fmt.Sprint("room", i), Key: fmt.Sprint("room", i), Port: 9000 + i})
		if err != nil {
			t.Fatal(err)
		}
		lines := make([]Line, 2000)
		for i := range lines {
			lines[i] = Line{Seq: uint64(i + 1), Time: time.Unix(1, 0).UTC(), Kind: Message, From: "ann", Text: strings.Repeat("x", 60)}
		}
		if _, err := s.importBatch(r.ID, lines, 2000); err != nil {
			t.Fatal(err)
		}
	}
	whole := &asked{Context: context.Background(), most: 1 << 30}
	if err := s.CheckContext(whole); err != nil {
		t.Fatal(err)
	}
	if whole.times < 50 {
		t.Fatalf("a whole check asks only %d times", whole.times)
	}
	const again = 20 // rooms, and what is between them
	for most := 0; most < whole.times-1; most += 3 {
		ctx := &asked{Context: context.Background(), most: most}
		if err := s.CheckContext(ctx); ctx.times > most+again || err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("ended after %d of %d: it asks %d times, %v", most, whole.times, ctx.times, err)
		}
	}
	s.say(1, "lines go on")
}

// One read transaction looks at so many blocks at most, also if more are asked for:
// what they say together is what the room has.
func TestNewestInSteps(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	r, err := s.Create(Room{Name: "lobby", Key: "lobby", Port: 9000})
	if err != nil {
		t.Fatal(err)
	}
	const all = 5000
	lines := make([]Line, all)
	for i := range lines {
		lines[i] = Line{Seq: uint64(i + 1), Time: time.Unix(1, 0).UTC(), Kind: Message, From: "ann", Text: strings.Repeat("x", 4000)}
	}
	if _, err := s.importBatch(r.ID, lines, all); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 900, all, all + 1} {
		steps, count, after, more := 0, 0, uint64(all), true
		for more {
			var found int
			if after, found, more, err = s.Newest(r.ID, after, n-count); err != nil {
				t.Fatal(err)
			}
			steps++
			count += found
			if found*4000 > scanBytes+2*block.TargetBytes {
				t.Errorf("a step of the newest %d finds %d lines", n, found)
			}
		}
		want := min(n, all)
		if count != want || after != uint64(all-want) || steps < want*4000/scanBytes {
			t.Errorf("the newest %d are %d after %d, in %d steps", n, count, after, steps)
		}
	}
}

// The audit is read in steps: a context that is done ends it, and entries that are
// not wanted take no memory.
func TestAuditsInSteps(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	const each = 2*auditScan + 500
	if err := s.update(func(tx *bolt.Tx) error {
		var all []Audit
		for i := range each {
			all = append(all, Audit{Time: time.Unix(int64(i), 0), Line: fmt.Sprint("a", i)}, Audit{Time: time.Unix(int64(i), 0), Door: DoorMaster, Line: fmt.Sprint("n", i)})
		}
		return putAudit(tx, auditKept, all...)
	}, nil); err != nil {
		t.Fatal(err)
	}
	if all, skipped, err := s.Audits(t.Context(), time.Time{}, 3*each, nil); len(all) != 2*each || skipped != 0 || err != nil {
		t.Errorf("%d entries, %d skipped, %v", len(all), skipped, err)
	}
	all, _, err := s.Audits(t.Context(), time.Time{}, 4, func(a *Audit) bool { return strings.HasSuffix(a.Line, "77") })
	got := ""
	for _, a := range all {
		got += a.Line + " "
	}
	if want := fmt.Sprintf("a%d n%[1]d a%d n%[2]d ", each-123, each-23); err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	looked := 0
	_, _, err = s.Audits(ctx, time.Time{}, 3*each, func(*Audit) bool { looked++; cancel(); return true })
	if looked > auditScan || !errors.Is(err, context.Canceled) {
		t.Errorf("it looks at %d entries after its end, %v", looked, err)
	}
}
