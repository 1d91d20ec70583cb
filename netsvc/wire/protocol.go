package wire

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Protocol is another protocol than that of roomd.
type Protocol string

const (
	HTTP   Protocol = "http"
	RTSP   Protocol = "rtsp"
	SIP    Protocol = "sip"
	Redis  Protocol = "redis"
	Proxy  Protocol = "proxy" // the header of a load balancer's PROXY protocol
	SSH    Protocol = "ssh"
	TLS    Protocol = "tls"
	SMB    Protocol = "smb"
	RDP    Protocol = "rdp"
	SOCKS  Protocol = "socks"
	Binary Protocol = "binary" // any other bytes that are no text
)

// Protocols are all that DetectProtocol detects.
var Protocols = []Protocol{HTTP, RTSP, SIP, Redis, Proxy, SSH, TLS, SMB, RDP, SOCKS, Binary}

// DetectProtocol returns the protocol that a connection's first line belongs to; "": that of
// roomd. over says that the line was too long, and this is its head.
//
// A browser must never be made to speak to roomd, and an HTTP request is all that a page can
// make it send first. The other protocols would fill a room with noise. Only the exact form
// of a request counts: all that a person might say first is a message.
func DetectProtocol(line []byte, over bool) Protocol {
	if bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && classes[r]&classBinary != 0 }) && !isOurs(line) {
		return binary(line)
	}
	switch {
	case isSSH(line):
		return SSH
	case isProxy(line):
		return Proxy
	case isRedis(line):
		return Redis
	}
	return request(line, over)
}

// Answer is what a client of another protocol is told at the master port, in a form that the client
// shows to a person.
func (p Protocol) Answer() []byte {
	const text = "this is roomd, a chat server for plain text; speak to it with nc"
	switch p {
	case HTTP:
		// curl prints the body, a browser shows it.
		return fmt.Appendf(nil, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s\n", text)
	case Redis:
		return []byte("-ERR " + text + "\r\n")
	case TLS:
		// A record with a fatal alert: handshake_failure (RFC 8446, section 6).
		return []byte{21, 3, 1, 0, 2, 2, 40}
	}
	// An SSH client shows lines before the identification (RFC 4253, section 4.2).
	return []byte("ERR bad-request " + text + "\r\n")
}

// IsHTTP reports whether the first five bytes of a connection that should speak TLS are those of an
// HTTP request.
func IsHTTP(head []byte) bool {
	methods := []string{"GET /", "POST ", "HEAD ", "PUT /", "OPTIO", "CONNE", "PATCH", "TRACE"}
	return slices.ContainsFunc(methods, func(method string) bool { return strings.HasPrefix(string(head), method) })
}

// isOurs reports whether a line begins like a command or a request of roomd: its mistakes are
// answered as such.
func isOurs(line []byte) bool {
	word, _, ok := strings.Cut(string(line), " ")
	return bytes.HasPrefix(line, []byte("/")) || ok && slices.ContainsFunc(verbs, func(v verb) bool { return strings.EqualFold(string(v.verb), word) })
}

// binary returns the protocol of a first line that is no text.
func binary(line []byte) Protocol {
	at := func(i int) byte {
		if i < len(line) {
			return line[i]
		}
		return 0
	}
	switch {
	case len(line) >= tlsPrefix && isTLS(line[:tlsPrefix]):
		return TLS
	case bytes.HasPrefix(line, []byte("\x00\r\nQUIT\n")): // version 2, after two line ends
		return Proxy
	case at(0) == 0 && (bytes.HasPrefix(line[min(4, len(line)):], []byte("\xffSMB")) || bytes.HasPrefix(line[min(4, len(line)):], []byte("\xfeSMB"))):
		return SMB // MS-SMB2, section 2.1: the length, and the protocol's name
	case at(0) == 3 && at(1) == 0 && at(5) == 0xe0:
		return RDP // a TPKT header (RFC 1006) and an X.224 connection request
	case at(0) == 4 && (at(1) == 1 || at(1) == 2) && len(line) >= 8, at(0) == 5 && at(1) > 0 && len(line) == 2+int(at(1)):
		return SOCKS // version 4; version 5 (RFC 1928): the number of methods, and each
	}
	return Binary
}

// request returns the protocol of a line METHOD SP target SP NAME/version (RFC 9112, section
// 3, and the protocols that follow it), in any case, or GET SP path (HTTP/0.9).
func request(line []byte, over bool) Protocol {
	method, rest, ok := strings.Cut(strings.TrimRight(string(line), " \t"), " ")
	if !ok || !isMethod(method) {
		return ""
	}
	method = strings.ToUpper(method)
	if over {
		// The version is cut off: a target that begins like one is enough.
		const scheme = "http"
		if known := commonMethods[method]; (known || strings.HasPrefix(string(line), method)) &&
			(strings.HasPrefix(rest, "/") || len(rest) >= len(scheme) && strings.EqualFold(rest[:len(scheme)], scheme)) {
			return HTTP
		}
		return ""
	}
	target, version, ok := strings.Cut(rest, " ")
	if !ok {
		if method == "GET" && strings.HasPrefix(target, "/") {
			return HTTP
		}
		return ""
	}
	name, number, ok := strings.Cut(version, "/")
	if !ok || !isVersion(number) {
		return ""
	}
	switch {
	case strings.EqualFold(name, "SIP") && strings.Contains(target, ":"):
		return SIP
	case target == "" || !commonMethods[method] && !isTarget(target):
		return ""
	case strings.EqualFold(name, "HTTP"):
		return HTTP
	case strings.EqualFold(name, "RTSP"):
		return RTSP
	}
	return ""
}

// commonMethods are the methods of HTTP that are no words of roomd: they may have any target.
var commonMethods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "OPTIONS": true, "TRACE": true, "CONNECT": true,
}

