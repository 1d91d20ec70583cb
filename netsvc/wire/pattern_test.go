package wire_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"roomd/netsvc/wire"
)

func TestIsPattern(t *testing.T) {
	for s, want := range map[string]bool{"": false, "lobby": false, "*": true, "lob?y": true, "a[b]": false} {
		if got := wire.IsPattern(s); got != want {
			t.Errorf("IsPattern(%q) = %v", s, got)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"*", "lobby", true},
		{"*", "", true},
		{"?", "", false},
		{"lob*", "lobby", true},
		{"LOB*", "lobby", true},
		{"*by", "lobby", true},
		{"l?bby", "lobby", true},
		{"?", "é", true},
		{"??", "é", false},
		{"*b*b*", "lobby", true},
		{"*b*b*b*", "lobby", false},
		{"lobby", "lobby", true},
		{"lobby*", "lob", false},
		{"", "lobby", false},
		{"a.c*", "abc", false},
		{"[a-z]*", "lobby", false},
		{"ｌｏ*", "lobby", true},
		{"É*", "été", true},
		{"ΣΑΣ*", "σασ", true}, // no final sigma, as in keys
		{"*ΑΣ", "σασ", true},
		{"E\u0301*", "été", true},
		{"İ*", "i\u0307stanbul", true},
		{"ﾗｰ*", "ラーメン", true},
		{strings.Repeat("*a", 2000) + "b", strings.Repeat("a", 32), false},
		{strings.Repeat("*", 4096), "lobby", true},
		{strings.Repeat("*", 4096) + "by", "lobby", true},
		{"*" + strings.Repeat("Ä", 2000), "ä", false}, // is not folded: that would take a millisecond
		{strings.Repeat("?", 4096), "lobby", false},
	} {
		if got := wire.NewPattern(c.pattern).Match(c.key); got != c.want {
			t.Errorf("Match(%.40q, %q) = %v", c.pattern, c.key, got)
		}
	}
}

func TestMatchIsARegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("aB.é*?")), 0, 12, -1).Draw(t, "pattern")
		key := rapid.StringOfN(rapid.RuneFrom([]rune("ab.é")), 0, 12, -1).Draw(t, "key")
		expr := regexp.QuoteMeta(strings.ToLower(pattern))
		expr = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(expr)
		if got, want := wire.NewPattern(pattern).Match(key), regexp.MustCompile("^(?:"+expr+")$").MatchString(key); got != want {
			t.Fatalf("Match(%q, %q) = %v", pattern, key, got)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("lob*", "lobby")
	f.Add("*?\u0130*", "\u0130x")
	f.Add(strings.Repeat("*a", 50), strings.Repeat("a", 32))
	f.Fuzz(func(t *testing.T, pattern, name string) {
		n, err := wire.ParseName(name)
		if err != nil {
			return
		}
		wire.NewPattern(pattern).Match(n.Key)
		if !wire.NewPattern("*").Match(n.Key) || !wire.NewPattern(n.Key).Match(n.Key) || !wire.NewPattern(name+"*").Match(n.Key) || wire.NewPattern("?"+n.Key).Match(n.Key) {
			t.Errorf("%q does not match as it should", name)
		}
	})
}
