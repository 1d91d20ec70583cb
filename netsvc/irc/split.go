package irc

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// SplitText splits a text into parts of at most limit bytes. Together they are the text: a space
// at which it is cut stays at the end of the earlier part, where nobody sees it, so that a
// program can put the parts together again. A text of one part is not copied. limit is at least
// utf8.UTFMax; less counts as that.
func SplitText(text string, limit int) []string {
	var parts []string
	for {
		part, rest := cutText(text, limit)
		parts = append(parts, part)
		if rest == "" {
			return parts
		}
		text = rest
	}
}

// maxCluster is how many bytes cutText goes back to keep a character and its marks together.
const maxCluster = 32

// cutText returns the first part of a text that SplitText splits, and the rest. The cut is behind
// a space in the last quarter of the part, else between characters; not before a combining mark or
// a joiner if there is another place close by.
func cutText(text string, limit int) (part, rest string) {
	if limit = max(limit, utf8.UTFMax); len(text) <= limit {
		return text, ""
	}
	if space := strings.LastIndexByte(text[limit-limit/4:limit], ' '); space >= 0 {
		n := limit - limit/4 + space + 1
		return text[:n], text[n:]
	}
	n := limit
	for n > limit-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	if n == limit-utf8.UTFMax { // it is not UTF-8
		n = limit
	}
	for at := n; at > max(n-maxCluster, 0); {
		if !joins(text[:at], text[at:]) {
			return text[:at], text[at:]
		}
		_, size := utf8.DecodeLastRuneInString(text[:at])
		at -= size
	}
	return text[:n], text[n:]
}

// joins reports whether the last character before a place and the first one after it are shown as
// one.
func joins(before, after string) bool {
	const joiner = '\u200d'
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return last == joiner || first == joiner || unicode.IsMark(first) || first >= 0x1f3fb && first <= 0x1f3ff // skin tones
}
