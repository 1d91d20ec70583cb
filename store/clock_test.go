package store

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		looks [][3]time.Duration // both clocks since the start, and the trusted one
	}{
		{"well", [][3]time.Duration{{0, 0, 0}, {time.Minute, time.Minute, time.Minute}, {9 * day, 9 * day, 9 * day}}},
		{"drifts", [][3]time.Duration{{0, 0, 0}, {day, day - time.Minute, day}, {2 * day, 2*day - 5*time.Minute, 2 * day}}},
		{"ahead for good", [][3]time.Duration{
			{0, 0, 0}, {day + time.Minute, time.Minute, time.Minute}, {day + 59*time.Minute, 59 * time.Minute, 59 * time.Minute},
			{day + 62*time.Minute, 62 * time.Minute, day + 62*time.Minute},
		}},
		{"ahead and back", [][3]time.Duration{
			{0, 0, 0}, {day + time.Minute, time.Minute, time.Minute}, {2 * time.Minute, 2 * time.Minute, 2 * time.Minute}, {2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		}},
		{"ahead twice", [][3]time.Duration{
			{0, 0, 0}, {day + time.Minute, time.Minute, time.Minute}, {2*day + 50*time.Minute, 50 * time.Minute, 50 * time.Minute},
			{2*day + 100*time.Minute, 100 * time.Minute, 100 * time.Minute}, {2*day + 111*time.Minute, 111 * time.Minute, 2*day + 111*time.Minute},
		}},
		{"back a year, and right again", [][3]time.Duration{
			{0, 0, 0}, {-365 * day, time.Minute, -365 * day}, {3 * time.Minute, 2 * time.Minute, -365*day + time.Minute + time.Minute},
			{2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		}},
	} {
		var c clock
		for i, l := range test.looks {
			now, jumped := c.trusted(start.Add(l[0]), l[1])
			if off := now.Sub(start.Add(l[2])); off.Abs() > time.Minute {
				t.Errorf("%s, look %d: the clock shows %v, %v of that are trusted, %v should be", test.name, i, l[0], now.Sub(start), l[2])
			}
			if jumped > 0 && i == 0 {
				t.Errorf("%s: the first look is a jump of %v", test.name, jumped)
			}
		}
	}
}

// Nothing goes early because the clock has jumped: neither back, by 26 years, nor
// ahead, before there was an hour to set it right. Numbers and order do not care.
func TestClockJumps(t *testing.T) {
	path := dbPath(t)
	opts := Options{Retention: Retention{Age: time.Hour, Trash: time.Hour, Lines: 1000}}
	s := open(t, path, opts)
	lobby, old := s.room("lobby", 9000), s.room("old", 9001)
	s.say(lobby, "in our time")
	s.say(old, "in our time")
	if err := s.Delete(old); err != nil {
		t.Fatal(err)
	}
	s.stop()
	// In a bubble it is the year 2000, and an hour passes at once.
	synctest.Test(t, func(t *testing.T) {
		jumps := 0
		opts.Events.ClockJumped = func(time.Duration) { jumps++ }
		s := open(t, path, opts)
		expect := func(when string, lines int, trash bool) {
			t.Helper()
			synctest.Wait()
			all := s.all(lobby)
			if len(all) != lines {
				t.Errorf("%s: there are %d lines instead of %d", when, len(all), lines)
			}
			for i, l := range all {
				if i > 0 && l.Seq != all[i-1].Seq+1 {
					t.Errorf("%s: %d follows %d", when, l.Seq, all[i-1].Seq)
				}
			}
			if _, err := s.Lines(old, 0, 1, 1); errors.Is(err, ErrNoRoom) == trash {
				t.Errorf("%s: the room in the trash: %v", when, err)
			}
		}
		expect("back in 2000", 1, true)
		<-time.After(30 * time.Hour)
		if p := s.say(lobby, "long ago"); p.Line.Seq != 2 {
			t.Errorf("its number is %d", p.Line.Seq)
		}
		expect("a day later", 2, true)
		ports, err := s.ReleasedPorts()
		if err != nil || len(ports) != 1 || ports[0] != 9001 {
			t.Errorf("resting: %v %v", ports, err)
		}
		dev, bin := s.room("dev", 9002), s.room("bin", 9003)
		s.say(dev, "at midnight")
		if err := s.Delete(bin); err != nil {
			t.Fatal(err)
		}
		s.stop()

		// And ahead, by two days, with the server down meanwhile.
		closed := time.Now()
		if err := os.Chtimes(path, closed, closed); err != nil {
			t.Fatal(err)
		}
		<-time.After(48 * time.Hour)
		s.start()
		gone := func() bool {
			_, err := s.Lines(bin, 0, 1, 1)
			return errors.Is(err, ErrNoRoom) && len(s.all(dev)) == 0
		}
		<-time.After(59 * time.Minute)
		synctest.Wait()
		if _, err := s.Lines(bin, 0, 1, 1); err != nil || len(s.all(dev)) != 1 || jumps != 1 {
			t.Errorf("within the hour: %v, %d lines, %d jumps", err, len(s.all(dev)), jumps)
		}
		<-time.After(3 * time.Minute)
		synctest.Wait()
		if !gone() {
			t.Error("an hour later nothing has gone")
		}
		expect("long after", 2, true) // what was said in a future year stays until then
	})
}
