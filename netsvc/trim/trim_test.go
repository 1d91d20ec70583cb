package trim

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// held returns the bytes of the heap that are free, and not the system's.
func held() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// After a storm the memory that it has used is the system's again.
func TestTrim(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	var k Trimmer
	defer k.Stop()
	const each = 32 << 10
	var all [][]byte
	for range storm {
		all = append(all, make([]byte, each))
		k.Connected()
	}
	for i := range all {
		all[i][0] = 1
	}
	all = nil
	runtime.GC()
	if n := held(); n < storm*each/2 {
		t.Fatalf("only %d bytes are free", n)
	}
	for end := time.Now().Add(30 * time.Second); held() > storm*each/8; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are not given back", held())
		}
	}
}

// A look waits for the end of the storm and of the work that makes garbage. In the aftermath memory is
// given back if there is some, and not for each of many storms.
func TestDecide(t *testing.T) {
	var k Trimmer
	now, bytes := time.Now(), uint64(1<<30)
	look := func(why string, after time.Duration, connections, allocated uint64, wantTrim bool, want time.Duration) {
		t.Helper()
		now, bytes = now.Add(after), bytes+allocated
		k.came.Add(connections)
		trim, next := k.decide(now, bytes)
		if trim {
			k.trimmed = bytes
		}
		if trim != wantTrim || next != want {
			t.Errorf("%s: %v, %v and not %v, %v", why, trim, next, wantTrim, want)
		}
	}
	look("the first look", 0, storm, 0, false, lookEvery)
	look("connections", lookEvery, few+1, 0, false, lookEvery)
	look("work", lookEvery, few, idleBytes+1, false, lookEvery)
	look("the end", lookEvery, few, idleBytes, true, aftermath[0])
	look("after more work", aftermath[0], 0, worthBytes, true, aftermath[1])
	look("after little work", aftermath[1], 0, worthBytes-1, false, 0)
	look("another storm", pause/4, storm, 0, false, pause-pause/4-aftermath[0]-aftermath[1])
	look("its end", pause, 0, 0, true, aftermath[0])
}

// Fewer connections than a storm, and a stopped Trimmer, begin no look.
func TestNoStorm(t *testing.T) {
	var k Trimmer
	for range storm - 1 {
		k.Connected()
	}
	if k.looking.Load() {
		t.Error("it looks after a few connections")
	}
	k.Stop()
	if k.Connected(); k.timer != nil {
		t.Error("it looks after Stop")
	}
}
