package wire

import "strings"

// IsPattern reports whether a word of LIST is a pattern: it holds * or ?, which
// no name can.
func IsPattern(s string) bool { return strings.ContainsAny(s, "*?") }

// Match reports whether the key of a name matches a pattern, in which * stands
// for any characters, also none, and ? for one. The pattern is folded the way
// names are, but need not be made of what names are made of. The time is bounded
// by the length of the pattern plus the square of the key's.
func Match(pattern, key string) bool {
	p, k := []rune(Fold(pattern)), []rune(key)
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
