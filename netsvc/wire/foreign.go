package wire

import "bytes"

// HTTP reports whether a connection's first line is the first line of an HTTP
// request: METHOD SP target SP HTTP/digit (RFC 9112, section 3). A browser
// must never be made to speak to us, and a request is the only thing that a
// page can make it send first. Any word of capitals counts as a method.
//
// over says that the line was too long and this is its head only; then the
// version is not there to be seen, and a target that begins like one is enough.
func HTTP(line []byte, over bool) bool {
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
