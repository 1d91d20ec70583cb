package value

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a time as time.ParseDuration does, and days: 30d, 1d12h. A
// day has 24 hours.
func ParseDuration(text string) (time.Duration, error) {
	number, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	days, err := strconv.ParseFloat(number, 64)
	const most = float64(1<<63-1) / float64(24*time.Hour)
	if err != nil || !(days > -most && days < most) || strings.ContainsAny(number, "eExXnN_") {
		return 0, fmt.Errorf("%q is not a time", text)
	}
	d := time.Duration(days * float64(24*time.Hour))
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || strings.HasPrefix(rest, "+") {
		return 0, fmt.Errorf("%q is not a time", text)
	}
	if days < 0 || strings.HasPrefix(number, "-") {
		more = -more
	}
	if sum := d + more; (sum < d) == (more < 0) || more == 0 {
		return sum, nil
	}
	return 0, errors.New("the time is too long")
}
