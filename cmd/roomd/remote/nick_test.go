package remote

import (
	"strings"
	"testing"

	"roomd/netsvc/wire"
)

// Whatever a user is called, there is a nick that a server takes.
func TestNickOfUser(t *testing.T) {
	for user, want := range map[string]string{
		"ann": "ann", "": "somebody", "a.b": "ab", "operator": "user-operator", "1000": "user-1000", "0x7f": "user-0x7f", "анна": "somebody",
		strings.Repeat("a", 40): strings.Repeat("a", 20),
	} {
		got := nickFrom(user)
		if _, err := wire.ParseNick(got); err != nil || got != want {
			t.Errorf("%q is %q, and not %q (%v)", user, got, want, err)
		}
	}
}
