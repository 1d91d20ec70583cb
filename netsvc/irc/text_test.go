package irc

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStripFormatting(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain":                         "plain",
		"\x02b\x02 \x1di\x1d \x1fu\x0f": "b i u",
		"\x11m\x16r\x1es":               "mrs",
		"\x03red":                       "red",
		"\x034red\x03":                  "red",
		"\x0304,12red":                  "red",
		"\x03,4x":                       ",4x",
		"\x034,x":                       ",x",
		"\x03123":                       "3",
		"\x0312,345":                    "5",
		"\x04ff0000red":                 "red",
		"\x04FF0000,00ff00red":          "red",
		"\x04ff00red":                   "ff00red",
		"\x04ff0000,00ff0":              ",00ff0",
		"\x03\x02" + "1":                "1",
		"\x01ACTION \x02x\x02\x01":      "\x01ACTION x\x01",
		"5\x0313,8,6\x03,7,8":           "5,6,7,8",
	} {
		if got := StripFormatting(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzStripFormatting(f *testing.F) {
	f.Add("a\x0304,12b\x03\x04ff00ffc\x02")
	f.Fuzz(func(t *testing.T, s string) {
		got := StripFormatting(s)
		if again := StripFormatting(got); again != got || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Fatalf("%q: %q, then %q", s, got, again)
		}
		for i := range len(got) {
			if isFormatting(got[i]) {
				t.Fatalf("%q: %q", s, got)
			}
		}
	})
}

func TestParseCTCP(t *testing.T) {
	for text, want := range map[string][3]string{
		"":                      {},
		"hello":                 {},
		"x\x01ACTION y\x01":     {},
		"\x01":                  {"", "", "ok"},
		"\x01ACTION waves\x01":  {"ACTION", "waves", "ok"},
		"\x01action  waves ":    {"ACTION", " waves ", "ok"},
		"\x01VERSION\x01":       {"VERSION", "", "ok"},
		"\x01PING 1 2\x01 more": {"PING", "1 2", "ok"},
	} {
		command, args, ok := ParseCTCP(text)
		if command != want[0] || args != want[1] || ok != (want[2] != "") {
			t.Errorf("%q: %q, %q, %v", text, command, args, ok)
		}
	}
}

func TestSplitText(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string // with | between the parts
	}{
		{"", 10, ""},
		{"0123456789", 10, "0123456789"},
		{"0123456789a", 10, "0123456789|a"},
		{"0123456 89abc", 10, "0123456 89|abc"},
		{"01234567 9abc", 10, "01234567 |9abc"},
		{"012345678 abc", 10, "012345678 |abc"},
		{"éééééé", 5, "éé|éé|éé"},
		{"abcde\u0301fg", 5, "abcd|e\u0301fg"},
		{"ab👩\u200d👧cd", 9, "ab|👩\u200d|👧cd"},
		{"aaaa", 0, "aaaa"},
		{"\x80\x80\x80\x80\x80\x80", 4, "\x80\x80\x80\x80|\x80\x80"},
		{strings.Repeat("\u0301", 30), 40, strings.Repeat("\u0301", 20) + "|" + strings.Repeat("\u0301", 10)},
	} {
		if got := strings.Join(SplitText(c.text, c.limit), "|"); got != c.want {
			t.Errorf("%q at %d: %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func FuzzSplitText(f *testing.F) {
	f.Add("some words, and a very long one: pneumonoultramicroscopic", 20)
	f.Add("ééé\u0301👩\u200d👧", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < utf8.UTFMax || limit > 1000 {
			limit = 100
		}
		parts := SplitText(s, limit)
		if strings.Join(parts, "") != s {
			t.Fatalf("%q became %q", s, parts)
		}
		for _, p := range parts {
			if len(p) > limit || p == "" && s != "" || utf8.ValidString(s) && !utf8.ValidString(p) {
				t.Fatalf("%q became %q", s, parts)
			}
		}
	})
}
