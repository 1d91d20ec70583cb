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
	port := s.create("lobby")
	for round := range 10 {
		old := join(t, port)
		old.send("/nick ann")
		old.until("* guest")
		next := join(t, port)
		var burst strings.Builder
		for i := range 200 {
			fmt.Fprintf(&burst, "%d %d\n", round, i)
		}
		old.send(strings.TrimSuffix(burst.String(), "\n"))
		old.until(fmt.Sprintf("<ann> %d 0", round))
		members, err := s.svc.Members("lobby")
		if err != nil {
			t.Fatal(err)
		}
		// It asks again and again: one of them comes when the nick has just become
		// free.
		const asks = 500
		ask := strings.Repeat("/nick ann\n", asks-1) + "/nick ann"
		next.send(ask)
		for _, m := range members {
			if m.Nick == "ann" {
				s.svc.Kick([]uint64{m.ID}, "")
			}
		}
		for refused := 0; ; {
			l := next.line()
			if strings.HasPrefix(l, "* guest") {
				break
			}
			if strings.HasPrefix(l, "* somebody here") {
				if refused++; refused%asks == 0 {
					next.send(ask)
				}
			}
		}
		next.send("/ping")
		for got := next.line(); !strings.HasPrefix(got, "* pong"); got = next.line() {
			if strings.HasPrefix(got, "<ann>") {
				t.Fatalf("round %d: %q is said by who was ann before", round, got)
			}
		}
		old.conn.Close()
		next.conn.Close()
		eventually(t, "both have left", func() bool { return s.members("lobby") == 0 })
	}
}

// Lines are answered in their order, also those that are refused.
func TestRefusedInPlace(t *testing.T) {
	s := startServer(t)
	port := s.create("lobby")
	for range 10 {
		p := join(t, port)
		p.send("/nick ann")
		p.until("* guest")
		p.send(strings.Repeat("said\n", 199) + "said")
		b, _, err := s.svc.Ban(store.Ban{Nick: "ann", Mute: true})
		if err != nil {
			t.Fatal(err)
		}
		for said, refused := 0, 0; said+refused < 200; {
			switch l := p.line(); {
			case l == "<ann> said" && refused == 0:
				said++
			case strings.HasPrefix(l, "* not sent: "):
				refused++
			default:
				t.Fatalf("%q after %d said and %d refused", l, said, refused)
			}
		}
		if err := s.svc.Unban(b[0].ID); err != nil {
			t.Fatal(err)
		}
		p.conn.Close()
		eventually(t, "it has left", func() bool { return s.members("lobby") == 0 })
	}
}
