package handshake

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

func v2(t testing.TB, from, to string, tlv int) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if tlv > 0 {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, tlv)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is behind the header is left to be read.
func TestReadHeader(t *testing.T) {
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 51234 9000\r\n":               "192.0.2.7:51234",
		"PROXY TCP6 2001:db8::7 2001:db8::1 51234 9000\r\n":              "[2001:db8::7]:51234",
		"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 51234 9000\r\n": "192.0.2.7:51234",
		"PROXY UNKNOWN\r\n":                                     "invalid AddrPort",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00":                "invalid AddrPort", // LOCAL
		v2(t, "192.0.2.7:51234", "198.51.100.1:9000", 0):        "192.0.2.7:51234",
		v2(t, "[2001:db8::7]:51234", "[2001:db8::1]:9000", 300): "[2001:db8::7]:51234",
	} {
		r := strings.NewReader(header + "hello\n")
		got, err := readHeader(r)
		rest, _ := io.ReadAll(r)
		if err != nil || got.String() != want || string(rest) != "hello\n" {
			t.Errorf("%q: %v, %v; left %q", header, got, err, rest)
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	for _, text := range []string{
		"", "hello\n", "PROXY", "PROXY \r\n", "PROXY TCP4 192.0.2.7\r\n", "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 0 70000\r\n", "PROXY " + strings.Repeat("x", 1<<16), "\r\n\r\n\x00\r\nQUIT\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff",
		v2(t, "192.0.2.7:51234", "198.51.100.1:9000", 0)[:20],
	} {
		if got, err := readHeader(strings.NewReader(text)); err == nil {
			t.Errorf("%.40q: %v", text, got)
		}
	}
}

// Whatever comes, the reader ends, takes little, and takes nothing twice.
func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 51234 9000\r\nhello\n"))
	f.Add([]byte(v2(f, "192.0.2.7:51234", "198.51.100.1:9000", 20)))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		client, err := readHeader(r)
		if taken := len(text) - r.Len(); err == nil && taken < 15 || taken > 5<<10 {
			t.Errorf("%d bytes are a header: %v, %v", taken, client, err)
		}
	})
}
