package netsvc

import (
	"fmt"
	"testing"

	"roomd/netsvc/wire"
)

// roomOf is a room of members with nicks, and nothing else.
func roomOf(members int) *Room {
	r := &Room{nicks: make(map[string]*Member)}
	for i := range members {
		nick := fmt.Sprintf("Member-%d", i)
		r.take(&Member{}, wire.Name{Shown: nick, Key: wire.Fold(nick)})
	}
	return r
}

func TestLooks(t *testing.T) {
	parse := func(s string) wire.Name {
		n, err := wire.ParseNick(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	r := roomOf(10)
	var others []*Member
	// Those of a process before, which did not look at looks, may be there together.
	for _, s := range []string{"Max", "rnax", "Мах", "МАХ-2", "ΚΑΤΕ", "Ann"} {
		m := &Member{}
		r.take(m, parse(s))
		others = append(others, m)
	}
	for _, c := range []struct {
		n, own string
		want   bool
	}{
		{"MAX", "Ann", true}, {"MAX", "Max", true}, {"МАХ", "Ann", true}, {"КАТЕ", "Ann", true}, {"kate", "Ann", true},
		{"Kate", "Ann", true}, {"КАТЕ", "ΚΑΤΕ", false}, {"МАХ", "Max", true}, {"MAX-2", "Ann", true}, {"МАХ-2", "МАХ-2", false}, {"b0b", "Ann", false},
	} {
		if got := r.imitated(parse(c.n), parse(c.own)); got != c.want {
			t.Errorf("%s of %s: %v", c.n, c.own, got)
		}
	}
	for _, m := range others {
		r.giveUp(m)
	}
	if n := r.looks.size(); n != 10 || len(r.looks.other) != 0 {
		t.Errorf("%d looks are known, and %d of them are not Latin", n, len(r.looks.other))
	}
}

// A nick among 10,000 that were chosen, with what it looks like.
func BenchmarkNick(b *testing.B) {
	r := roomOf(10_000)
	m, names := &Member{}, []wire.Name{{Shown: "Ann", Key: "ann"}, {Shown: "Анна", Key: "анна"}}
	r.take(m, names[1])
	for i := 0; b.Loop(); i++ {
		n := names[i%2]
		r.imitated(n, m.nick)
		r.giveUp(m)
		r.take(m, n)
	}
}
