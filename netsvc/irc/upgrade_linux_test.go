package irc

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"roomd/netsvc/netsvctest"
)

// A binary without IRC takes over: the sessions are told so, with all that was in their rooms, and
// the other process hears nothing of them. After a failure they go on.
func TestSuccessorWithoutIRC(t *testing.T) {
	s := newServer(t, nil)
	nc := netsvctest.Join(t, s.port("lobby"))
	ann, idle, silent := s.login("ann"), s.login("idle"), s.dial()
	ann.send("JOIN #lobby,#dev")
	ann.until(" 366 ann #dev")
	nc.Until("* ann joined")
	ctx, cancel := context.WithTimeout(t.Context(), netsvctest.Patience)
	defer cancel()
	frozen := func() (frames string) {
		s.Service.LeaveDoors()
		if err := s.Service.Freeze(ctx); err != nil {
			t.Fatal(err)
		}
		ann.send("PRIVMSG #lobby :into the void")
		members, err := s.Service.HandOver(func(kind string, v any, _ ...int) error {
			b, err := json.Marshal(v)
			frames += kind + " " + string(b) + "\n"
			return err
		})
		if err != nil || members != 1 || strings.Contains(frames, "door ") || strings.Contains(frames, "rooms sessions ") {
			t.Fatal(members, err, frames)
		}
		return frames
	}
	if frames := frozen(); strings.Count(frames, `"lost":["ann"]`) != 2 {
		t.Error(frames)
	}
	s.Service.Thaw()
	nc.Until("<ann> into the void")
	ann.expect("PRIVMSG #dev :still here")
	frozen()
	gone := make(chan bool)
	go func() {
		s.Service.Abandon(netsvctest.Patience)
		close(gone)
	}()
	for _, c := range []*ircClient{ann, idle, silent} {
		c.until("ERROR :the server is being upgraded")
		if rest, _ := io.ReadAll(c.in); len(rest) > 0 {
			t.Errorf("and then %q", rest)
		}
		c.Close()
	}
	<-gone
	if ctx.Err() != nil {
		t.Error("the old process was needed for too long")
	}
	s.Service.Thaw() // for the stop
}
