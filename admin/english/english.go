package english

import "fmt"

// Plural returns a number with its noun, whose plural ends in s: "1 room", "2 rooms".
func Plural[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// PluralAre returns Plural with its verb: "1 line is", "2 lines are".
func PluralAre(n int, noun string) string {
	if n == 1 {
		return Plural(n, noun) + " is"
	}
	return Plural(n, noun) + " are"
}

// Nearest returns the known word that word may have been meant to be; empty: none is near.
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

// Distance returns the Levenshtein distance: the number of characters to change, add or
// remove.
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
