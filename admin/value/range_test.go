package value

import (
	"testing"
	"time"
)

// A range takes its ends and what 0 means, refuses what lies beyond, and says both.
func TestRange(t *testing.T) {
	for text, good := range map[string]bool{"0": true, "1": true, "1000000": true, "-1": false, "1000001": false, "x": false, "1.5": false, "9999999999999999999": false} {
		if _, err := ParseNumber(text, Members); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	idle := Times{time.Second, Forever, NoLimit}
	for text, good := range map[string]bool{"0s": true, "1s": true, "9000d": true, "1ms": false, "-1s": false, "5": false, "soon": false} {
		if _, err := ParseTime(text, idle); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		Members.String(): "1 to 1000000, or 0 for no limit", Replay.String(): "0 to 10000", QuietAbove.String(): "0 or more",
		idle.String(): "1s or more, or 0s for no limit", Times{time.Millisecond, time.Second, ""}.String(): "1ms to 1s",
	} {
		if text != want {
			t.Errorf("%q, not %q", text, want)
		}
	}
}
