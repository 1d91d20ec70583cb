package wire

import "strings"

// IsPattern reports whether an argument of LIST is a pattern: it has * or ?, which no name has.
func IsPattern(s string) bool { return strings.ContainsAny(s, "*?") }

// Pattern matches names: * stands for any characters, also none, and ? for one. All other
// characters are folded as those of names, but may be characters that no name has.
type Pattern struct {
	runes          []rune
	matchesNothing bool
}

// maxPattern bounds the characters of a pattern beside its stars: every name is shorter,
// however it is composed.
const maxPattern = 4 * MaxName

// NewPattern prepares a pattern: folding takes a microsecond for ten characters.
func NewPattern(text string) Pattern {
	n, star := 0, false
	short := strings.Map(func(r rune) rune {
		if r == '*' && star || n > maxPattern {
			return -1 // one star is as good as two
		}
		if star = r == '*'; !star {
			n++
		}
		return r
	}, text)
	if n > maxPattern {
		return Pattern{matchesNothing: true}
	}
	return Pattern{runes: []rune(Fold(short))}
}

// Match reports whether the key of a name matches. The time is bounded by the length of
// the pattern plus the square of the key's.
func (pat Pattern) Match(key string) bool {
	if pat.matchesNothing {
		return false
	}
	p, k := pat.runes, []rune(key)
	// When a match fails, it is tried again after the last *, one character later in k. No earlier
	// * needs another try: the last * can match everything that an earlier one would.
	star, next := -1, 0
	i, j := 0, 0
	for j < len(k) {
		switch {
		case i < len(p) && p[i] == '*':
			star, next = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == k[j]):
			i, j = i+1, j+1
		case star >= 0:
			next++
			i, j = star+1, next
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
