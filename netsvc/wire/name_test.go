package wire_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"pgregory.net/rapid"

	"roomd/netsvc/wire"
)

func TestNames(t *testing.T) {
	for name, key := range map[string]string{
		"lobby":                 "lobby",
		"Lobby":                 "lobby",
		"a":                     "a",
		"7":                     "7",
		"2-b_or.not":            "2-b_or.not",
		strings.Repeat("x", 32): strings.Repeat("x", 32),
		strings.Repeat("ß", 32): strings.Repeat("ß", 32),
		"Große":                 "große",
		"ＬＯＢＢＹ１":                "lobby1",
		"\u212aelvin":           "kelvin",         // the sign for kelvin
		"e\u0301te\u0301":       "été",            // decomposed
		"E\u0302\u0301":         "ế",              // two marks
		"İstanbul":              "i\u0307stanbul", // one character becomes two
		"東京":                    "東京",
		"東京とカフェ":                "東京とカフェ", // Japanese is one script
		"ラーメン":                  "ラーメン",
		"ﾗｰﾒﾝ":                  "ラーメン", // half width
		"ｶﾞ":                    "ガ",
		"漢字와한글":                 "漢字와한글",
		"\u1112\u1161\u11ab":    "한", // decomposed Hangul
		"注音ㄅㄆ":                  "注音ㄅㄆ",
		"Москва":                "москва",
		"ΣΑΣ":                   "σασ",
		"नमस्ते":                "नमस्ते",
		"שלום":                  "שלום",
		"غرفة٣":                 "غرفة٣",
		"東京2":                   "東京2",
		"１２３":                   "123",
		"۴۲":                    "۴۲", // Persian digits have no direction of their own
		"२०":                    "२०",
		"2É":                    "2é",
		"７-ｂ":                   "7-b",
		"é_":                    "é_",
		"_Ann":                  "_ann", // clients of IRC take it where Ann is in use
		"__7":                   "__7",
		"_É":                    "_é",
		"שלום-2":                "שלום-2",
	} {
		got, err := wire.ParseName(name)
		if want := (wire.Name{Shown: name, Key: key}); err != nil || got != want {
			t.Errorf("%q: %+q, %v; want %+q", name, got, err, want)
		}
	}
}

func TestBadNames(t *testing.T) {
	for name, why := range map[string]string{
		"":                       "at least one character",
		strings.Repeat("x", 33):  "at most 32 characters, this one has 33",
		strings.Repeat("é", 4e3): "at most 32 characters, this one has 4000",
		strings.Repeat("İ", 17):  "in lower case it has more than 32",
		"-a":                     "must start with",
		".":                      "must start with",
		"_":                      "must have a letter or a digit",
		"__.":                    "must have a letter or a digit",
		"_\u0301":                "must follow a letter",
		"_غ":                     "written from right to left must start with a letter",
		"\u0301a":                "must start with",
		"a b":                    "not ' '",
		"a/b":                    "not '/'",
		"<ann>":                  "must start with",
		"a>":                     "not '>'",
		"a*":                     "make a pattern",
		"wh?":                    "make a pattern",
		"a\u200db":               `not '\u200d'`,
		"a\u200cb":               `not '\u200c'`,
		"a\u202eb":               `not '\u202e'`,
		"a\x1b[2J":               `not '\x1b'`,
		"a\xff":                  "not '\ufffd'",
		"\xff":                   "must start with",
		"a\u00a0b":               `not '\u00a0'`,
		"a👍":                     "not '👍'",
		"a½":                     "not '½'",
		"раypal":                 "more than one script", // two letters are Cyrillic
		"abγ":                    "more than one script",
		"東京x":                    "more than one script",
		"한글カナ":                   "more than one script",
		"ㄅカ":                     "more than one script",
		"aー":                     "more than one script",
		"aﾞ":                     "more than one script",
		"aﾟ":                     "more than one script",
		"a\u3099":                "more than one script",
		"a〼":                     "more than one script",
		"aｰ":                     "more than one script",
		"a〆":                     "more than one script",
		"a٣":                     "more than one script",
		"a\u0903":                "more than one script", // Devanagari visarga
		"غ3٣":                    "more than one kind",
		"غ٣۳":                    "more than one kind",
		"a𝟎𝟘":                    "more than one kind", // bold and double-struck, side by side in Unicode
		"1１":                     "more than one kind",
		"1\u0301":                "must follow a letter",
		"a-\u0301":               "must follow a letter",
		"a\u0301\u0302\u0303":    "two combining marks in a row",
		"٣غ":                     "must start with a letter",
		"٣":                      "written from right to left must start with a letter",
		"٣-٤":                    "written from right to left must start with a letter",
		"2ש":                     "written from right to left must start with a letter",
		"غ-":                     "written from right to left must end with a letter or a digit",
		"שːש":                    "mixes directions", // a sign of phonetics, of any script
		"a\ufe0f":                "RFC 8265",         // a variation selector
		"a\u034fb":               "RFC 8265",         // the grapheme joiner
		"\u3164":                 "RFC 8265",         // the Hangul filler
		"\uffa0":                 "RFC 8265",         // and of half width
		"\u115f\u1160":           "RFC 8265",
		"ﬁ":                      "RFC 8265",                     // a ligature
		"غ\u0640غ":               "RFC 8265",                     // the stretcher
		"𝐚":                      "RFC 8265",                     // a bold a
		"\U00013441":             "U+13441, which shows nothing", // a blank of Egyptian, which is a letter
		"\U00013000\U00013442":   "U+13442, which shows nothing",
		"\U00018b00\U00016fe4":   "U+16FE4, which shows nothing", // the filler of Khitan, a mark
		"\U0001d159":             "which shows nothing",
	} {
		got, err := wire.ParseName(name)
		checkError(t, err, wire.CodeBadName)
		if err == nil || !strings.Contains(err.Error(), why) || got != (wire.Name{}) {
			t.Errorf("%+q: %+q, %v; want %q", name, got, err, why)
		}
	}
}

