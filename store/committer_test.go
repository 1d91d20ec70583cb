package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// In a bubble the clock jumps to the next timer when all goroutines wait.
func TestTimers(t *testing.T) {
	path := dbPath(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, Options{Durability: Relaxed, FlushInterval: time.Second, Retention: Retention{Trash: 90 * time.Second}})
		lobby, old := s.room("lobby", 9000), s.room("old", 9001)
		look := func(when string, inWAL, onDisk int) {
			t.Helper()
			synctest.Wait()
			if s.inWAL(lobby) != inWAL || s.onDisk(lobby) != onDisk {
				t.Errorf("%s: %d lines in the WAL, %d in blocks; want %d, %d", when, s.inWAL(lobby), s.onDisk(lobby), inWAL, onDisk)
			}
		}
		for i := range 3 {
			s.say(lobby, "hello")
			look("at once", i, 0)
			<-time.After(time.Second)
			look("after the interval", i+1, 0)
		}
		<-time.After(3 * idleAfter)
		look("at rest", 0, 3)
		if r := s.recent(lobby); len(r.tail) != 0 {
			t.Errorf("%d blocks in memory", len(r.tail))
		}
		if err := s.Delete(old); err != nil {
			t.Fatal(err)
		}
		<-time.After(80 * time.Second)
		synctest.Wait()
		if _, err := s.Lines(old, 0, 1, 1); err != nil {
			t.Errorf("not yet: %v", err)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if _, err := s.Lines(old, 0, 1, 1); !errors.Is(err, ErrNoRoom) {
			t.Errorf("lines of a purged room: %v", err)
		}
	})
}

// An idle store with nothing that can get too old has no timer.
func TestNoTimerWhileIdle(t *testing.T) {
	path := dbPath(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, Options{Retention: Retention{Trash: time.Minute, Lines: 10}})
		old := s.room("old", 9001)
		s.say(old, "hello")
		if err := s.Delete(old); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		before := s.file.db.Stats()
		<-time.After(100 * time.Hour)
		synctest.Wait()
		after := s.file.db.Stats()
		if s.retention.mayExpire || before.TxN != after.TxN || before.TxStats.GetWrite() != after.TxStats.GetWrite() {
			t.Error("something happened while nothing did")
		}
	})
}

// What is submitted directly before the store is closed shares its word with that: the
// committer is not woken again.
func TestLastOfTheQueue(t *testing.T) {
	var q queue
	q.init(1)
	q.start()
	if err := q.put(item{task: new(task)}); err != nil {
		t.Fatal(err)
	}
	q.close()
	q.wake()
	if items, open := q.take(nil); len(items) != 1 || open {
		t.Errorf("%d items, and more may come: %v", len(items), open)
	}
}
