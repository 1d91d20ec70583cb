package netsvc

import (
	"fmt"

	"roomd/netsvc/wire"
)

// foreignAnswer is what the master port says to a client of another protocol,
// in such a form that the client shows it to a person.
func foreignAnswer(p wire.Protocol) []byte {
	const what = "this is roomd, a chat server for plain text; speak to it with nc"
	switch p {
	case wire.HTTP:
		// curl prints the body, a browser shows it.
		return fmt.Appendf(nil, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s\n", what)
	case wire.Redis:
		return []byte("-ERR " + what + "\r\n")
	case wire.TLS:
		// A record with a fatal alert: handshake_failure (RFC 8446, section 6).
		return []byte{21, 3, 1, 0, 2, 2, 40}
	}
	// An SSH client shows lines before the identification (RFC 4253, section 4.2).
	return []byte("ERR bad-request " + what + "\r\n")
}
