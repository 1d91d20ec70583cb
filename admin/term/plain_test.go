package term

import (
	"io"
	"strings"
	"testing"
)

// A byte order mark before the first line is no part of it.
func TestPlainByteOrderMark(t *testing.T) {
	e := newPlain(Options{In: io.NopCloser(strings.NewReader("\ufeffstatus\n\ufeffrooms")), Out: io.Discard})
	defer e.Close()
	for _, want := range []string{"status", "\ufeffrooms"} {
		if got, err := e.ReadLine(); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}
