package wire_test

import (
	"slices"
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

func TestForeign(t *testing.T) {
	const none = wire.Protocol("")
	for _, c := range []struct {
		line string
		over bool
		want wire.Protocol
	}{
		{"GET / HTTP/1.1", false, wire.HTTP},
		{"POST /LIST HTTP/1.0", false, wire.HTTP},
		{"PRI * HTTP/2.0", false, wire.HTTP},
		{"CONNECT host:9000 HTTP/1.1", false, wire.HTTP},
		{"OPTIONS http://host/ HTTP/1.1", false, wire.HTTP},
		{"VERSION-CONTROL /x HTTP/1.1", false, wire.HTTP},
		{"MY_METHOD / HTTP/1.1", false, wire.HTTP},
		{"GET /" + strings.Repeat("x", 10000) + " HTTP/1.1", false, wire.HTTP}, // where the limit allows it
		{"GET /" + strings.Repeat("x", 4000), true, wire.HTTP},
		{"GET HTTP://host/", true, wire.HTTP},
		{"\x16\x03\x01", false, wire.TLS},
		{"\x16\x03\x00", false, wire.TLS},
		{"\x16\x03\x04", false, wire.TLS},
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", false, wire.SSH},
		{"SSH-1.99-Cisco", false, wire.SSH},
		{"SSH-2.0-" + strings.Repeat("x", 4000), true, wire.SSH},

		{"", false, none},
		{"GET", false, none},
		{"GET /", false, none},
		{"GET / HTTP/", false, none},
		{"GET / HTTP/x", false, none},
		{"GET  HTTP/1.1", false, none},
		{" / HTTP/1.1", false, none},
		{"get / HTTP/1.1", false, none},
		{"DELETE lobby key", false, none},
		{"CREATE lobby 4you", false, none}, // a digit there is no version
		{"LIST /x", false, none},
		{"JOIN lobby", false, none},
		{"WE ALL LIKE HTTP/2", false, none},
		{"hello HTTP/1.1", false, none},
		{"HELLO " + strings.Repeat("x", 4000), true, none},
		{"hello /" + strings.Repeat("x", 4000), true, none},
		{strings.Repeat("X", 4096), true, none},
		{"GET ht", true, none},
		{"GET htt", true, none},
		{"\x16\x03\x05", false, none},
		{"\x17\x03\x01", false, none},
		{"\x16\x03", false, none},
		{"\x16\x03\x01 as text", false, none}, // the framer gives the first three bytes alone
		{"SSH-2.0", false, none},
		{"SSH-2.0-", false, none},
		{"SSH-keys are in the wiki", false, none},
		{"SSH-2.x-y", false, none},
		{"ssh-2.0-x", false, none},
		{"I use SSH-2.0-OpenSSH", false, none},
	} {
		if got := wire.Foreign([]byte(c.line), c.over); got != c.want {
			t.Errorf("Foreign(%.60q, %v) = %q", c.line, c.over, got)
		}
	}
}

func FuzzForeign(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1", "SSH-2.0-x", "\x16\x03\x01", "LIST", "GET /"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, line []byte, over bool) {
		p := wire.Foreign(line, over)
		if p != "" && !slices.Contains(wire.Protocols, p) {
			t.Errorf("%q is of %q", line, p)
		}
		// Nothing that we understand is taken for something else.
		text := wire.Clean(line)
		if req, err := wire.ParseRequest(text); err == nil && p != "" {
			t.Errorf("%q is of %q and the request %v", line, p, req)
		}
		if p != "" && (text[0] == '/' || text[0] == ' ') {
			t.Errorf("%q is of %q", line, p)
		}
	})
}
