package wire

import (
	"strings"

	"golang.org/x/text/width"
)

// IsPattern reports whether a word of LIST is a pattern: no name can hold these.
func IsPattern(s string) bool { return strings.ContainsAny(s, "*?") }

// Match reports whether a folded name matches a pattern, in which * stands for
// any characters and ? for one. The pattern is folded first. It takes time in
// proportion to the product of the lengths at most.
func Match(pattern, key string) bool {
	p, k := []rune(strings.ToLower(width.Fold.String(pattern))), []rune(key)
	// Where to go on when a match fails: behind the last *, one later in k.
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
