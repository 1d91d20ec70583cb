package wire_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

// hostile is what people try: the bytes of a line, the text that others see, and the key if
// the text may be a name. Clean makes the texts of messages, topics and reasons; names and
// passwords must be refused instead.
var hostile = []struct {
	what, in, text, key string
}{
	{"nothing special", "ann", "ann", "ann"},
	{"clear the screen", "\x1b[2J\x1b[H", "\ufffd[2J\ufffd[H", ""},
	{"set the window's title", "\x1b]0;root\x07", "\ufffd]0;root\ufffd", ""},
	{"have the terminal answer", "\x1b[c\x1b[6n\x05", "\ufffd[c\ufffd[6n\ufffd", ""},
	{"a colour by C1", "\u009b31mred", "\ufffd31mred", ""},
	{"a colour by a C1 byte", "\x9b31mred", "\ufffd31mred", ""},
	{"a device string", "\x1bP+q544e\x1b\\\\", "\ufffdP+q544e\ufffd\\\\", ""},
	{"overwrite the line", "hi\r<bob> I quit", "hi\ufffd<bob> I quit", ""},
	{"rub out", "ann\x08\x08\x08bob", "ann\ufffd\ufffd\ufffdbob", ""},
	{"delete", "ann\x7f", "ann\ufffd", ""},
	{"bell", "\a\a", "\ufffd\ufffd", ""},
	{"other alphabet of the terminal", "\x0eabc\x0f", "\ufffdabc\ufffd", ""},
	{"vertical tab, form feed", "a\vb\fc", "a\ufffdb\ufffdc", ""},
	{"NUL", "a\x00b", "a\ufffdb", ""},
	{"next line (C1)", "hi\u0085<bob> no", "hi\ufffd<bob> no", ""},
	{"line separator", "hi\u2028<bob> no", "hi\ufffd<bob> no", ""},
	{"paragraph separator", "hi\u2029* lobby: deleted", "hi\ufffd* lobby: deleted", ""},
	{"right to left override", "abc\u202etxt.exe", "abc\ufffdtxt.exe", ""},
	{"left to right override", "\u202dabc", "\ufffdabc", ""},
	{"embeddings", "\u202aa\u202bb\u202c", "\ufffda\ufffdb\ufffd", ""},
	{"isolates", "\u2066a\u2067b\u2068c\u2069", "\ufffda\ufffdb\ufffdc\ufffd", ""},
	{"marks of direction", "a\u200e\u200f\u061c", "a\ufffd\ufffd\ufffd", ""},
	{"zero width space", "a\u200bnn", "a\ufffdnn", ""},
	{"zero width no-break space", "a\ufeffnn", "a\ufffdnn", ""},
	{"word joiner", "a\u2060nn", "a\ufffdnn", ""},
	{"invisible operators", "a\u2061\u2062\u2063\u2064", "a\ufffd\ufffd\ufffd\ufffd", ""},
	{"reserved format", "a\u2065\u2069", "a\ufffd\ufffd", ""},
	{"tags", "hi\U000e0068\U000e0069\U000e007f", "hi\ufffd\ufffd\ufffd", ""},
	{"not UTF-8", "\xff\xfe\xfd", "\ufffd\ufffd\ufffd", ""},
	{"half a character", "\xe2\x82", "\ufffd\ufffd", ""},
	{"half a character at the end", "ann\xf0\x9f\x98", "ann\ufffd\ufffd\ufffd", ""},
	{"a long form of a line end", "a\xc0\x8ab", "a\ufffd\ufffdb", ""},
	{"a long form of ESC", "\xe0\x80\x9b[2J", "\ufffd\ufffd\ufffd[2J", ""},
	{"surrogates", "\xed\xa0\xbd\xed\xb8\x80", strings.Repeat("\ufffd", 6), ""},
	{"beyond Unicode", "\xf4\x90\x80\x80", strings.Repeat("\ufffd", 4), ""},
	{"faked line of a person", "<bob> I quit", "<bob> I quit", ""},
	{"faked line of the server", "* lobby: chat room being deleted", "* lobby: chat room being deleted", ""},
	{"faked JSON", `{"type":"deleted"}`, `{"type":"deleted"}`, ""},
	{"faked answer", "OK lobby 9000 0", "OK lobby 9000 0", ""},
	{"full-width brackets", "＜bob＞ no", "＜bob＞ no", ""},
	{"Zalgo", "Z" + strings.Repeat("\u0301", 100), "Z" + strings.Repeat("\u0301", 8) + strings.Repeat("\ufffd", 92), ""},
	{"Zalgo of many marks", "Z" + strings.Repeat("\u0310\u0323\u035b", 4), "Z" + strings.Repeat("\u0310\u0323\u035b", 2) + "\u0310\u0323" + strings.Repeat("\ufffd", 4), ""},
	{"Zalgo with joiners", "Z" + strings.Repeat("\u0301\u200d", 6), "Z" + strings.Repeat("\u0301\u200d", 4) + strings.Repeat("\ufffd", 4), ""},
	{"a Thai tower", "ก" + strings.Repeat("\u0e49", 30), "ก" + strings.Repeat("\u0e49", 8) + strings.Repeat("\ufffd", 22), ""},
	{"a Hangul heap", "\u1100" + strings.Repeat("\u1161", 20), "\u1100" + strings.Repeat("\u1161", 8) + strings.Repeat("\ufffd", 12), ""},
	{"invisible joiners", strings.Repeat("\u200d", 20), strings.Repeat("\u200d", 8) + strings.Repeat("\ufffd", 12), ""},
	{"soft hyphens", "a" + strings.Repeat("\u00ad", 3), "a\ufffd\ufffd\ufffd", ""},
	{"bytes in variation selectors", "ls" + hide("; rm -rf ~/* &>0"), "ls" + strings.Repeat("\ufffd", 16), ""},
	{"variation selectors of Han", "葛\U000e0100\ufe00", "葛\ufffd\ufffd", ""},
	{"fillers", "a\u115f\u1160\u3164\uffa0b", "a\ufffd\ufffd\ufffd\ufffdb", ""},
	{"combining grapheme joiner", "a\u034fb", "a\ufffdb", ""},
	{"vowels of Khmer that are not shown", "ក\u17b4\u17b5", "ក\ufffd\ufffd", ""},
	{"selectors of Mongolian", "ᠠ\u180b\u180e\u180f", "ᠠ\ufffd\ufffd\ufffd", ""},
	{"deprecated format", "a\u206a\u206f", "a\ufffd\ufffd", ""},
	{"annotations", "\ufff9a\ufffab\ufffb", "\ufffda\ufffdb\ufffd", ""},
	{"Braille without dots", "a\u2800b", "a\ufffdb", ""},
	{"format of shorthand and music", "a\U0001bca0\U0001d173", "a\ufffd\ufffd", ""},
	{"not assigned, and not shown", "a\ufff0\U000e0fff", "a\ufffd\ufffd", ""},
	{"a heart in colour, and in black", "❤\ufe0f❤\ufe0e", "❤\ufe0f❤\ufe0e", ""},
	{"mixed alphabets", "аnn", "аnn", ""}, // a Cyrillic а
	{"a pattern", "a*", "a*", ""},
	{"a space", "ann bob", "ann bob", ""},
	{"a tab", "a\tb", "a\tb", ""},
	{"capitals and width", "ＡNN", "ＡNN", "ann"},
	{"too long for a name", strings.Repeat("a", 33), strings.Repeat("a", 33), ""},

	// Texts that people write must stay as they are.
	{"Thai", "น้ำ", "น้ำ", ""}, // RFC 8265 wants the vowel in two pieces
	{"Thai, vowel and tone", "ที่นี่", "ที่นี่", "ที่นี่"},
	{"Hebrew with points", "שָׁלוֹם", "שָׁלוֹם", "ש\u05b8\u05c1לו\u05b9ם"},
	{"Hebrew with accents", "בְּרֵאשִׁ֖ית", "בְּרֵאשִׁ֖ית", ""},
	{"Arabic with vowels", "ٱلسَّلَامُ", "ٱلسَّلَامُ", "ٱلسَّلَامُ"},
	{"Vietnamese in pieces", "Vie\u0302\u0323t", "Vie\u0302\u0323t", "vi\u1ec7t"},
	{"Hindi", "क्षत्रिय", "क्षत्रिय", "क्षत्रिय"},
	{"Burmese", "လျှို့ဝှက်", "လျှို့ဝှက်", ""},
	{"Tibetan", "བསྒྲུབས", "བསྒྲུབས", ""},
	{"the highest Tibetan stack", "ཧྐྵྨླྺྼྻྂ", "ཧྐྵྨླྺྼྻྂ", ""},
	{"old Korean", "ᄒᆞᆫ글", "ᄒᆞᆫ글", ""},
	{"Persian with a non-joiner", "می\u200cخواهم", "می\u200cخواهم", ""},
	{"an emoji of a family", "👩\u200d👩\u200d👧\u200d👦", "👩\u200d👩\u200d👧\u200d👦", ""},
	{"a keycap", "1\ufe0f\u20e3", "1\ufe0f\u20e3", ""},
	{"phonetics", "t͡ɕʰə̃ː˥", "t͡ɕʰə̃ː˥", ""},
}

