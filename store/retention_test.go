package store

import (
	"fmt"
	"testing"
	"time"
)

// A room's own retention holds instead of that of all rooms, at once, after the
// store has been opened anew, and when the room comes back from the trash.
func TestOwnRetention(t *testing.T) {
	s := open(t, dbPath(t), Options{Retention: Retention{Lines: 1000, Trash: time.Hour}})
	lobby, dev := s.room("lobby", 9000), s.room("dev", 9001)
	for i := range 300 {
		s.say(lobby, fmt.Sprint(i))
		s.say(dev, fmt.Sprint(i))
	}
	most := uint64(100)
	if _, err := s.Update(lobby, Edit{Settings: &Settings{Lines: &most}}); err != nil {
		t.Fatal(err)
	}
	lines := func(room uint64) uint64 {
		t.Helper()
		st, err := s.Stat(room)
		if err != nil {
			t.Fatal(err)
		}
		return st.Lines
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); lines(lobby) != most; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d lines are kept", lines(lobby))
		}
	}
	if n := lines(dev); n != 300 {
		t.Errorf("the other room keeps %d lines", n)
	}
	if err := s.Delete(lobby); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(lobby, 9000, nil); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	for i := range 300 {
		s.say(lobby, fmt.Sprint(i))
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); lines(lobby) > most+most/50+limitMargin; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d lines are kept", lines(lobby))
		}
	}
	// The other way round: an age of its own where there is none.
	age := time.Nanosecond
	if _, err := s.Update(dev, Edit{Settings: &Settings{Age: &age}}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); lines(dev) > 0; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d lines are kept", lines(dev))
		}
	}
}
