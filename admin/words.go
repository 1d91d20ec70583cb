package admin

import (
	"fmt"
	"slices"
	"strings"

	"roomd/admin/english"
	"roomd/netsvc"
)

// oneLine joins the lines of a text, as errors may have several, and makes them printable.
func oneLine(text string) string {
	return netsvc.Printable(strings.ReplaceAll(text, "\n", "; "))
}

// didYouMean suggests the nearest of the known words for the middle of a sentence, or is "".
func didYouMean(word string, known []string) string {
	return strings.TrimSuffix(english.DidYouMean(word, known), "?")
}

// mapSlice returns the results of a function for each element.
func mapSlice[T, U any](all []T, of func(T) U) []U {
	made := make([]U, len(all))
	for i, v := range all {
		made[i] = of(v)
	}
	return made
}

// matchPrefix returns the names that a word may mean: the name itself, or all that it begins.
func matchPrefix(word string, names []string) []string {
	if slices.Contains(names, word) {
		return []string{word}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, word) })
}

// Summary returns each command with its usage, in one or two lines, for the help without a
// server.
func Summary() []string { return mapSlice(table, func(c command) string { return c.summary() }) }

// summary returns the usage and the short description, which begins in the same column for all
// commands. With the indentation of the help it fits 80 columns.
func (c *command) summary() string {
	const column = 24
	usage := c.usage()
	if len(usage) > column-2 {
		return usage + "\n" + strings.Repeat(" ", column) + c.short
	}
	return fmt.Sprintf("%-*s%s", column, usage, c.short)
}
