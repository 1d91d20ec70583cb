package irc

import (
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

func TestNearest(t *testing.T) {
	for s, want := range map[string]string{
		"ann": "ann", "Ann-Lee.2_": "Ann-Lee.2_", "ann`": "ann_", "ann[away]": "ann_away_", "an^n|x": "an_n_x", "a b!c@d": "abcd",
		"_ann": "_ann", "[ann]": "_ann_", "`ann": "_ann", "-ann": "ann_", "[]غ": "غ", "  ann": "ann",
		"Zoë{work}": "Zoë_work_", "annа": "ann", "жanna": "ж", "a\u0301\u0301\u0301b": "a\u0301\u0301b", "x\u200by": "xy",
		"operator": "operator_", "_operator": "_operator_", "__guest-7": "x_guest-7", "guest-7": "xguest-7", "1000": "1000_", "127.0.0.1": "127.0.0.1_",
		strings.Repeat("y", 40): strings.Repeat("y", 32), "👩": "", "": "", "[]": "", "\xff": "", "a\xffb": "ab",
	} {
		got, ok := NearestNick(s)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", s, got, ok, want)
		}
	}
	for s, want := range map[string]string{"#Lobby": "Lobby", "Lobby": "Lobby", "##c++": "c", "#1000": "1000", "#a,b": "ab", "#": "", "&x": "x_"} {
		got, ok := NearestRoom(s)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", s, got, ok, want)
		}
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("[a]жb\u0301")
	f.Add("guest-007")
	f.Fuzz(func(t *testing.T, s string) {
		if nick, ok := NearestNick(s); ok {
			if n, err := wire.ParseNick(nick); err != nil || n.Shown != nick || !isMiddle(nick) || strings.ContainsAny(nick, "!@,#:*?") {
				t.Fatalf("%q: %q, %v", s, nick, err)
			}
		}
		if name, ok := NearestRoom(s); ok && !isName(name) {
			t.Fatalf("%q: %q", s, name)
		}
		if _, err := wire.ParseNick(s); err == nil {
			if nick, ok := NearestNick(s); !ok || nick != s {
				t.Fatalf("%q: %q, %v", s, nick, ok)
			}
		}
	})
}
