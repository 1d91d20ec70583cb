package admin

import (
	"fmt"
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

// Summary lists the commands with their usage, for a page that is read without a server.
// An entry has one or two lines.
func Summary() []string { return mapSlice(table, func(c command) string { return c.summary() }) }

// summary is the usage and what the command does, which begins in the same column for all
// commands. On a terminal of 80 columns four more fit.
func (c *command) summary() string {
	const column = 24
	usage := c.usage()
	if len(usage) > column-2 {
		return usage + "\n" + strings.Repeat(" ", column) + c.short
	}
	return fmt.Sprintf("%-*s%s", column, usage, c.short)
}
