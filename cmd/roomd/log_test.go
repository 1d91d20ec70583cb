package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Whatever gets into a log line, it cannot harm the terminal it is read on, nor
// look like another line.
func TestLogIsPrintable(t *testing.T) {
	const bad = "a\x1b[2J\u009b31m\u202e\xff\nlevel=ERROR msg=faked\u2028{\"level\":\"ERROR\"}"
	for _, format := range []string{"text", "json"} {
		c := defaults()
		c.Log.Format = format
		var b bytes.Buffer
		tap, _ := newTap(c, &b)
		log := slog.New(tap)
		log.Info(bad, "text", bad, "error", errors.New(bad), slog.Group("g", "in", bad))
		got := b.String()
		if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\u009b\u202e\u2028") || strings.ContainsRune(got, '\xff') {
			t.Errorf("%s: %q", format, got)
		}
		if n := strings.Count(got, `[2J`); n != 4 {
			t.Errorf("%s: %d texts are there: %q", format, n, got)
		}
	}
}
