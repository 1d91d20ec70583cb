package english

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Plural is a number with its noun, whose plural ends with s: "1 room", "2 rooms".
func Plural[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Are is Plural with its verb: "1 line is", "2 lines are".
func Are(n int, noun string) string {
	if n == 1 {
		return Plural(n, noun) + " is"
	}
	return Plural(n, noun) + " are"
}

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

// Nearest is the one of the known words that word may have been meant to be; empty:
// none is near.
func Nearest(word string, known []string) string {
	best, least := "", min(4, (len(word)+4)/3)
	for _, k := range known {
		if d := Distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// DidYouMean suggests the nearest of the known words as the end of a sentence, or is "".
func DidYouMean(word string, known []string) string {
	if n := Nearest(word, known); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// Distance counts the characters to change, add or take away (Levenshtein).
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
