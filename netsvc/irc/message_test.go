package irc

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseMessage(t *testing.T) {
	for line, want := range map[string]Message{
		"PING":                       {Command: "PING"},
		"nick ann":                   {Command: "NICK", Params: []string{"ann"}},
		"  NICK   ann  ":             {Command: "NICK", Params: []string{"ann"}},
		":ann!u@h PRIVMSG #a :a  b ": {Source: "ann!u@h", Command: "PRIVMSG", Params: []string{"#a", "a  b "}},
		"PRIVMSG #a ::)":             {Command: "PRIVMSG", Params: []string{"#a", ":)"}},
		"PRIVMSG #a :":               {Command: "PRIVMSG", Params: []string{"#a", ""}},
		"pıng ß\xff":                 {Command: "PıNG", Params: []string{"ß\xff"}},
		"JOIN :":                     {Command: "JOIN", Params: []string{""}},
		"@ PING x":                   {Tags: []Tag{}, Command: "PING", Params: []string{"x"}},
		`@label=a\:\s\\\r\n\b\;+x/y-z;b= PING`: {
			Tags: []Tag{{"label", "a; \\\r\nb"}, {"+x/y-z", ""}, {"b", ""}}, Command: "PING",
		},
		"  @a=1;a=2;=3;; :s PING": {Tags: []Tag{{"a", "1"}, {"a", "2"}}, Source: "s", Command: "PING"},
		"@a=\xff;b=c PING":        {Tags: []Tag{{"a", ""}, {"b", "c"}}, Command: "PING"},
		"C 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 :17": {
			Command: "C", Params: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15 16 :17"},
		},
		"C 1 2 3 4 5 6 7 8 9 10 11 12 13 14 :15 16": {
			Command: "C", Params: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15 16"},
		},
	} {
		if got, err := ParseMessage([]byte(line)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v, want %#v", line, got, err, want)
		}
	}
	for line, want := range map[string]Numeric{
		"": 0, "   ": 0, "@a=b": 400, "@a=b  ": 400, ":s": 400, "@a :s ": 400, ": :": 400, "@a @b c": 400, "PING\x00": 400, "PING\rx": 400, "a\nb": 400,
		"C " + strings.Repeat("x", 508):                            0,
		"C " + strings.Repeat("x", 509):                            417,
		strings.Repeat(" ", 507) + "PING":                          417,
		"@" + strings.Repeat("x", 4094) + " C":                     0,
		"@" + strings.Repeat("x", 4095) + " C":                     417,
		"@" + strings.Repeat("x", 4094) + strings.Repeat("y", 600): 417,
		strings.Repeat(" ", 9000):                                  417,
	} {
		_, err := ParseMessage([]byte(line))
		var got *ParseError
		if errors.As(err, &got); got != nil && got.Numeric != want || got == nil && (want != 0 || strings.TrimSpace(line) == "") {
			t.Errorf("%.40q of %d bytes: %v, want %v", line, len(line), err, want)
		}
	}
}

func TestMessageTag(t *testing.T) {
	m, err := ParseMessage([]byte("@a=1;b;a=2 PRIVMSG x \xff"))
	if err != nil || m.IsUTF8() {
		t.Fatalf("%v, %v", m, err)
	}
	for key, want := range map[string]string{"a": "2", "b": ""} {
		if got, ok := m.Tag(key); got != want || !ok {
			t.Errorf("%s: %q, %v", key, got, ok)
		}
	}
	if _, ok := m.Tag("A"); ok || m.Param(0) != "x" || m.Param(2) != "" {
		t.Errorf("%#v", m)
	}
}

