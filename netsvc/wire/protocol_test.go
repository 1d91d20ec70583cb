package wire_test

import (
	"slices"
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

func TestDetectProtocol(t *testing.T) {
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
		{"get / http/1.0", false, wire.HTTP},
		{"Get / Http/3", false, wire.HTTP},
		{"GET / HTTP/1.1 ", false, wire.HTTP},
		{"GET x HTTP/1.0", false, wire.HTTP},
		{"GET /", false, wire.HTTP}, // 0.9
		{"get /index.html", false, wire.HTTP},
		{"get /" + strings.Repeat("x", 4000), true, wire.HTTP},
		{"OPTIONS / RTSP/1.0", false, wire.RTSP},
		{"DESCRIBE rtsp://host/x RTSP/1.0", false, wire.RTSP},
		{"options * rtsp/2.0", false, wire.RTSP},
		{"OPTIONS sip:nm SIP/2.0", false, wire.SIP},
		{"REGISTER sips:host SIP/2.0", false, wire.SIP},
		{"INVITE tel:+49123 sip/2.0", false, wire.SIP},
		{"*1", false, wire.Redis},
		{"*13", false, wire.Redis},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443", false, wire.Proxy},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 4124 443", false, wire.Proxy},
		{"PROXY UNKNOWN", false, wire.Proxy},
		{"PROXY UNKNOWN ffff::1 ffff::2 1 2", false, wire.Proxy},
		{"\x00\r\nQUIT\n\x21\x11\x00\x0c", false, wire.Proxy}, // version 2, behind two line ends
		{"\x00\x00\x00\x85\xffSMBr", false, wire.SMB},
		{"\x00\x00\x00\x85\xfeSMB@", false, wire.SMB},
		{"\x03\x00\x00\x13\x0e\xe0\x00\x00", false, wire.RDP},
		{"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", false, wire.SOCKS},
		{"\x05\x01\x00", false, wire.SOCKS},
		{"\x05\x02\x00\x02", false, wire.SOCKS},
		{"\x16", false, wire.Binary},
		{"\x00", false, wire.Binary},
		{"JRMI\x00\x02K", false, wire.Binary},
		{"\x01default", false, wire.Binary},
		{"hello\x02", false, wire.Binary},
		{"\x16\x03\x01", false, wire.TLS},
		{"\x16\x03\x00", false, wire.TLS},
		{"\x16\x03\x04", false, wire.TLS},
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", false, wire.SSH},
		{"SSH-1.99-Cisco", false, wire.SSH},
		{"SSH-2.0-" + strings.Repeat("x", 4000), true, wire.SSH},

		{"", false, none},
		{"GET", false, none},
		{"GET / HTTP/", false, none},
		{"GET / HTTP/x", false, none},
		{"GET  HTTP/1.1", false, none},
		{" / HTTP/1.1", false, none},
		{"DELETE lobby key", false, none},
		{"CREATE lobby 4you", false, none}, // a digit there is no version
		{"LIST /x", false, none},
		{"JOIN lobby", false, none},
		{"USER guide?", false, none},
		{"HELP", false, none},
		{"EHLO", false, none},
		{"EHLO mail.example.org", false, none},
		{"PING", false, none},
		{"NICK ann", false, none},
		{"GET a coffee", false, none},
		{"GET / and a coffee", false, none},
		{"get me HTTP/2 please", false, none},
		{"I love HTTP/2", false, none},
		{"GET coffee", false, none},
		{"GET", false, none},
		{"POST /x", false, none},
		{"DELETE lobby HTTP/1.1", false, none}, // a request of ours
		{"ask sip:ann about SIP/x", false, none},
		{"PROXY", false, none},
		{"PROXY settings?", false, none},
		{"PROXY TCP4 is down again, or not", false, none},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 56324 99999", false, none},
		{"*", false, none},
		{"*waves*", false, none},
		{"*1 is a star", false, none},
		{"* 1", false, none},
		{"$5", false, none},
		{"\x1b[A", false, none}, // a key
		{"tab\tand \a\b\v\f", false, none},
		{"\x7f", false, none},
		{"CREATE a\x00b", false, none}, // begins like a request, or a command, of ours
		{"/nick a\x01", false, none},
		{"WE ALL LIKE HTTP/2", false, none},
		{"hello HTTP/1.1", false, none},
		{"HELLO " + strings.Repeat("x", 4000), true, none},
		{"hello /" + strings.Repeat("x", 4000), true, none},
		{strings.Repeat("X", 4096), true, none},
		{"GET ht", true, none},
		{"GET htt", true, none},
		{"SSH-2.0", false, none},
		{"SSH-2.0-", false, none},
		{"SSH-keys are in the wiki", false, none},
		{"SSH-2.x-y", false, none},
		{"ssh-2.0-x", false, none},
		{"I use SSH-2.0-OpenSSH", false, none},
	} {
		if got := wire.DetectProtocol([]byte(c.line), c.over); got != c.want {
			t.Errorf("Foreign(%.60q, %v) = %q", c.line, c.over, got)
		}
	}
}

func FuzzDetectProtocol(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1", "SSH-2.0-x", "\x16\x03\x01", "LIST", "GET /"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, line []byte, over bool) {
		p := wire.DetectProtocol(line, over)
		if p != "" && !slices.Contains(wire.Protocols, p) {
			t.Errorf("%q is of %q", line, p)
		}
		// No line of roomd's protocol is taken for another protocol.
		text := wire.Clean(line)
		if req, err := wire.ParseRequest(text); err == nil && p != "" {
			t.Errorf("%q is of %q and the request %v", line, p, req)
		}
		if isText := wire.DetectProtocol([]byte(text), over) == p; p != "" && isText && (text[0] == '/' || text[0] == ' ') {
			t.Errorf("%q is of %q", line, p)
		}
	})
}
