package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// planned is what the store says is planned: "room due-hour".
func (tp *tap) planned() (all []string) {
	tp.t.Helper()
	plans, err := tp.Plans()
	if err != nil {
		tp.t.Fatal(err)
	}
	for _, p := range plans {
		if p.Line == "" || p.Announced.IsZero() || p.UID != 7 {
			tp.t.Errorf("%+v", p)
		}
		all = append(all, fmt.Sprint(p.Room, " ", p.Due.UTC().Hour()))
	}
	return all
}

func (tp *tap) expectPlans(want ...string) {
	tp.t.Helper()
	if got := tp.planned(); fmt.Sprint(got) != fmt.Sprint(want) {
		tp.t.Errorf("planned are %q, want %q", got, want)
	}
}

// plan is a plan for a room that is due at an hour.
func (tp *tap) plan(room uint64, hour int) {
	tp.t.Helper()
	at := time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC)
	if err := tp.SetPlan(Plan{Room: room, Announced: at.Add(-time.Hour), Due: at, UID: 7, Line: "x", Purge: true, Say: "y"}); err != nil {
		tp.t.Fatal(err)
	}
}

// Plans are there after a restart, until they are replaced, called off or fulfilled;
// what else happens to a room leaves them as they are. Every version of the file can
// have them.
func TestPlans(t *testing.T) {
	for version := 1; version <= Schema; version++ {
		s := open(t, old(t, version), Options{Retention: Retention{Trash: 1e6 * time.Hour}})
		s.expectPlans()
		dev := s.room("dev", 9010)
		s.plan(1, 5)
		s.plan(dev, 4)
		s.plan(0, 3)
		s.expectPlans("0 3", fmt.Sprint(dev, " 4"), "1 5")
		s.reopen()
		s.plan(1, 2) // instead
		s.say(1, "a line")
		back := make(chan *Post, 1)
		if err := s.Submit(t.Context(), &Post{Room: 1, Line: Line{Kind: Topic, From: "ann", Text: "a topic"}, Owner: back}); err != nil || (<-back).Err != nil {
			t.Fatal(err)
		}
		if _, err := s.Update(1, Edit{Name: new("hall"), Key: new("hall")}); err != nil {
			t.Fatal(err)
		}
		s.reopen()
		s.expectPlans("1 2", "0 3", fmt.Sprint(dev, " 4"))
		if err := errors.Join(s.EndPlan(0), s.EndPlan(0), s.EndPlan(dev), s.EndPlan(dev), s.EndPlan(99)); err != nil {
			t.Error(err)
		}
		if err := s.SetPlan(Plan{Room: 99}); !errors.Is(err, ErrNoRoom) {
			t.Error(err)
		}
		s.reopen()
		s.expectPlans("1 2")
		if err := s.Delete(1); err != nil {
			t.Fatal(err)
		}
		s.expectPlans()
		if _, err := s.Restore(1, 9000, nil); err != nil {
			t.Fatal(err)
		}
		s.expectPlans()
	}
}

// What was planned when a backup was made is not planned where it is restored.
func TestPlansOfABackup(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	lobby := s.room("lobby", 9000)
	s.plan(lobby, 1)
	s.plan(0, 2)
	s.expectPlans(fmt.Sprint(lobby, " 1"), "0 2")
	if err := s.update(func(tx *bolt.Tx) error { return clearEpoch(tx.Bucket(bucketMeta)) }, nil); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	s.expectPlans()
	s.plan(lobby, 3)
	s.reopen()
	s.expectPlans(fmt.Sprint(lobby, " 3"))
}

// A stop whose record is corrupt is skipped and named, until it is planned again.
func TestCorruptPlan(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	s.plan(0, 1)
	if err := s.update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		v := append([]byte(nil), meta.Get(keyStop)...)
		v[len(v)/2] ^= 1
		return meta.Put(keyStop, v)
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil {
		t.Error("the check finds nothing")
	}
	s.expectPlans()
	if n := s.CorruptReads(); n != 1 {
		t.Errorf("%d records were come across", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.expectPlans()
	if n, sentences := s.SkippedRecords(); n != 1 || len(sentences) != 1 || s.CorruptReads() != 0 {
		t.Error(n, sentences)
	}
	s.plan(0, 2)
	s.reopen()
	s.expectPlans("0 2")
}
