package output

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/netsvc"
)

const patience = 20 * time.Second

// Whatever gets into a log line, it cannot harm the terminal it is read on, nor
// look like another line.
func TestLogIsPrintable(t *testing.T) {
	const bad = "a\x1b[2J\u009b31m\u202e\xff\nlevel=ERROR msg=faked\u2028{\"level\":\"ERROR\"}"
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := slog.New(NewLog(&b, format, netsvc.Printable))
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

// The journal is given the priority of each line and no time; anybody else is
// not, also where the variable has been handed down from a service.
func TestJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	for _, try := range []struct {
		stream, format string
		want           []string
	}{
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino), "text", []string{"<7>level=DEBUG msg=d a=1\n", "<6>level=INFO msg=i a=1\n", "<4>level=WARN msg=w a=1\n", "<3>level=ERROR msg=e a=1\n"}},
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino), "json", []string{"<7>{\"time\":", "\n<6>{\"time\":", "\n<4>{\"time\":", "\n<3>{\"time\":"}},
		{fmt.Sprintf("%d:%d", st.Dev, st.Ino+1), "text", []string{"level=DEBUG msg=d a=1\n", "level=INFO"}},
		{"", "text", []string{"level=DEBUG msg=d a=1\n", "level=INFO"}},
		{"x", "text", []string{"level=DEBUG msg=d a=1\n", "level=INFO"}},
	} {
		t.Setenv("JOURNAL_STREAM", try.stream)
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		out := New(f)
		log := slog.New(NewLog(out, try.format, netsvc.Printable)).With("a", 1)
		log.Debug("d")
		log.Info("i")
		log.Warn("w")
		log.Error("e")
		out.Flush(patience)
		if got := string(out.droppedLine(3)); strings.HasPrefix(got, "<4>") != strings.HasPrefix(try.want[0], "<") {
			t.Errorf("%+v: the line about lines that were dropped is %q", try, got)
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if got := string(text); strings.HasPrefix(got, "<") != strings.HasPrefix(try.want[0], "<") {
			t.Errorf("%+v: %q", try, got)
		}
		for _, want := range try.want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%+v: there is no %q in %q", try, want, text)
			}
		}
	}
}
