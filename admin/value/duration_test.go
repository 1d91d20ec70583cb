package value

import (
	"testing"
	"time"
)

// A time has days, too.
func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "1d": day, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "0d": 0, "90s": 90 * time.Second, "-1d": -day, "-1d1h": -25 * time.Hour,
		"106751d": 106751 * day, "5m": 5 * time.Minute,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "1", "1dd", "1d2", "1d-2h", "1d+2h", "infd", "NaNd", "1e3d", "106752d", "106751d23h59m", "1h1d", "day", "1 d", "-106751d23h59m"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}
