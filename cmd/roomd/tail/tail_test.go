package tail

import (
	"strings"
	"testing"

	"roomd/netsvc/client"
)

// A server that means harm cannot get at the terminal.
func TestTailShowsNothingRaw(t *testing.T) {
	bad := "\x1b[2J\u009b31m\u202e\x07\r"
	for _, kind := range []client.Type{client.Message, client.Action, client.Topic} {
		ev := client.Event{Type: kind, From: bad, To: bad, Nick: bad, Text: bad + "ann" + bad, Seq: 1}
		for _, json := range []bool{false, true} {
			p := printer{o: Options{JSON: json}}
			if line := string(p.render(nil, ev)); strings.ContainsAny(line, "\x1b\u009b\u202e\x07\r") {
				t.Errorf("%s: %q", kind, line)
			}
		}
	}
}
