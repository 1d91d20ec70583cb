package netsvc_test

import (
	"fmt"
	"strings"
	"testing"

	"roomd/store"
)

// A nick is free when all that its bearer said is in the room: who has it next
// can tell whose lines are whose. A client that comes back relies on it.
func TestNickIsFreeWhenAllIsSaid(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	for round := range 10 {
		old := join(t, port)
		old.Send("/nick ann")
		old.Until("* guest")
		next := join(t, port)
		var burst strings.Builder
		for i := range 200 {
			fmt.Fprintf(&burst, "%d %d\n", round, i)
		}
		old.Send(strings.TrimSuffix(burst.String(), "\n"))
		old.Until(fmt.Sprintf("<ann> %d 0", round))
		members, err := s.Service.Members("lobby")
		if err != nil {
			t.Fatal(err)
		}
		// It asks again and again: one of them comes when the nick has just become
		// free.
		const asks = 500
		ask := strings.Repeat("/nick ann\n", asks-1) + "/nick ann"
		next.Send(ask)
		for _, m := range members {
			if m.Nick == "ann" {
				s.Service.Kick([]uint64{m.ID}, "")
			}
		}
		for refused := 0; ; {
			l := next.Line()
			if strings.HasPrefix(l, "* guest") {
				break
			}
			if strings.HasPrefix(l, "* somebody here") {
				if refused++; refused%asks == 0 {
					next.Send(ask)
				}
			}
		}
		next.Send("/ping")
		for got := next.Line(); !strings.HasPrefix(got, "* pong"); got = next.Line() {
			if strings.HasPrefix(got, "<ann>") {
				t.Fatalf("round %d: %q is said by who was ann before", round, got)
			}
		}
		old.Conn.Close()
		next.Conn.Close()
		eventually(t, "both have left", func() bool { return s.members("lobby") == 0 })
	}
}

// Lines are answered in their order, also those that are refused.
func TestRefusedInPlace(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	for range 10 {
		p := join(t, port)
		p.Send("/nick ann")
		p.Until("* guest")
		p.Send(strings.Repeat("said\n", 199) + "said")
		b, _, err := s.Service.Ban(store.Ban{Nick: "ann", Mute: true})
		if err != nil {
			t.Fatal(err)
		}
		for said, refused := 0, 0; said+refused < 200; {
			switch l := p.Line(); {
			case l == "<ann> said" && refused == 0:
				said++
			case strings.HasPrefix(l, "* not sent: "):
				refused++
			default:
				t.Fatalf("%q after %d said and %d refused", l, said, refused)
			}
		}
		if err := s.Service.Unban(b[0].ID); err != nil {
			t.Fatal(err)
		}
		p.Conn.Close()
		eventually(t, "it has left", func() bool { return s.members("lobby") == 0 })
	}
}