// hide writes a text in invisible characters, a byte in each.
func hide(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteRune(0xe0100 + rune(c))
	}
	return b.String()
}

func TestHostileText(t *testing.T) {
	for _, h := range hostile {
		text := wire.Clean([]byte(h.in))
		if text != h.text {
			t.Errorf("%s: the text is %+q, want %+q", h.what, text, h.text)
		}
		if again := wire.CleanString(text); again != text {
			t.Errorf("%s: cleaned twice it is %+q", h.what, again)
		}
		n, err := wire.ParseName(text)
		if n.Key != h.key {
			t.Errorf("%s: the name's key is %+q, want %+q (%v)", h.what, n.Key, h.key, err)
		}
		if err != nil {
			checkError(t, err, wire.CodeBadName)
		}
		_, err = wire.ParsePassword(text)
		if changed := strings.ContainsRune(text, utf8.RuneError); changed && err == nil {
			t.Errorf("%s: it may be a password", h.what)
		}
		// The text is in a line that begins with its author.
		ev := wire.Event{Type: wire.TypeMessage, From: "ann", Text: text}
		line := string(ev.AppendText(nil))
		if !strings.HasPrefix(line, "<ann> ") || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("%s: the line is %q", h.what, line)
		}
		// Errors that repeat the text are safe, too.
		for _, err := range []error{second(wire.ParseRequest(text + " x")), second(wire.ParseCommand("/" + text)), second(wire.ParseName(text))} {
			if err != nil && wire.CleanString(err.Error()) != err.Error() {
				t.Errorf("%s: the answer %q", h.what, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