func TestAppendLine(t *testing.T) {
	for _, c := range []struct {
		source, command string
		params          []string
		want            string
	}{
		{"", "PING", nil, "PING"},
		{"h", "PONG", []string{"h", "x"}, ":h PONG h x"},
		{"h", "PONG", []string{"h", ""}, ":h PONG h :"},
		{"h", "NOTICE", []string{"*", "a b"}, ":h NOTICE * :a b"},
		{"h", "NOTICE", []string{"*", ":a"}, ":h NOTICE * ::a"},
		{"h", "NOTICE", []string{"*", "a\r\n\x00b"}, ":h NOTICE * :a   b"},
		{"h", "401", []string{"ann", "", "a b", ":x", "x\ny", "ok", "No"}, ":h 401 ann * * * * ok No"},
		{"h", "NOTICE", []string{"*", strings.Repeat("é", 300)}, ":h NOTICE * " + strings.Repeat("é", 249)},
	} {
		if got := string(appendLine(nil, c.source, c.command, c.params...)); got != c.want+"\r\n" {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	b := appendLine(nil, "h", "A")
	b = appendLine(appendTag(appendTag(b, "label", "a b;"), "empty", ""), "h", "B", "c")
	b = appendNumeric(b, "h", "*", errNeedMoreParams, "JOIN")
	b = appendReply(b, "h", "ann", rplWelcome, "hello ann")
	want := ":h A\r\n@label=a\\sb\\:;empty :h B c\r\n:h 461 * JOIN :" + errNeedMoreParams.Text() + "\r\n:h 001 ann :hello ann\r\n"
	if string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

func TestAppendLineDoesNotAllocate(t *testing.T) {
	b, text := make([]byte, 0, 4096), strings.Repeat("text ", 20)
	if n := testing.AllocsPerRun(100, func() {
		b = appendTag(b[:0], "label", "a b")
		b = appendLine(b, "h", "PRIVMSG", "#room", text)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, s := range []string{"@a=b;+c/d=\\: :s PRIVMSG #a,b :hello there", ":x", "@ ", "CAP LS 302", "a 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 :7"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		was := bytes.Clone(line)
		m, err := ParseMessage(line)
		if !bytes.Equal(line, was) {
			t.Fatal("the line has changed")
		}
		if err != nil {
			if e := new(ParseError); !errors.As(err, &e) || !reflect.DeepEqual(m, Message{}) {
				t.Fatalf("%v, %#v", err, m)
			}
			return
		}
		if m.Command == "" || len(m.Params) > maxParams {
			t.Fatalf("%#v", m)
		}
		var b []byte
		for _, tag := range m.Tags {
			if !utf8.ValidString(tag.Key) || !utf8.ValidString(tag.Value) {
				t.Fatalf("%#v", m)
			}
			b = appendTag(b, tag.Key, tag.Value)
		}
		b = appendLine(b, m.Source, m.Command, m.Params...)
		again, err := ParseMessage(bytes.TrimSuffix(b, []byte("\r\n")))
		if err != nil {
			var e *ParseError
			if errors.As(err, &e); e.Numeric != errInputTooLong && m.IsUTF8() {
				t.Fatalf("%#v became %q: %v", m, b, err)
			}
			return
		}
		if len(b) < MaxLine && !reflect.DeepEqual(m, again) && m.IsUTF8() && !(m.Tags != nil && len(m.Tags) == 0) {
			t.Fatalf("%#v became %q, which is %#v", m, b, again)
		}
	})
}

// Whatever is appended, it is one line, and its parameters keep their places.
func FuzzAppendLine(f *testing.F) {
	f.Add("value", "h", "#room", "a b", "text")
	f.Add("\r\n\x00; \\", "ann!u@h", "", ":x", strings.Repeat("é", 300))
	f.Fuzz(func(t *testing.T, value, source, first, second, last string) {
		if source = strings.Trim(source, " \x00\r\n"); strings.ContainsAny(source, " \x00\r\n") || len(source) > 100 {
			return // it is ours
		}
		b := appendLine(appendTag([]byte("before\r\n"), "label", value), source, "C", first, second, last)
		line, ok := bytes.CutSuffix(b, []byte("\r\n"))
		if line = line[len("before\r\n"):]; !ok || bytes.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("%q", b)
		}
		if _, rest, _ := bytes.Cut(line, []byte(" ")); len(rest) > maxInside {
			t.Fatalf("%d bytes", len(rest))
		}
		if len(value) > 1000 {
			return
		}
		m, err := ParseMessage(line)
		if err != nil || m.Source != source || m.Command != "C" {
			t.Fatalf("%q: %v", b, err)
		}
		if got, ok := m.Tag("label"); !ok || utf8.ValidString(value) && got != strings.ReplaceAll(value, "\x00", " ") {
			t.Fatalf("%q: the label is %q", b, got)
		}
		if len(line) < maxInside && (len(m.Params) != 3 || len(m.Params[2]) != len(last) || isMiddle(first) && m.Params[0] != first) {
			t.Fatalf("%q: %q", b, m.Params)
		}
	})
}

func TestNumerics(t *testing.T) {
	for n, text := range numericTexts {
		if text == "" || strings.ContainsAny(text, "\r\n\x00") || len(n.String()) != 3 {
			t.Errorf("%v: %q", n, text)
		}
	}
	if got := []string{rplWelcome.String(), rplLUserClient.String(), rplWelcome.Text()}; !slices.Equal(got, []string{"001", "251", ""}) {
		t.Error(got)
	}
}

func TestFailure(t *testing.T) {
	f := notUTF8("PRIVMSG")
	if got := string(f.append(nil, "h", "ann", capStandardReplies)); got != ":h FAIL PRIVMSG INVALID_UTF8 :"+f.Error()+"\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(f.append(nil, "h", "ann", 0)); !strings.HasPrefix(got, ":h NOTICE ann :") {
		t.Errorf("%q", got)
	}
}
