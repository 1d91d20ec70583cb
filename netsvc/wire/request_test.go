package wire_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

func TestParseRequest(t *testing.T) {
	for line, want := range map[string]wire.Request{
		"CREATE lobby":              {Verb: wire.VerbCreate, Name: "lobby"},
		"create lobby hunter2":      {Verb: wire.VerbCreate, Name: "lobby", Secret: "hunter2"},
		" \t Join \u3000 lobby \t ": {Verb: wire.VerbJoin, Name: "lobby"},
		"LIST":                      {Verb: wire.VerbList},
		"LIST lob*":                 {Verb: wire.VerbList, Name: "lob*"},
		"DELETE lobby":              {Verb: wire.VerbDelete, Name: "lobby"},
		"DELETE lobby key":          {Verb: wire.VerbDelete, Name: "lobby", Secret: "key"},
		"help":                      {Verb: wire.VerbHelp},
		"qUIT":                      {Verb: wire.VerbQuit},
	} {
		if got, err := wire.ParseRequest(line); err != nil || got != want {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	for line, want := range map[string]string{
		"":                            "the request is empty; HELP lists the requests",
		"hello":                       "there is no request hello; try HELP, it lists the requests",
		"LIſT":                        "there is no request LIſT; try HELP, it lists the requests",
		strings.Repeat("é", 40):       "there is no request " + strings.Repeat("é", 31) + "…; try HELP, it lists the requests",
		"CREATE":                      "CREATE takes a name and perhaps a password: CREATE name [password]",
		"create a b c":                "CREATE takes a name and perhaps a password: CREATE name [password]",
		"JOIN":                        "JOIN takes one name: JOIN name",
		"JOIN a b":                    "JOIN takes one name: JOIN name",
		"LIST a b":                    "LIST takes one name or pattern, or nothing: LIST [name|pattern]",
		"DELETE":                      "DELETE takes a name and perhaps a key: DELETE name [key]",
		"HELP me":                     "HELP takes nothing: HELP",
		"QUIT now":                    "QUIT takes nothing: QUIT",
		"CREATE " + many("word", 999): "CREATE takes a name and perhaps a password: CREATE name [password]",
	} {
		got, err := wire.ParseRequest(line)
		checkError(t, err, wire.CodeBadRequest)
		if err == nil || err.Error() != want || got != (wire.Request{}) {
			t.Errorf("%.60q: %+v, %v; want %s", line, got, err, want)
		}
	}
}

func many(word string, n int) string { return strings.Repeat(word+" ", n) }

func TestRequestHelp(t *testing.T) {
	lines := wire.RequestHelp()
	want := "CREATE name [password]  make a room; answers its port and its delete key"
	if len(lines) != 6 || lines[0] != want {
		t.Errorf("%q", lines)
	}
	checkAligned(t, lines)
	for _, line := range lines {
		if _, err := wire.ParseRequest(strings.Fields(line)[0] + " a"); err != nil && strings.Contains(err.Error(), "no request") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// checkAligned checks that the descriptions of all commands begin in one column.
func checkAligned(t *testing.T, lines []string) {
	t.Helper()
	column := -1
	for _, line := range lines {
		if i := strings.LastIndex(line, "  ") + 2; column < 0 {
			column = i
		} else if i != column {
			t.Errorf("%q is not aligned to column %d", line, column)
		}
		if utf8.RuneCountInString(line) > 78 || wire.CleanString(line) != line {
			t.Errorf("%q is too long or not clean", line)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"CREATE a b", "list lob*", "", "HELP \t", "\u212aELP", "DELETE a b c"} {
		f.Add(s)
	}
	verbs := []wire.Verb{wire.VerbCreate, wire.VerbJoin, wire.VerbList, wire.VerbDelete, wire.VerbHelp, wire.VerbQuit}
	f.Fuzz(func(t *testing.T, line string) {
		line = wire.CleanString(line)
		req, err := wire.ParseRequest(line)
		if err != nil {
			checkError(t, err, wire.CodeBadRequest)
			return
		}
		words := strings.Fields(line)
		printed := strings.Fields(string(req.Verb) + " " + req.Name + " " + req.Secret)
		if !slices.Contains(verbs, req.Verb) || !slices.Equal(words[1:], printed[1:]) {
			t.Errorf("%q: %+v", line, req)
		}
	})
}
