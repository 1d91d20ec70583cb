package admin

import (
	"slices"
	"strings"

	"roomd/admin/english"
	"roomd/netsvc"
)

// oneLine makes a text of several lines, as an error may be, one that is printable.
func oneLine(text string) string {
	return netsvc.Printable(strings.ReplaceAll(text, "\n", "; "))
}

// didYouMean is the nearest of the known words in the middle of a sentence, or is "".
func didYouMean(word string, known []string) string {
	return strings.TrimSuffix(english.DidYouMean(word, known), "?")
}

// mapSlice is what of returns for each of all.
func mapSlice[T, U any](all []T, of func(T) U) []U {
	made := make([]U, len(all))
	for i, v := range all {
		made[i] = of(v)
	}
	return made
}

// matchPrefix are the names that a word may mean: the one that it is, or all that it begins.
func matchPrefix(word string, names []string) []string {
	if slices.Contains(names, word) {
		return []string{word}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, word) })
}

// Summary lists the commands and what they do, for a page that is read without a
// server.
func Summary() [][2]string {
	return mapSlice(table, func(c command) [2]string { return [2]string{c.usage(), c.short} })
}
