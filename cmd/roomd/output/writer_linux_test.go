package output

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
	"roomd/netsvc"
)

// Nobody waits for a reader that hangs, what is kept for it is bounded, and when
// it reads again it gets all of that in order, and where lines are missing their
// number, in the format of the log.
func TestLogReaderHangsAndReads(t *testing.T) {
	const lines = 20000
	for _, format := range []string{"text", "json"} {
		r, w := roomdtest.NarrowPipe(t)
		out := New(w)
		log := slog.New(NewLog(out, format, netsvc.Printable))
		began := time.Now()
		for i := range lines {
			log.Info("a line that is of no use to anybody who reads it", "number", i)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %d lines took %v", format, lines, took)
		}
		if out.Flush(time.Millisecond); len(out.queue) > maxQueueBytes {
			t.Errorf("%s: %d bytes are kept", format, len(out.queue))
		}
		dropped, waits := out.State()
		if dropped == 0 || waits == 0 {
			t.Errorf("%s: %d dropped, it waits for %v", format, dropped, waits)
		}
		log.Info("dropped as well")
		done := make(chan []string)
		go func() {
			var all []string
			in := bufio.NewScanner(r)
			for in.Scan() {
				all = append(all, in.Text())
			}
			done <- all
		}()
		out.Flush(patience)
		log.Info("last")
		out.Flush(patience)
		w.Close()
		all := <-done
		want := fmt.Sprintf("lines=%d", dropped+1)
		if format == "json" {
			want = fmt.Sprintf(`"lines":%d}`, dropped+1)
		}
		if n := uint64(len(all)); n != lines-dropped+2 {
			t.Fatalf("%s: %d lines, %d of %d were dropped", format, n, dropped, lines)
		}
		for i, l := range all[:len(all)-2] {
			if number := fmt.Sprintf("number=%d", i); !strings.HasSuffix(l, number) && !strings.HasSuffix(l, fmt.Sprintf(`"number":%d}`, i)) {
				t.Fatalf("%s: line %d is %q", format, i, l)
			}
		}
		if report := all[len(all)-2]; !strings.HasSuffix(report, want) || !strings.Contains(report, "WARN") {
			t.Errorf("%s: %q does not say %s", format, report, want)
		}
		if !strings.Contains(all[len(all)-1], "last") {
			t.Errorf("%s: the last line is %q", format, all[len(all)-1])
		}
		if now, waits := out.State(); now != dropped+1 || waits != 0 {
			t.Errorf("%s: %d dropped, it waits for %v", format, now, waits)
		}
	}
}

// A line is there when Write returns, if its reader is well: what follows may be
// the end of the process.
func TestLogLineIsThere(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, want := New(f), ""
	for i := range 200 {
		line := fmt.Sprintf("line %d\n", i)
		want += line
		out.Write([]byte(line))
		if time.Since(out.lastTimeout) < noWaitPeriod { // the machine is busy: from here on nobody would wait
			out.Flush(patience)
			out.lastTimeout = time.Time{}
		}
		if got, err := os.ReadFile(f.Name()); err != nil || string(got) != want {
			t.Fatalf("after %d lines the file has %d bytes, not %d: %v", i+1, len(got), len(want), err)
		}
	}
}

// brittle fails after so many bytes, until there is space again.
type brittle struct {
	text  strings.Builder
	space int
}

func (b *brittle) Write(p []byte) (int, error) {
	n := min(len(p), b.space)
	b.text.Write(p[:n])
	if b.space -= n; n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// A disk that is full loses lines and no order: the half of a line is not
// continued by another, and each line that was lost is counted.
func TestLogDiskIsFull(t *testing.T) {
	b := &brittle{space: 10}
	out := New(b)
	out.droppedLine = func(n uint64) []byte { return fmt.Appendf(nil, "lost %d\n", n) }
	for _, l := range []string{"first\n", "second\n", "third\n"} {
		out.Write([]byte(l))
		out.Flush(patience)
	}
	b.space = 1000
	out.Write([]byte("fourth\nfifth\n"))
	out.Flush(patience)
	if got, want := b.text.String(), "first\nseco\nfourth\nfifth\nlost 2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n, _ := out.State(); n != 2 {
		t.Errorf("%d are counted", n)
	}
}
