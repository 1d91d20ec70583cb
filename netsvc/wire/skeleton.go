package wire

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

//go:generate go run confusables_gen.go confusables.txt

// Skeleton is what a name looks like: two whose skeletons are the same can be
// taken for each other (UTS 39, section 4). As names are compared without case, so
// are looks: of each character that looks like a capital it is the small one.
func (n Name) Skeleton() string {
	var few [2 * MaxName]byte // m is two
	b := few[:0]
	for i := range len(n.Shown) {
		switch c := n.Shown[i]; {
		case c >= utf8.RuneSelf:
			return prototype(Fold(prototype(n.Shown)))
		case c == 'm', c == 'M':
			b = append(b, 'r', 'n')
		case c == '0':
			b = append(b, 'o')
		case c == '1', c == 'I':
			b = append(b, 'l')
		case c >= 'A' && c <= 'Z':
			b = append(b, c-'A'+'a')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// prototype puts what each character looks like in its place.
func prototype(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(width.Fold.String(s)) {
		if i, found := slices.BinarySearch(confusableFrom[:], r); found {
			b.WriteString(confusableTo[confusableAt[i]:confusableAt[i+1]])
		} else {
			b.WriteRune(r)
		}
	}
	return norm.NFD.String(b.String())
}

// IsConfusable reports whether two names are whole-script confusables (UTS 39,
// section 4): they look alike, and there is no script that both can be of. A Latin
// Max and a Cyrillic one are; bob and b0b are both Latin, and are not.
func (n Name) IsConfusable(other Name) bool {
	return n.Skeleton() == other.Skeleton() && n.scripts().intersect(other.scripts()) == nil
}

// IsLatin reports whether a name is of Latin letters, or has no letters: no two of
// these imitate each other.
func (n Name) IsLatin() bool {
	for _, r := range n.Key {
		if of := scriptsOf(r); !slices.Equal(of, allScripts) {
			return slices.Equal(of, latin) // as are the others: a name is of one script
		}
	}
	return true
}

func (n Name) scripts() scriptSet {
	scripts := allScripts
	for _, r := range n.Key {
		scripts = scripts.intersect(scriptsOf(r))
	}
	if slices.Equal(scripts, allScripts) {
		return latin
	}
	return scripts
}

// operatorNick is what notices of the operator begin with, and guestNick the nicks
// that the server gives.
const (
	operatorNick = "operator"
	guestNick    = "guest-"
)

// ParseNick checks a name that a member takes for itself. It is none that an
// operator's command would take for a number or an address, and is or looks like
// neither the operator's nor one that the server gives, guest-7.
func ParseNick(s string) (Name, error) {
	n, err := ParseName(s)
	if err != nil {
		return n, err
	}
	switch look := n.Skeleton(); {
	case IsNumeric(n.Key):
		return Name{}, Errorf(CodeBadName, "%s cannot be a nick: it looks like a number or an address", n.Shown)
	case look == operatorNick:
		return Name{}, Errorf(CodeBadName, "%s cannot be a nick: the operator is called so", n.Shown)
	case n.looksLikeGuest(look):
		return Name{}, Errorf(CodeBadName, "%s cannot be a nick: only the server gives names like guest-7", n.Shown)
	}
	return n, nil
}

// looksLikeGuest reports whether a name with that skeleton reads as one that the server
// gives: with another separator, or none before a digit, and zeros before the number.
func (n Name) looksLikeGuest(look string) bool {
	rest, ok := strings.CutPrefix(look, "guest")
	number := strings.Trim(rest, "-_.")
	return ok && number != "" && strings.Trim(number, "lo23456789") == "" && (rest[0] != number[0] || strings.ContainsAny(n.Key, "0123456789"))
}

// IsGuest reports whether a name is one of those that members get.
func (n Name) IsGuest() bool {
	number, ok := strings.CutPrefix(n.Key, guestNick)
	return ok && decimal(number)
}

// IsNumeric reports whether text is numbers with dots between them, as inet_aton(3)
// takes them for an address: 127.1, 0x7f.1 or 3. Digits of any script count.
func IsNumeric(text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		if _, err := strconv.ParseUint(part, 0, 64); err != nil && strings.ContainsFunc(part, func(r rune) bool { return !unicode.IsDigit(r) }) {
			return false
		}
	}
	return true
}
