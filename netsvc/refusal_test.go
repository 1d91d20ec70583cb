package netsvc

import (
	"testing"
	"time"
)

// Of each reason the first refusal is logged, and then one a minute with the number of the others.
func TestRefusalLog(t *testing.T) {
	var l refusalLog
	now := time.Now()
	for i, c := range []struct {
		after    time.Duration
		why      RefusalReason
		unlogged int
		ok       bool
	}{
		{0, RefusedBan, 0, true}, {time.Second, RefusedBan, 0, false}, {2 * time.Second, RefusedBan, 0, false}, {3 * time.Second, RefusedRoomFull, 0, true},
		{time.Minute, RefusedBan, 2, true}, {61 * time.Second, RefusedBan, 0, false}, {3 * time.Minute, RefusedBan, 1, true}, {5 * time.Minute, RefusedBan, 0, true},
	} {
		if unlogged, ok := l.take(c.why, now.Add(c.after)); unlogged != c.unlogged || ok != c.ok {
			t.Errorf("%d: %d, %v", i, unlogged, ok)
		}
	}
}
