package admin

import (
	"strings"

	"roomd/admin/english"
	"roomd/netsvc"
)

// sentence makes a text of several lines, as an error may be, one that is printable.
func sentence(text string) string {
	return netsvc.Printable(strings.ReplaceAll(text, "\n", "; "))
}

// didYouMean is english.Nearest as the end of a sentence.
func didYouMean(word string, known []string) string {
	if n := english.Nearest(word, known); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// Summary lists the commands and what they do, for a page that is read without a
// server.
func Summary() [][2]string {
	all := make([][2]string, len(table))
	for i := range table {
		all[i] = [2]string{table[i].usage(), table[i].short}
	}
	return all
}
