package irc

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestSupport(t *testing.T) {
	for _, c := range []struct {
		support Support
		client  string
		lines   int
	}{
		{Support{Network: "roomd", LineBytes: 4096}, "ann", 2},
		{Support{Network: "a = b\\" + strings.Repeat("x", 200), LineBytes: 64, Rooms: 20}, strings.Repeat("長", 32), 3},
	} {
		var got []string
		lines := 0
		for line := range bytes.Lines(c.support.append(nil, "irc.example.org", c.client)) {
			m := parseOut(t, line)
			tokens := m.Params[1 : len(m.Params)-1]
			if m.Command != "005" || len(tokens) > 13 || m.Params[len(m.Params)-1] != "are supported by this server" || m.Params[0] != c.client {
				t.Errorf("%q", line)
			}
			got = append(got, tokens...)
			lines++
		}
		if !slices.Equal(got, c.support.tokens()) || lines != c.lines {
			t.Errorf("%d lines: %q", lines, got)
		}
	}
	s := Support{Network: `a = b\`, LineBytes: 64, Rooms: 20}
	for _, want := range []string{`NETWORK=a\x20\x3D\x20b\x5C`, "TOPICLEN=64", "CHANLIMIT=#:20", "NICKLEN=32", "CHANNELLEN=33"} {
		if !slices.Contains(s.tokens(), want) {
			t.Errorf("%s: %q", want, s.tokens())
		}
	}
}
