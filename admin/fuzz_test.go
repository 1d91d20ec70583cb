package admin

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever line comes, it is a command with as many arguments as that takes, or
// refused in words; and the words of a command line come through it whole.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"rooms --json", `say lobby "two words"`, `kick #1 --say=hi -- -x`, `a\ "b\"c" 'd`, "\x00\xff --n -1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		cmd, args, _, err := parse(line)
		var no *verdict
		switch {
		case err != nil && !errors.As(err, &no):
			t.Errorf("%q: %v", line, err)
		case err == nil:
			if !cmd.fits(args) {
				t.Errorf("%q: %s with %q", line, cmd.name, args)
			}
		}
		words := strings.Split(strings.ToValidUTF8(line, "?"), ",")
		if again, err := split(Join(words)); err != nil || !slices.Equal(again, words) {
			t.Errorf("%q as a line is %q, and that is %q, %v", words, Join(words), again, err)
		}
	})
}

// Whatever a command yields, each line of it begins with a space and is one
// line, and the last line of the answer is the server's own.
func FuzzAnswer(f *testing.F) {
	f.Add("ann", "hello", true)
	f.Add("a\nOK", "\x1b[2J\rERR x", false)
	f.Add("\u2028OK\u202e", "\xff\u0085", true)
	f.Fuzz(func(t *testing.T, a, b string, asJSON bool) {
		var buf bytes.Buffer
		w := bufio.NewWriter(&buf)
		o := &output{w: w, json: asJSON}
		row := struct {
			Nick string   `json:"nick"`
			Tags []string `json:"tags"`
		}{a, []string{b}}
		if err := errors.Join(o.text("%s %s", a, b), o.value(row), o.list([]any{row}[:0]), o.end()); err != nil {
			t.Fatal(err)
		}
		writeVerdict(w, refuse("code", "%s", a))
		writeVerdict(w, &verdict{"ASK", "token", b})
		w.Flush()
		lines := strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")
		n := len(lines)
		for _, l := range lines[:n-2] {
			if !strings.HasPrefix(l, " ") {
				t.Errorf("%q is in the answer", l)
			}
		}
		if !strings.HasPrefix(lines[n-2], "ERR code ") || !strings.HasPrefix(lines[n-1], "ASK token ") {
			t.Errorf("the answer ends with %q", lines[n-2:])
		}
		if text := buf.String(); !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\r\u0085\u202e\u2028\u2029") {
			t.Errorf("%q reaches a terminal", text)
		}
	})
}
