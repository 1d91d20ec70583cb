package wire

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// MaxPassword is the greatest length of a password in characters.
const MaxPassword = 128

// ParsePassword returns the form in which a room's password is compared (PRECIS OpaqueString,
// RFC 8265, section 4.2): a password is the same from any keyboard. s is cleaned text. A text
// that Clean has changed is refused, as other texts would be the same password. The error is
// an *Error of CodeBadRequest and does not repeat the password.
func ParsePassword(s string) (string, error) {
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		return "", Errorf(CodeBadRequest, "a password has at least one character")
	case n > MaxPassword:
		return "", Errorf(CodeBadRequest, "a password has at most %d characters, this one has %d", MaxPassword, n)
	}
	opaque, err := precis.OpaqueString.String(s)
	if err != nil || strings.ContainsRune(s, utf8.RuneError) {
		return "", Errorf(CodeBadRequest, "the password has a character that no keyboard gives, or that is not UTF-8")
	}
	return opaque, nil
}
