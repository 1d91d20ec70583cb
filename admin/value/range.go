package value

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Range holds the values from Least to Most and, unless Zero is empty, 0.
type Range[T ~int64] struct {
	Least, Most T
	Zero        string // the meaning of 0: "no limit"
}

type (
	Numbers = Range[int64]
	Times   = Range[time.Duration]
)

// Unlimited and Forever are the upper ends of ranges without one.
const (
	Unlimited = min(1<<40, math.MaxInt)
	Forever   = time.Duration(math.MaxInt64)
)

// NoLimit is the meaning of 0 for a limit.
const NoLimit = "no limit"

// The ranges of the settings that one room may have of its own; each has the range of the
// key of the configuration that holds for all rooms.
var (
	Members    = Numbers{1, 1000000, NoLimit}             // limits.members
	Replay     = Numbers{0, 10000, ""}                    // rooms.replay, in lines
	QuietAbove = Numbers{0, Unlimited, ""}                // rooms.quiet_above, in members
	Lines      = Numbers{1, Unlimited, NoLimit}           // history.lines
	Age        = Times{time.Nanosecond, Forever, NoLimit} // history.age
)

// Ports are the numbers of TCP ports.
var Ports = Numbers{1, 65535, ""}

// Check returns an error that names the range if v is not in it.
func (r Range[T]) Check(v T) error {
	if v == 0 && r.Zero != "" || v >= r.Least && v <= r.Most {
		return nil
	}
	return fmt.Errorf("%v is out of range; write %v", v, r)
}

// String is the range in words: "64 to 65536", "1s or more, or 0s for no limit".
func (r Range[T]) String() string {
	text := fmt.Sprintf("%v to %v", r.Least, r.Most)
	if int64(r.Most) == Unlimited || int64(r.Most) == math.MaxInt64 {
		text = fmt.Sprintf("%v or more", r.Least)
	}
	if r.Zero != "" {
		text += fmt.Sprintf(", or %v for %s", T(0), r.Zero)
	}
	return text
}

// ParseNumber reads a whole number in a range.
func ParseNumber(text string, in Numbers) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number; write %v", text, in)
	}
	return n, in.Check(n)
}

// ParseTime reads a time in a range.
func ParseTime(text string, in Times) (time.Duration, error) {
	d, err := ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf(`%q is not a time; write a number with a unit, like "30s", "5m", "24h" or "30d"`, text)
	}
	return d, in.Check(d)
}
