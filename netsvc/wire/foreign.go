package wire

import "bytes"

// Protocol is another protocol than ours.
type Protocol string

const (
	HTTP Protocol = "http"
	TLS  Protocol = "tls"
	SSH  Protocol = "ssh"
)

// Protocols are those that are recognised.
var Protocols = []Protocol{HTTP, TLS, SSH}

// Foreign tells which other protocol a connection's first line is of, or "" for
// ours. over says that the line was too long and this is its head only.
//
// A browser must never be made to speak to us, and an HTTP request is the only
// thing that a page can make it send first. What speaks TLS or SSH would fill a
// room with noise.
func Foreign(line []byte, over bool) Protocol {
	switch {
	case isHTTP(line, over):
		return HTTP
	case len(line) == tlsHead && isTLS(line):
		return TLS
	case isSSH(line):
		return SSH
	}
	return ""
}

// isHTTP reports whether a line is METHOD SP target SP HTTP/digit (RFC 9112,
// section 3). Any word of capitals counts as a method. Of a line that was too
// long the version is not there to be seen, and a target that begins like one is
// enough.
func isHTTP(line []byte, over bool) bool {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || !isMethod(method) {
		return false
	}
	if over {
		const scheme = "http"
		return bytes.HasPrefix(rest, []byte("/")) ||
			len(rest) >= len(scheme) && bytes.EqualFold(rest[:len(scheme)], []byte(scheme))
	}
	target, version, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(target) == 0 {
		return false
	}
	number, ok := bytes.CutPrefix(version, []byte("HTTP/"))
	return ok && len(number) > 0 && number[0] >= '0' && number[0] <= '9'
}

func isMethod(word []byte) bool {
	for _, b := range word {
		if (b < 'A' || b > 'Z') && b != '-' && b != '_' {
			return false
		}
	}
	return len(word) > 0
}

// isSSH reports whether a line is an identification, SSH-version-software (RFC
// 4253, section 4.2).
func isSSH(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("SSH-"))
	if !ok {
		return false
	}
	version, software, ok := bytes.Cut(rest, []byte("-"))
	return ok && len(software) > 0 && len(version) > 2 && version[1] == '.' && bytes.Trim(version, "0123456789.") == nil
}

// tlsHead is how many bytes tell TLS from text.
const tlsHead = 3

// isTLS reports whether bytes are the first of a handshake record (RFC 8446,
// section 5.1): its type, and a version from SSL 3.0 to TLS 1.3. No text begins
// with them.
func isTLS(head []byte) bool {
	for i, b := range head {
		switch {
		case i == 0 && b != 0x16, i == 1 && b != 3, i == 2 && b > 4:
			return false
		}
	}
	return true
}