// isMethod reports whether a word has letters, "-" and "_" only.
func isMethod(word string) bool {
	for _, b := range []byte(word) {
		if (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') && b != '-' && b != '_' {
			return false
		}
	}
	return word != ""
}

// isTarget reports whether a word is a path, a URL or *.
func isTarget(word string) bool {
	return word == "*" || strings.HasPrefix(word, "/") || strings.Contains(word, "://")
}

// isVersion reports whether a word is a number, or two with "." between them.
func isVersion(word string) bool {
	major, minor, two := strings.Cut(word, ".")
	return isDigits(major) && (!two || isDigits(minor))
}

func isDigits(word string) bool { return word != "" && strings.Trim(word, "0123456789") == "" }

// isSSH reports whether a line is SSH-version-software (RFC 4253, section 4.2).
func isSSH(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("SSH-"))
	if !ok {
		return false
	}
	version, software, ok := bytes.Cut(rest, []byte("-"))
	return ok && len(software) > 0 && len(version) > 2 && version[1] == '.' && bytes.Trim(version, "0123456789.") == nil
}

// isRedis reports whether a line begins an array of RESP, the protocol of Redis.
func isRedis(line []byte) bool {
	n, ok := bytes.CutPrefix(line, []byte("*"))
	return ok && len(n) < 8 && isDigits(string(n))
}

// isProxy reports whether a line is the header of version 1 of the PROXY protocol
// (its specification, section 2.1).
func isProxy(line []byte) bool {
	words := strings.Split(string(line), " ")
	switch {
	case len(words) < 2 || words[0] != "PROXY":
		return false
	case words[1] == "UNKNOWN":
		return true
	case len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6":
		return false
	}
	for _, addr := range words[2:4] {
		if addr == "" || strings.Trim(addr, "0123456789abcdefABCDEF.:") != "" {
			return false
		}
	}
	for _, port := range words[4:] {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
	}
	return true
}

// tlsPrefix is how many bytes distinguish TLS from text.
const tlsPrefix = 3

// isTLS reports whether a handshake record begins with these bytes (RFC 8446, section 5.1):
// its type, and a version from SSL 3.0 to TLS 1.3. No text begins so.
func isTLS(head []byte) bool {
	for i, b := range head {
		switch {
		case i == 0 && b != 0x16, i == 1 && b != 3, i == 2 && b > 4:
			return false
		}
	}
	return true
}
