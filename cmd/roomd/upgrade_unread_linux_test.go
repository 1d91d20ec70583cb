package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What members have asked for and not read is theirs after an upgrade, to the last
// member of each list: also where others are shown another list of the same room, and
// where more of a room's log is pending than goes along.
func TestUpgradeUnread(t *testing.T) {
	p := newProcess(t, "limits.members = 2000\nlimits.rate_exempt = [\"127.0.0.1\"]\nrooms.replay = 0\nserver.create = [\"lobby\", \"loud\"]")
	p.start()
	const others, askers, asked = 1000, 60, 8
	for range others {
		p.come(p.first).hear("you are")
	}
	var all []*member
	for range askers {
		m := p.come(p.first)
		m.say("/json\n")
		m.hear(`"command":"json"`)
		all = append(all, m)
	}
	other := p.come(p.first)
	other.hear("you are")
	for i, m := range all {
		const full = 1 // and more fill the connection
		m.say(strings.Repeat("/who\n", full))
		for j := range asked - full {
			nick := fmt.Sprintf("other-%d-%d", i, j)
			other.say("/nick " + nick + "\n")
			other.hear("is now " + nick)
			m.say("/who\n")
		}
	}
	deaf := p.come(p.first + 1)
	deaf.hear("you are")
	speaker := p.come(p.first + 1)
	const lines = 1500
	for i := range lines {
		speaker.say(fmt.Sprintf("%d %s\n", i, strings.Repeat("x", 1000)))
	}
	speaker.hear(fmt.Sprintf("> %d x", lines-1))
	if u := p.upgrade(); u.Members != others+askers+3 {
		t.Errorf("%+v", u)
	}
	for i := range lines {
		if l := deaf.hear("<"); !strings.HasPrefix(l, fmt.Sprintf("<guest-2> %d x", i)) {
			t.Fatalf("line %d is %.40q", i, l)
		}
	}
	for _, m := range []*member{all[0], all[askers/2], all[askers-1]} {
		m.say("/ping\n")
		for range asked {
			var ok struct{ Count int }
			if l := m.hear(`"command":"who"`); json.Unmarshal([]byte(l), &ok) != nil || ok.Count != others+askers+1 {
				t.Fatal(l)
			}
			for range ok.Count {
				if l := m.hear("{"); !strings.Contains(l, `"type":"member"`) {
					t.Fatal(l)
				}
			}
		}
		m.hear(`"type":"pong"`)
	}
}
