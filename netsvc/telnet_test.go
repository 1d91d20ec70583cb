package netsvc_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

// raw sends bytes as they are.
func (p *peer) raw(text string) {
	p.T.Helper()
	if _, err := io.WriteString(p.Conn, text); err != nil {
		p.T.Fatal(err)
	}
}

// bytes expects the next bytes.
func (p *peer) bytes(want string) {
	p.T.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(p.In, b); err != nil || string(b) != want {
		p.T.Fatalf("got %q, %v, want %q", b, err, want)
	}
}

// A telnet client is answered what it asks, so that it shows again what it gets;
// its keys are lines, whatever ends them, and can be taken back.
func TestTelnet(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port, den := s.Create("lobby"), s.createLocked("den", "secret")
		const (
			interrupt  = "\xff\xf4\xff\xfd\x06" // what Ctrl-C sends: IP, DO TIMING-MARK
			characters = "\xff\xfd\x03\xff\xfd\x01\xff\xfb\x22"
			refused    = "\xff\xfc\x03\xff\xfc\x01\xff\xfe\x22"
			there      = "\xff\xf6"
		)
		ann := join(t, port)
		ann.raw(interrupt)
		ann.bytes("\xff\xfc\x06")
		ann.raw(interrupt) // each time
		ann.bytes("\xff\xfc\x06")
		ann.raw(there)
		ann.Expect("* lobby: the server is here")
		ann.raw("\xff\xfe\x01\xff\xfc\x01") // DONT and WONT are not answered
		ann.raw(characters)
		ann.bytes(refused)
		for _, key := range []string{"h", "é", "\x7f", "u", "\b", "ello", "\r"} {
			ann.raw(key)
		}
		ann.Expect("<guest-1> hello")
		ann.raw("\x00two\r\x00three\r\nfour\nfi\x00\bve\r")
		ann.Expect("<guest-1> two", "<guest-1> three", "<guest-1> four", "<guest-1> five")
		ann.raw("\x00/json\r\x00" + there)
		ann.Expect(`{"type":"ok","command":"json"}`)
		if l := ann.Line(); !strings.Contains(l, `"type":"notice","text":"lobby: the server is here"`) {
			t.Errorf("got %q", l)
		}

		gate := dial(t, den)
		gate.Expect("* this room has a password: /pass PASSWORD")
		gate.raw(interrupt + characters + there)
		gate.bytes("\xff\xfc\x06" + refused)
		gate.Expect("* the server is here")
		gate.raw("/pass secrx\bet\r") // and what ends that line is not seen before
		gate.Expect("* den: 1 here, you are guest-1 (/help)", "* guest-1 joined (1 here)")
		gate.raw("\nhellp\x7fo\r\x00\xff\xfb\x18")
		gate.bytes("\xff\xfe\x18")
		gate.Expect("<guest-1> hello")

		master := dial(t, s.Service.Port())
		master.raw(characters)
		master.bytes(refused)
		master.raw(interrupt + there)
		master.bytes("\xff\xfc\x06")
		master.Expect("OK the server is here")
		master.raw("LIST nowhex\bre\r")
		master.Expect("OK 0")
		master.raw("\x00LIST nowhere\r\nLIST nowhere\r\x00")
		master.Expect("OK 0", "OK 0")

		// A flood of requests is not answered one by one, and harms nobody.
		flood := dial(t, port)
		for range 100 {
			flood.raw(strings.Repeat("\xff\xfd\x06", 10000))
		}
		flood.raw("done\n")
		got := 0
		for {
			l := flood.Line()
			if got += strings.Count(l, "\xff\xfc\x06"); strings.HasSuffix(l, "<guest-2> done") {
				break
			}
		}
		if got == 0 || got > 300000 {
			t.Errorf("%d answers", got)
		}
	})
}

