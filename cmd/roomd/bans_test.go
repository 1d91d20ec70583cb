package main

import (
	"fmt"
	"testing"
)

// A mute goes on in the next process for whom it held, and for nobody else.
func TestMuteThroughUpgrade(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	p.start()
	before, eve := p.come(p.first), p.come(p.first)
	before.hear("guest-2 joined")
	eve.hear("guest-2 joined")
	if out, errs, status := p.admin("mute", "guest-2"); status != exitOK {
		t.Fatal(out, errs)
	}
	after := p.come(p.first)
	after.hear("guest-3 joined")
	for round := range 2 {
		before.say(fmt.Sprintf("round %d\n", round))
		before.hear(fmt.Sprintf("<guest-1> round %d", round))
		for _, m := range []*member{eve, after} {
			m.say("x\n")
			m.hear("* not sent: you are muted")
		}
		if round == 0 {
			p.upgrade()
		}
	}
	if out, errs, status := p.admin("unmute", "guest-2"); status != exitOK {
		t.Fatal(out, errs)
	}
	for _, m := range []*member{eve, after} {
		m.say("at last\n")
		m.hear("> at last")
	}
}
