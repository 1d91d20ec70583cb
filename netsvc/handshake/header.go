package handshake

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// readHeader reads the header with which a proxy begins a connection, of version 1 or 2
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), and no byte more. It
// returns the address of the client, or the zero AddrPort if the connection is the
// proxy's own (its health check) or the proxy does not know the address. Anything else
// than a header, also a part of one, is an error.
//
// It reads no buffer full at a time, as the bytes behind the header are the client's.
func readHeader(r io.Reader) (client netip.AddrPort, err error) {
	text, err := readText(r)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("read the PROXY header: %w", err)
	}
	source, ok := header.SourceAddr.(*net.TCPAddr)
	if header.Command.IsLocal() || !ok {
		return netip.AddrPort{}, nil
	}
	client = source.AddrPort()
	return netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), nil
}

// Sizes of headers, in bytes.
const (
	leastBytes = len("PROXY UNKNOWN\r\n")
	v1Bytes    = 107     // at most
	v2Head     = 16      // before the addresses, with their length in the last two
	v2Bytes    = 4 << 10 // at most, with what a proxy adds
)

var errNoHeader = errors.New("the connection does not begin with a PROXY header")

// readText reads the bytes of a header, which are not looked at beyond what says where it
// ends.
func readText(r io.Reader) ([]byte, error) {
	b := make([]byte, leastBytes, v1Bytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	more := func(n int) error {
		b = append(b, make([]byte, n)...)
		_, err := io.ReadFull(r, b[len(b)-n:])
		return err
	}
	switch {
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		for b[len(b)-1] != '\n' {
			if len(b) == v1Bytes {
				return nil, errNoHeader
			}
			if err := more(1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case bytes.HasPrefix(b, proxyproto.SIGV2):
		if err := more(v2Head - leastBytes); err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint16(b[v2Head-2:]))
		if n > v2Bytes-v2Head {
			return nil, errNoHeader
		}
		return b, more(n)
	}
	return nil, errNoHeader
}
