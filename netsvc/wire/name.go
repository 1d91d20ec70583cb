package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// MaxName is the length of a name in characters.
const MaxName = 32

// Name is the name of a room or a member: as it is shown, and as names are
// compared (PRECIS UsernameCaseMapped, RFC 8265).
type Name struct{ Shown, Key string }

// ParseName checks a name. The error is an *Error that says what is wrong with
// it, and names it only in a form that is safe to show.
func ParseName(s string) (Name, error) {
	if plain(s) {
		return Name{s, strings.ToLower(s)}, nil
	}
	switch n := utf8.RuneCountInString(s); {
	case s == "":
		return Name{}, Errorf(CodeBadName, "a name has at least one character")
	case n > MaxName:
		return Name{}, Errorf(CodeBadName, "a name has at most %d characters, this one has %d", MaxName, n)
	case !utf8.ValidString(s):
		return Name{}, Errorf(CodeBadName, "the name is not UTF-8")
	}
	shown := norm.NFC.String(s)
	if err := wellFormed(shown); err != "" {
		return Name{}, Errorf(CodeBadName, "%s cannot be a name: %s", CleanString(s), err)
	}
	key, err := precis.UsernameCaseMapped.String(shown)
	if err != nil || utf8.RuneCountInString(key) > MaxName || wellFormed(key) != "" {
		return Name{}, Errorf(CodeBadName, "%s cannot be a name", CleanString(s))
	}
	if again, err := precis.UsernameCaseMapped.String(key); err != nil || again != key {
		return Name{}, Errorf(CodeBadName, "%s cannot be a name: it has no stable form for comparison", CleanString(s))
	}
	return Name{shown, key}, nil
}

// plain reports whether s is a well-formed name of ASCII only.
func plain(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		case i > 0 && (b == '-' || b == '_' || b == '.'):
		default:
			return false
		}
	}
	return true
}

// wellFormed says what is wrong with a name; empty: nothing.
func wellFormed(s string) string {
	scripts := allScripts
	digits := rune(-1) // the zero of the system that its digits are of
	marks := 0         // combining marks in a row
	for i, r := range s {
		switch {
		case unicode.IsLetter(r):
			marks = 0
			if scripts = scripts.intersect(scriptsOf(r)); scripts == nil {
				return "its letters are of more than one script"
			}
		case unicode.Is(unicode.Nd, r):
			marks = 0
			zero := zeroOf(r)
			if digits >= 0 && zero != digits {
				return "its digits are of more than one kind"
			}
			digits = zero
			if scripts = scripts.intersect(scriptsOf(r)); scripts == nil {
				return "its digits are of another script than its letters"
			}
		case i == 0:
			return "it must start with a letter or a digit"
		case r == '-' || r == '_' || r == '.':
			marks = 0
		case unicode.IsMark(r):
			if marks++; marks > 2 {
				return "it has more than two combining marks in a row"
			}
			if before, _ := utf8.DecodeLastRuneInString(s[:i]); !unicode.IsLetter(before) && !unicode.IsMark(before) {
				return "a combining mark must follow a letter"
			}
			if scripts = scripts.intersect(scriptsOf(r)); scripts == nil {
				return "its marks are of another script than its letters"
			}
		case r == '*' || r == '?':
			return "names have letters, digits, - _ and . only; * and ? make a pattern"
		default:
			return fmt.Sprintf("names have letters, digits, - _ and . only, not %U", r)
		}
	}
	return ""
}

// zeroOf is the zero of the system that a decimal digit is of. Systems may
// stand side by side, ten digits each (Unicode Standard, section 4.6).
func zeroOf(r rune) rune {
	first := r
	for unicode.Is(unicode.Nd, first-1) {
		first--
	}
	return r - (r-first)%10
}
