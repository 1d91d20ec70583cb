package netsvc

import (
	"testing"
	"time"
)

// Members that have left, by how they read, and how long they may do so while more
// is pending than they will ever take: none lives longer than leaveTime, here and
// in the processes before, and one that takes next to nothing about as long as one
// that takes nothing.
func TestMayDrain(t *testing.T) {
	const patience = time.Minute
	for _, c := range []struct {
		name   string
		bytes  float64 // a second
		before time.Duration
		least  time.Duration
		most   time.Duration
	}{
		{"3 KB every 15 s", 3 << 10 / 15, 0, patience, 2 * patience},
		{"just too slow", minDrainRate / 2, 0, 2 * patience, 3 * patience},
		{"a modem", 3 << 10, 0, maxDrainTime, maxDrainTime + patience},
		{"fast, for ever", 10 << 20, 0, maxDrainTime, maxDrainTime + patience},
		{"fast, and it has been leaving elsewhere", 10 << 20, maxDrainTime - 10*time.Minute, 10 * time.Minute, 11 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := patience // drain looks once in each patience
			for mayDrain(uint64(c.bytes*here.Seconds()), patience, here, c.before+here) {
				here += patience
			}
			if here < c.least || here > c.most {
				t.Errorf("it ends after %v, and not between %v and %v", here, c.least, c.most)
			}
		})
	}
}
