package wire_test

import (
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

func TestHTTP(t *testing.T) {
	for _, c := range []struct {
		line string
		over bool
		want bool
	}{
		{"GET / HTTP/1.1", false, true},
		{"POST /LIST HTTP/1.0", false, true},
		{"PRI * HTTP/2.0", false, true},
		{"CONNECT host:9000 HTTP/1.1", false, true},
		{"OPTIONS http://host/ HTTP/1.1", false, true},
		{"VERSION-CONTROL /x HTTP/1.1", false, true},
		{"MY_METHOD / HTTP/1.1", false, true},
		{"GET /" + strings.Repeat("x", 10000) + " HTTP/1.1", false, true}, // where the limit allows it
		{"GET /" + strings.Repeat("x", 4000), true, true},
		{"GET HTTP://host/", true, true},

		{"", false, false},
		{"GET", false, false},
		{"GET /", false, false},
		{"GET / HTTP/", false, false},
		{"GET / HTTP/x", false, false},
		{"GET  HTTP/1.1", false, false},
		{" / HTTP/1.1", false, false},
		{"get / HTTP/1.1", false, false},
		{"DELETE lobby key", false, false},
		{"CREATE lobby 4you", false, false}, // a digit there is no version
		{"LIST /x", false, false},
		{"JOIN lobby", false, false},
		{"WE ALL LIKE HTTP/2", false, false},
		{"hello HTTP/1.1", false, false},
		{"HELLO " + strings.Repeat("x", 4000), true, false},
		{"hello /" + strings.Repeat("x", 4000), true, false},
		{strings.Repeat("X", 4096), true, false},
		{"GET ht", true, false},
		{"GET htt", true, false},
	} {
		if got := wire.HTTP([]byte(c.line), c.over); got != c.want {
			t.Errorf("HTTP(%.60q, %v) = %v", c.line, c.over, got)
		}
	}
}
