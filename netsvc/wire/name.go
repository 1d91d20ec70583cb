package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// MaxName is the greatest length of a name in characters (code points), as it is shown and as
// it is compared.
const MaxName = 32

// Name is the name of a room or a member. Shown is the given spelling; names are compared by
// their Key (PRECIS UsernameCaseMapped, RFC 8265). Both are well formed, and the Key of a Key
// is the Key.
type Name struct{ Shown, Key string }

// ParseName checks a name: 1 to MaxName characters, letters of one script (UTS 39, section
// 5.1), digits of one kind, "-", "_" and ".", a letter, a digit or "_" first, a letter or a digit
// somewhere, combining marks only after a letter and at most two in a row. The error is an *Error
// of CodeBadName that says what is wrong with the name, and repeats it cleaned.
func ParseName(s string) (Name, error) {
	if isPlainASCII(s) {
		return Name{s, lowerASCII(s)}, nil
	}
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		return Name{}, Errorf(CodeBadName, "a name has at least one character")
	case n > MaxName:
		return Name{}, Errorf(CodeBadName, "a name has at most %d characters, this one has %d", MaxName, n)
	}
	key, err := fold(s)
	if err != nil {
		return Name{}, Errorf(CodeBadName, "%q cannot be a name: %v", CleanString(s), err)
	}
	return Name{s, key}, nil
}

// caseMapped is UsernameCaseMapped without the Bidi Rule. That rule is for names with
// characters written from right to left (RFC 8265, section 3.3.2), but package precis applies
// it to all names: it refuses 2é and a full-width 7.
var caseMapped = precis.NewIdentifier(precis.FoldWidth, precis.LowerCase(), precis.Norm(norm.NFC))

// fold checks a name and returns its key. The error is the reason alone.
func fold(s string) (string, error) {
	if err := wellFormed(s); err != nil {
		return "", err
	}
	key, err := caseMapped.String(s)
	switch {
	case err != nil:
		return "", errors.New("it has a character that RFC 8265 keeps out of names")
	case bidirule.DirectionString(key) == bidi.RightToLeft && !bidirule.ValidString(key):
		return "", fmt.Errorf("%s (RFC 5893)", bidiError(key))
	case utf8.RuneCountInString(key) > MaxName:
		return "", fmt.Errorf("in lower case it has more than %d characters", MaxName)
	}
	// The mapping may result in characters that were not checked, and in theory in some that
	// map further.
	if err := wellFormed(key); err != nil {
		return "", err
	}
	if again, err := caseMapped.String(key); err != nil || again != key {
		return "", errors.New("it has no stable form for comparison")
	}
	return key, nil
}

// bidiError says why a key with letters of one script and digits of one kind breaks the Bidi
// Rule.
func bidiError(key string) string {
	first, _ := utf8.DecodeRuneInString(key)
	switch last := key[len(key)-1]; {
	case !unicode.IsLetter(first):
		return "a name written from right to left must start with a letter"
	case last == '-' || last == '_' || last == '.':
		return "a name written from right to left must end with a letter or a digit"
	}
	return "it mixes directions of writing"
}

// Fold applies the mappings of UsernameCaseMapped (RFC 8265, section 3.3.1) without its checks:
// width, case, NFC. Fold of a name is its key; fold of a pattern, or of the beginning of a
// name, can be compared with keys.
func Fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			lower := cases.Lower(language.Und, cases.HandleFinalSigma(false))
			return norm.NFC.String(lower.String(width.Fold.String(s)))
		}
	}
	return strings.ToLower(s) // of ASCII alone
}

// isPlainASCII reports whether s is a well-formed name of ASCII characters.
func isPlainASCII(s string) bool {
	if len(s) == 0 || len(s) > MaxName {
		return false
	}
	seen := false // a letter or a digit
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
			seen = true
		case b == '_', i > 0 && (b == '-' || b == '.'):
		default:
			return false
		}
	}
	return seen
}

// wellFormed returns an error about the first wrong character of a name.
func wellFormed(s string) error {
	scripts := allScripts
	digits := rune(-1) // the zero of its digits; -1: none so far
	marks := -1        // combining marks in a row; -1: not after a letter
	seen := false      // a letter or a digit
	for i, r := range s {
		letter, digit, mark := unicode.IsLetter(r), unicode.Is(unicode.Nd, r), unicode.IsMark(r)
		seen = seen || letter || digit
		switch {
		case unicode.Is(invisibleAlone, r):
			return fmt.Errorf("it has %U, which shows nothing by itself", r)
		case letter:
			marks = 0
		case digit:
			marks = -1
			zero := zeroOf(r)
			if digits >= 0 && zero != digits {
				return errors.New("its digits are of more than one kind")
			}
			digits = zero
		case i == 0 && r != '_':
			return errors.New("it must start with a letter, a digit or _")
		case r == '-' || r == '_' || r == '.':
			marks = -1
		case mark && marks < 0:
			return errors.New("a combining mark must follow a letter")
		case mark && marks == 2:
			return errors.New("it has more than two combining marks in a row")
		case mark:
			marks++
		case r == '*' || r == '?':
			return errors.New("names have letters, digits, - _ and . only; * and ? make a pattern")
		default:
			return fmt.Errorf("names have letters, digits, - _ and . only, not %q", r)
		}
		if scripts = scripts.intersect(scriptsOf(r)); scripts == nil {
			return errors.New("its letters, marks and digits are of more than one script")
		}
	}
	if !seen {
		return errors.New("it must have a letter or a digit")
	}
	return nil
}

// zeroOf is the zero of the decimal system that a digit belongs to. Systems may stand side by
// side, ten digits each (Unicode Standard, section 4.6).
func zeroOf(r rune) rune {
	first := r
	for unicode.Is(unicode.Nd, first-1) {
		first--
	}
	return r - (r-first)%10
}
