package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Verb is what a request to the master port asks for.
type Verb string

const (
	VerbCreate Verb = "CREATE"
	VerbJoin   Verb = "JOIN"
	VerbList   Verb = "LIST"
	VerbDelete Verb = "DELETE"
	VerbHelp   Verb = "HELP"
	VerbQuit   Verb = "QUIT"
)

// Request is a line to the master port.
type Request struct {
	Verb   Verb
	Name   string // as it was typed, "" if absent; of LIST: may be a pattern
	Secret string // the password of CREATE, the key of DELETE; "" if absent
}

// verb is a row of the table from which requests are parsed and HELP is made.
type verb struct {
	verb     Verb
	args     string
	help     string
	expects  string // for the error about wrong arguments
	min, max int    // words after the verb
}

// verbs are the requests in the order of HELP.
var verbs = []verb{
	{VerbCreate, "name [password]", "make a room; answers its port and its delete key",
		"a name and perhaps a password", 1, 2},
	{VerbJoin, "name", "a room's port and how many are there; connect to join",
		"one name", 1, 1},
	{VerbList, "[name|pattern]", "the rooms: name port members topic; * and ? match any",
		"one name or pattern, or nothing", 0, 1},
	{VerbDelete, "name [key]", "end a room; its members are told",
		"a name and perhaps a key", 1, 2},
	{VerbHelp, "", "these lines", "nothing", 0, 0},
	{VerbQuit, "", "close this connection", "nothing", 0, 0},
}

// ParseRequest parses a cleaned line: words with white space between them, the first one a
// verb in any ASCII case. The error is an *Error of CodeBadRequest: the verb is unknown, or
// has a wrong number of arguments.
func ParseRequest(line string) (Request, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return Request{}, Errorf(CodeBadRequest, "the request is empty; HELP lists the requests")
	}
	for _, v := range verbs {
		if lowerASCII(words[0]) != lowerASCII(string(v.verb)) {
			continue
		}
		if n := len(words) - 1; n < v.min || n > v.max {
			return Request{}, Errorf(CodeBadRequest, "%s takes %s: %s", v.verb, v.expects, usage(string(v.verb), v.args))
		}
		words = append(words, "", "")
		return Request{v.verb, words[1], words[2]}, nil
	}
	return Request{}, Errorf(CodeBadRequest, "there is no request %s; try HELP, it lists the requests", truncateWord(words[0]))
}

// RequestHelp is the lines after the OK line of HELP.
func RequestHelp() []string {
	width := 0
	for _, v := range verbs {
		width = max(width, len(usage(string(v.verb), v.args)))
	}
	var lines []string
	for _, v := range verbs {
		lines = append(lines, fmt.Sprintf("%-*s  %s", width, usage(string(v.verb), v.args), v.help))
	}
	return lines
}

func usage(word, args string) string { return strings.TrimSpace(word + " " + args) }

// maxWord bounds a word that an error repeats, in characters.
const maxWord = 32

// truncateWord cuts a word to what an error may repeat.
func truncateWord(s string) string {
	if utf8.RuneCountInString(s) <= maxWord {
		return s
	}
	return string([]rune(s)[:maxWord-1]) + "…"
}

// lowerASCII folds A to Z and nothing else: the words of the protocol are ASCII, and have no
// long s and no Kelvin sign.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
