package wire

import (
	"fmt"
	"testing"
)

// looksOf is a set of n nicks.
func looksOf(nicks int) *ConfusableNicks {
	l := new(ConfusableNicks)
	for i := range nicks {
		nick := fmt.Sprintf("Member-%d", i)
		l.Add(Name{Shown: nick, Key: Fold(nick)})
	}
	return l
}

func TestConfusableNicks(t *testing.T) {
	parse := func(s string) Name {
		n, err := ParseNick(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	l := looksOf(10)
	var others []Name
	// An older server did not check nicks: confusable ones may be in a room together.
	for _, s := range []string{"Max", "rnax", "Мах", "МАХ-2", "ΚΑΤΕ", "Ann"} {
		l.Add(parse(s))
		others = append(others, parse(s))
	}
	for _, c := range []struct {
		n, own string
		want   bool
	}{
		{"MAX", "Ann", true}, {"MAX", "Max", true}, {"МАХ", "Ann", true}, {"КАТЕ", "Ann", true}, {"kate", "Ann", true},
		{"Kate", "Ann", true}, {"КАТЕ", "ΚΑΤΕ", false}, {"МАХ", "Max", true}, {"MAX-2", "Ann", true}, {"МАХ-2", "МАХ-2", false}, {"b0b", "Ann", false},
	} {
		if got := l.HasConfusable(parse(c.n), parse(c.own)); got != c.want {
			t.Errorf("%s of %s: %v", c.n, c.own, got)
		}
	}
	for _, n := range others {
		l.Remove(n)
	}
	if n := l.Len(); n != 10 || len(l.other) != 0 {
		t.Errorf("%d looks are known, and %d of them are not Latin", n, len(l.other))
	}
}

// A new nick is compared with 10,000 others.
func BenchmarkNick(b *testing.B) {
	l := looksOf(10_000)
	names := []Name{{Shown: "Ann", Key: "ann"}, {Shown: "Анна", Key: "анна"}}
	own := names[1]
	l.Add(own)
	for i := 0; b.Loop(); i++ {
		n := names[i%2]
		l.HasConfusable(n, own)
		l.Remove(own)
		l.Add(n)
		own = n
	}
}
