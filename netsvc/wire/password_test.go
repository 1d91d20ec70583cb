package wire_test

import (
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

func TestPassword(t *testing.T) {
	for in, want := range map[string]string{
		"secret":                                "secret",
		"Correct-Horse_1":                       "Correct-Horse_1",
		"πß東京🔑":                                 "πß東京🔑",
		"cafe\u0301":                            "café", // typed on another system
		"a\u3000b":                              "a b",
		"":                                      "a password has at least one character",
		"a\ufffdb":                              "the password has a character that no keyboard gives, or that is not UTF-8",
		"a\u0007b":                              "the password has a character that no keyboard gives, or that is not UTF-8",
		"a\u200bb":                              "the password has a character that no keyboard gives, or that is not UTF-8",
		"a\u202eb":                              "the password has a character that no keyboard gives, or that is not UTF-8",
		strings.Repeat("é", wire.MaxPassword):   strings.Repeat("é", wire.MaxPassword),
		strings.Repeat("é", wire.MaxPassword+1): "a password has at most 128 characters, this one has 129",
	} {
		got, err := wire.ParsePassword(in)
		if err != nil {
			checkError(t, err, wire.CodeBadRequest)
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzPassword(f *testing.F) {
	for _, s := range []string{"secret", "cafe\u0301", "\u3000", "a\ufffd", "\u1100\u1161"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = wire.CleanString(s)
		p, err := wire.ParsePassword(s)
		if err != nil {
			checkError(t, err, wire.CodeBadRequest)
			return
		}
		if again, err := wire.ParsePassword(p); err == nil && again != p {
			t.Errorf("%q has the form %q, and that %q", s, p, again)
		}
	})
}
