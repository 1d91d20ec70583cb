package wire

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

//go:generate go run confusables_gen.go confusables.txt
//go:embed confusables.txt
var confusablesText string

// confusables maps characters of names to the characters that they look like.
var confusables = parseConfusables(confusablesText)

func parseConfusables(text string) map[rune]string {
	of := make(map[rune]string, strings.Count(text, "\n"))
	for line := range strings.Lines(text) {
		if from, to, ok := strings.Cut(line, ";"); ok {
			of[[]rune(fromHex(from))[0]] = fromHex(to)
		}
	}
	return of
}

// fromHex is the text of code points in hexadecimal.
func fromHex(points string) string {
	var b strings.Builder
	for point := range strings.FieldsSeq(points) {
		n, _ := strconv.ParseUint(point, 16, 32)
		b.WriteRune(rune(n))
	}
	return b.String()
}

// Skeleton is what a name looks like: two names with the same skeleton can be taken for each
// other (UTS 39, section 4). Names are compared without case, and so are skeletons: they have
// the small form of each capital.
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

// prototype replaces each character by those that it looks like.
func prototype(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(width.Fold.String(s)) {
		if to, ok := confusables[r]; ok {
			b.WriteString(to)
		} else {
			b.WriteRune(r)
		}
	}
	return norm.NFD.String(b.String())
}

// IsConfusable reports whether two names are whole-script confusables (UTS 39, section 4):
// they look alike, and no script has both of them. A Latin Max and a Cyrillic one are; bob
// and b0b are both Latin, and are not.
func (n Name) IsConfusable(other Name) bool {
	return n.Skeleton() == other.Skeleton() && n.scripts().intersect(other.scripts()) == nil
}

// IsLatin reports whether a name has Latin letters or none: no two such names are confusable.
func (n Name) IsLatin() bool {
	for _, r := range n.Key {
		if of := scriptsOf(r); !slices.Equal(of, allScripts) {
			return slices.Equal(of, latin) // a name has one script
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

const (
	operatorNick = "operator" // begins the notices of the operator
	guestNick    = "guest-"   // begins the nicks that the server gives
)

// ParseNick is ParseName for a nick that a member chooses. It refuses numbers and addresses,
// which an operator's command would take for a member's number or address, and names that
// look like the operator's or like those that the server gives, guest-7.
func ParseNick(s string) (Name, error) {
	n, err := ParseName(s)
	if err != nil {
		return n, err
	}
	switch look := strings.TrimLeft(n.Skeleton(), "_"); {
	case IsNumeric(n.Key):
		return Name{}, Errorf(CodeBadName, "%s cannot be a nick: it looks like a number or an address", n.Shown)
	case look == operatorNick:
		return Name{}, Errorf(CodeBadName, "%s cannot be a nick: the operator is called so", n.Shown)
	case n.looksLikeGuest(look):
		return Name{}, Errorf(CodeBadName, "%s cannot be a nick: only the server gives names like guest-7", n.Shown)
	}
	return n, nil
}

// looksLikeGuest reports whether a name with this skeleton looks like one that the server
// gives: also with another separator or none, and with zeros before the number. The skeleton is
// without a _ in front.
func (n Name) looksLikeGuest(look string) bool {
	rest, ok := strings.CutPrefix(look, "guest")
	number := strings.Trim(rest, "-_.")
	return ok && number != "" && strings.Trim(number, "lo23456789") == "" && (rest[0] != number[0] || strings.ContainsAny(n.Key, "0123456789"))
}

// IsGuest reports whether a name is one that the server gives.
func (n Name) IsGuest() bool {
	number, ok := strings.CutPrefix(n.Key, guestNick)
	return ok && isDigits(number)
}

// IsNumeric reports whether a text is numbers with dots between them, which inet_aton(3) takes
// for an address: 127.1, 0x7f.1 or 3. Digits of any script count.
func IsNumeric(text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		if _, err := strconv.ParseUint(part, 0, 64); err != nil && strings.ContainsFunc(part, func(r rune) bool { return !unicode.IsDigit(r) }) {
			return false
		}
	}
	return true
}
