package admin

import (
	"slices"
	"strings"

	"roomd/admin/english"
	"roomd/netsvc"
)

// sentence makes a text of several lines, as an error may be, one that is printable.
func sentence(text string) string {
	return netsvc.Printable(strings.ReplaceAll(text, "\n", "; "))
}

// suggestion is the nearest of the known words in the middle of a sentence, or is "".
func suggestion(word string, known []string) string {
	return strings.TrimSuffix(english.DidYouMean(word, known), "?")
}

// each is what of returns for each of all.
func each[T, U any](all []T, of func(T) U) []U {
	made := make([]U, len(all))
	for i, v := range all {
		made[i] = of(v)
	}
	return made
}

// meant are the names that a word may mean: the one that it is, or all that it begins.
func meant(word string, names []string) []string {
	if slices.Contains(names, word) {
		return []string{word}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, word) })
}

// Summary lists the commands and what they do, for a page that is read without a
// server.
func Summary() [][2]string {
	return each(table, func(c command) [2]string { return [2]string{c.usage(), c.short} })
}
