package netsvc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// handedOver freezes a server, returns what it would hand over, by kind, and lets
// it go on.
func (s *server) handedOver() (frames map[string][][]byte) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), patience)
	defer cancel()
	if err := s.Service.Freeze(ctx); err != nil {
		s.T.Fatal(err)
	}
	defer s.Service.Thaw()
	frames = make(map[string][][]byte)
	if _, err := s.Service.HandOver(func(kind string, v any, _ ...int) error {
		body, err := json.Marshal(v)
		frames[kind] = append(frames[kind], body)
		return err
	}); err != nil {
		s.T.Fatal(err)
	}
	return frames
}

// Members that ask for all they may and do not read make an upgrade carry so many
// bytes at most, each of them and all together, however often the list that they
// ask for changes in between, and however much is said that they do not read.
func TestHandedOverUnread(t *testing.T) {
	s := newServer(t)
	s.Options.Replay, s.Options.MaxMembers = 0, 2000
	s.Start()
	port := s.Create("lobby")
	const others, askers, asked = 1000, 80, 8
	for range others {
		dial(t, port).Line()
	}
	var all []*peer
	for range askers {
		p := dial(t, port)
		p.Send("/json")
		p.Until(`{"type":"ok","command":"json"`)
		all = append(all, p)
	}
	other := join(t, port)
	nick, changes := fmt.Sprint("guest-", others+askers+1), 0
	for _, p := range all {
		const full = 4 // and more fill the connection
		p.Send(strings.TrimSuffix(strings.Repeat("/who\n", full), "\n"))
		for range asked - full {
			changes++
			now := fmt.Sprint("other-", changes)
			other.Send("/nick " + now)
			other.Until("* " + nick + " is now " + now)
			nick = now
			p.Send("/who")
		}
	}
	loud := s.Create("loud")
	deaf, speaker := join(t, loud), join(t, loud)
	const lines = 1500
	for i := range lines {
		fmt.Fprintln(speaker.Conn, i, strings.Repeat("x", 1000))
	}
	speaker.collect(lines)

	frames := s.handedOver()
	const (
		one   = 4 * (64<<10 + 16<<10 + 4<<10) / 3 // answers, what is being written, and input; in base64
		each  = 24 << 10                          // of them, as far as they are not shared, on average
		lists = 65536 * 80
		log   = 4*256<<10/3 + 64<<10
	)
	sum := 0
	for kind, bodies := range frames {
		for _, body := range bodies {
			if sum += len(body); kind != "members" {
				continue
			}
			var states []json.RawMessage
			if err := json.Unmarshal(body, &states); err != nil {
				t.Fatal(err)
			}
			for _, st := range states {
				if len(st) > one {
					t.Errorf("a member takes %d bytes, and not %d", len(st), one)
				}
			}
		}
	}
	if most := askers*each + others<<10 + lists + 2*log; sum > most {
		t.Errorf("all take %d bytes, and not %d", sum, most)
	}
	var rooms []int
	for _, body := range frames["room"] {
		rooms = append(rooms, len(body))
	}
	slices.Sort(rooms)
	if len(rooms) != 2 || rooms[0] > log || rooms[0] < log/2 || rooms[1] > lists+log || rooms[1] < lists/2 {
		t.Errorf("the rooms take %d bytes: at most %d and %d, and not far less", rooms, log, lists+log)
	}

	// Nothing of that is lost where the server goes on.
	for _, p := range []*peer{all[0], all[askers-1]} {
		p.Send("/ping")
		p.listed(asked)
	}
	for i := range lines {
		if l := deaf.collect(1)[0]; !strings.HasPrefix(l, fmt.Sprintf("<guest-2> %d x", i)) {
			t.Fatalf("line %d is %.40q", i, l)
		}
	}
}

// listed reads so many answers to /who as JSON, and then a pong: each has as many
// members as it says.
func (p *peer) listed(answers int) {
	p.T.Helper()
	rest, n := 0, 0
	for {
		var ev struct {
			Type, Command string
			Count         int
		}
		if l := p.Line(); l[0] != '{' {
			continue
		} else if err := json.Unmarshal([]byte(l), &ev); err != nil {
			p.T.Fatal(err)
		}
		switch {
		case ev.Type == "pong" && rest == 0 && n == answers:
			return
		case ev.Type == "member":
			rest--
		case ev.Type == "ok" && ev.Command == "who" && rest == 0:
			rest = ev.Count
			n++
		case ev.Type == "pong", ev.Type == "ok":
			p.T.Fatalf("%d answers of %d, and %d members are missing: %+v", n, answers, rest, ev)
		}
	}
}

// A member behind TLS that has not read everything stays behind at an upgrade, and gets it
// there once it reads on, from the log and from the disk, and then where to resume.
func TestUnreadBehindTLSIsLeftBehind(t *testing.T) {
	s := newServer(t)
	s.secure()
	s.Start()
	port := s.Create("lobby")
	deaf, speaker := s.dial(port), s.dial(port)
	deaf.Until("* guest-1 joined")
	const lines = 800
	go func() {
		for i := range lines {
			fmt.Fprintln(speaker.Conn, i, strings.Repeat("x", 4000))
		}
	}()
	speaker.collect(lines)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Service.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	gone := make(chan bool)
	go func() {
		s.Service.Abandon(patience) // returns once they are closed
		close(gone)
	}()
	for i := range lines {
		if l := deaf.collect(1)[0]; !strings.HasPrefix(l, fmt.Sprintf("<guest-2> %d x", i)) {
			t.Fatalf("line %d is %.40q", i, l)
		}
	}
	for _, p := range []*peer{deaf, speaker} {
		p.Until(fmt.Sprintf("* lobby: the server is being upgraded; come back and say /since %d", lines))
		p.End()
	}
	<-gone
	if ctx.Err() != nil {
		t.Error("the old process was needed for too long")
	}
	s.Service.Thaw() // for the stop
}
