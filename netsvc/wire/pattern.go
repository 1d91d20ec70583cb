package wire

import "strings"

// IsPattern reports whether a word of LIST is a pattern: it holds * or ?, which
// no name can.
func IsPattern(s string) bool { return strings.ContainsAny(s, "*?") }

// Pattern is what names are compared with: * stands for any characters, also none, and
// ? for one. The rest is folded the way names are, but need not be made of what names
// are made of.
type Pattern struct {
	runes          []rune
	matchesNothing bool // no name matches
}

// maxPattern is how many characters a pattern has beside its stars. A name is
// shorter, however it is composed.
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
	// Where to go on when a match fails: behind the last *, one later in k. No
	// earlier * needs another try, as the last one can take what they could.
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