func TestBadNameIsQuoted(t *testing.T) {
	_, err := wire.ParseName("a\u202e\x1b[2Jb")
	if want := `"a` + "\ufffd\ufffd" + `[2Jb" cannot be a name: names have letters, digits, - _ and . only, not '\u202e'`; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// checkError checks that an error may go to the peer as it is.
func checkError(t interface{ Errorf(string, ...any) }, err error, code string) {
	var e *wire.Error
	switch {
	case err == nil:
	case !errors.As(err, &e) || e.Code != code:
		t.Errorf("%#v is not an error of %s", err, code)
	case e.Text == "" || wire.CleanString(e.Text) != e.Text || len(e.Text) > 400:
		t.Errorf("%q must not be sent", e.Text)
	}
}

// A _ in front makes no nick of one that ParseNick refuses.
func TestNicksWithUnderscore(t *testing.T) {
	for nick, free := range map[string]bool{
		"_ann": true, "_7": true, "_operators": true, "_guest": true,
		"_operator": false, "__Operator": false, "_guest-7": false, "__guest_007": false,
	} {
		n, err := wire.ParseNick(nick)
		if free != (err == nil) || free && n.Shown != nick {
			t.Errorf("%s: %v, %v", nick, n, err)
		}
	}
}

// ParseName gives the same key for ASCII names as package precis.
func TestPlainNamesArePrecis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`_?[a-zA-Z0-9][a-zA-Z0-9._-]{0,30}`).Draw(t, "name")
		want, err := precis.UsernameCaseMapped.String(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wire.ParseName(s); err != nil || got.Key != want {
			t.Fatalf("%+v, %v; want %q", got, err, want)
		}
	})
}

func TestNamesFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for _, name := range []string{"Große", "ＬＯＢＢＹ", "غرفة٣", "ﾗｰﾒﾝ"} {
		want, _ := wire.ParseName(name)
		for range 4 {
			wg.Go(func() {
				for range 200 {
					if got, err := wire.ParseName(name); err != nil || got != want {
						t.Errorf("%+v, %v; want %+v", got, err, want)
					}
				}
			})
		}
	}
	wg.Wait()
}

func FuzzName(f *testing.F) {
	for _, s := range []string{
		"lobby", "ＬＯＢＢＹ", "İstanbul", "e\u0301\u0302", "ﾗｰﾒﾝﾞ", "غرفة٣", "東京とカフェ", "\u1112\u1161\u11ab",
		"a b", "a*", "\xff", "\u212b\u2126", "\uf900", "ǅ", "ᾳ", "\u0344", "ẞ", "Ⅷ", "𐐀", "Ꭰ", "\u0130\u0307",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := wire.ParseName(s)
		if err != nil {
			checkError(t, err, wire.CodeBadName)
			return
		}
		if name.Shown != s {
			t.Errorf("%+q is shown as %+q", s, name.Shown)
		}
		again, err := wire.ParseName(name.Key)
		if err != nil || again.Key != name.Key {
			t.Errorf("the key %+q of %+q has the key %+q, %v", name.Key, s, again.Key, err)
		}
		for _, s := range []string{name.Shown, name.Key} {
			if n := utf8.RuneCountInString(s); !utf8.ValidString(s) || n == 0 || n > wire.MaxName {
				t.Errorf("%+q is not UTF-8 or has %d characters", s, n)
			}
			if wire.CleanString(s) != s || strings.ContainsAny(s, "<>*?/ {}\"") {
				t.Errorf("%+q can be taken for something else", s)
			}
			for _, r := range s {
				if !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune("-_.", r) {
					t.Errorf("%+q has %U", s, r)
				}
			}
		}
		if !wire.NewPattern(name.Shown).Match(name.Key) || !wire.NewPattern("*").Match(name.Key) {
			t.Errorf("%+q does not match itself", s)
		}
		if wire.Fold(s) != name.Key {
			t.Errorf("%+q is folded to %+q, and its key is %+q", s, wire.Fold(s), name.Key)
		}
	})
}

func BenchmarkParseName(b *testing.B) {
	for _, name := range []string{"Lobby-7", "Große", "東京とカフェ"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.ParseName(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