// A byte order mark at the beginning of a stream is no part of its first line.
func TestByteOrderMark(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		port, den := s.Create("lobby"), s.createLocked("den", "secret")
		ann := dial(t, port)
		ann.Send("\ufeff/me waves", "\ufeffagain")
		ann.Until("* guest-1 joined")
		ann.Expect("<guest-1> * waves", "<guest-1> \ufffdagain")
		bob := dial(t, den)
		bob.Send("\ufeff/pass secret", "\ufeffhi") // the stream begins once
		bob.Until("* guest-1 joined")
		bob.Expect("<guest-1> \ufffdhi")
		master := dial(t, s.Service.Port())
		master.Send("\ufeffLIST nowhere", "LIST nowhere")
		master.Expect("OK 0", "OK 0")
		web := dial(t, port)
		web.Send("\ufeffGET / HTTP/1.1")
		if got, err := io.ReadAll(web.In); err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if said := s.said("lobby"); len(said) != 2 {
			t.Errorf("said: %q", said)
		}
	})
}

// foreignFirst is what clients of other protocols send first, and what they are
// counted as.
var foreignFirst = []struct {
	bytes string
	kind  wire.Protocol
}{
	{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", wire.HTTP},
	{"get / http/1.0\r\nhost: x\r\n\r\n", wire.HTTP},
	{"GET /\r\n", wire.HTTP},
	{"\r\n\r\nPOST / HTTP/1.1\nhello\n", wire.HTTP},
	{"OPTIONS / RTSP/1.0\r\nCSeq: 1\r\n\r\n", wire.RTSP},
	{"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n", wire.SIP},
	{"*1\r\n$4\r\nPING\r\n", wire.Redis},
	{"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nhello\r\n", wire.Proxy},
	{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\xdc\x04\x01\xbbhello\n", wire.Proxy},
	{"SSH-2.0-x\r\nhello\r\n", wire.SSH},
	{clientHello + "\nhello\n", wire.TLS},
	{"\x00\x00\x00\xa4\xff\x53\x4d\x42\x72\x00\x00\n\x00\x00hello\n", wire.SMB},
	{"\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x00\x00", wire.RDP},
	{"\x05\x01\x00", wire.SOCKS},
	{"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", wire.SOCKS},
	{"\x01default\nhello\n", wire.Binary},
	{"l\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00", wire.Binary},
	{"hello\x00\nhello\n", wire.Binary},
}

const clientHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // the beginning of a TLS handshake

// What speaks another protocol is closed at its first line, which need not be
// complete, is counted by kind, and nothing of what it sends is said.
func TestForeignFirst(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		ports := []int{s.Create("lobby"), s.createLocked("den", "secret"), s.Service.Port()}
		want := make(map[wire.Protocol]uint64)
		for _, f := range foreignFirst {
			for _, port := range ports {
				want[f.kind]++
				p := dial(t, port)
				p.raw(f.bytes)
				if got, err := io.ReadAll(p.In); err != nil {
					t.Errorf("%q: %q, %v", f.bytes, got, err)
				}
			}
		}
		got := s.Service.Counters().Foreign
		for _, kind := range wire.Protocols {
			if got[kind] != want[kind] || want[kind] == 0 {
				t.Errorf("%s is counted %d times, not %d", kind, got[kind], want[kind])
			}
		}
		// What a person might say first is said.
		first := []string{"USER guide?", "HELP", "EHLO", "GET a coffee", "PROXY settings?", "\a\x1b[Aup", "*waves*", "NICK"}
		var clean []string
		for _, text := range first {
			p := dial(t, ports[0])
			p.Send(text)
			clean = append(clean, wire.Clean([]byte(text)))
			eventually(t, "it is said", func() bool { return len(s.said("lobby")) == len(clean) })
		}
		if said := s.said("lobby"); !slices.Equal(said, clean) {
			t.Errorf("said: %q", said)
		}
		if n := s.Service.Counters().Ended["foreign"]; n == 0 {
			t.Errorf("%d members have ended so", n)
		}
	})
}
