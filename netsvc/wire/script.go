package wire

import (
	"slices"
	"unicode"
)

// scriptSet is the scripts that a text may have, in the sense of UTS 39 (section 5.1):
// Japanese, Korean, and Han with Bopomofo are scripts beside those that they consist of. nil
// is none; allScripts stands for any.
type scriptSet []string

var allScripts = scriptSet{"any"}

func (a scriptSet) intersect(b scriptSet) scriptSet {
	switch {
	case slices.Equal(a, allScripts):
		return b
	case slices.Equal(b, allScripts):
		return a
	}
	var both scriptSet
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}

var (
	latin    = scriptSet{"Latin"}
	han      = scriptSet{"Han", "Japanese", "Korean", "Hanb"}
	japanese = scriptSet{"Japanese"}
)

// scriptsOf is the scripts that a character belongs to. Common and Inherited characters belong
// to all, but for those in names that are Japanese by their Script_Extensions (UAX 24).
func scriptsOf(r rune) scriptSet {
	switch {
	case r < 0x80:
		if unicode.IsLetter(r) {
			return latin
		}
		return allScripts
	case r == 0x3099, r == 0x309a, r == 0x30fc, r == 0x3006, r == 0x303c:
		// The voicing marks, the long vowel mark, shime and masu. A key has these for those of
		// half width.
		return japanese
	case unicode.In(r, unicode.Common, unicode.Inherited):
		return allScripts
	case unicode.Is(unicode.Latin, r):
		return latin
	case unicode.Is(unicode.Han, r):
		return han
	case unicode.Is(unicode.Hiragana, r):
		return scriptSet{"Hiragana", "Japanese"}
	case unicode.Is(unicode.Katakana, r):
		return scriptSet{"Katakana", "Japanese"}
	case unicode.Is(unicode.Hangul, r):
		return scriptSet{"Hangul", "Korean"}
	case unicode.Is(unicode.Bopomofo, r):
		return scriptSet{"Bopomofo", "Hanb"}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return scriptSet{name}
		}
	}
	return nil
}
