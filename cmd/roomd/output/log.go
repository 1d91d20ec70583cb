package output

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"roomd/cmd/roomd/systemd"
)

// Log is a log handler that writes text or JSON; SetFormat changes the format. It takes all
// levels.
type Log struct {
	text, json slog.Handler
	useJSON    *atomic.Bool // shared with the handlers of WithAttrs and WithGroup
}

// NewLog makes a handler that writes to w, in the format "text" or "json". If w is the journal,
// each line gets a priority, and no time, which the journal adds. printable makes a text safe
// for a terminal, in one line. If w is a Writer, its reports of dropped lines have the format
// of the log.
func NewLog(w io.Writer, format string, printable func(string) string) *Log {
	l := newLog(w, new(atomic.Bool), printable)
	l.SetFormat(format)
	if out, ok := w.(*Writer); ok {
		b := &droppedReport{writer: out}
		l := newLog(b, l.useJSON, printable)
		out.droppedLine = func(n uint64) []byte {
			b.Reset()
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped: the reader of the log does not read, or the write failed", 0)
			r.AddAttrs(slog.Uint64("lines", n))
			_ = l.Handle(context.Background(), r) // a write to a buffer never fails
			return bytes.Clone(b.Bytes())
		}
	}
	return l
}

// droppedReport is where a line about the lines of a Writer is made.
type droppedReport struct {
	bytes.Buffer
	writer *Writer
}

// Stat returns the FileInfo of the file for the line.
func (r *droppedReport) Stat() (fs.FileInfo, error) { return r.writer.Stat() }

func newLog(w io.Writer, useJSON *atomic.Bool, printable func(string) string) *Log {
	clean := func(_ []string, a slog.Attr) slog.Attr { return cleanAttr(a, printable) }
	all := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: clean}
	text := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, all) }
	json := func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, all) }
	l := &Log{text(w), json(w), useJSON}
	if systemd.IsJournal(w, os.Getenv) {
		untimed := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return clean(groups, a)
		}}
		l.text = systemd.NewPriorities(w, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, untimed) })
		l.json = systemd.NewPriorities(w, json)
	}
	return l
}

// SetFormat changes the format to "text" or "json". It may be called from any goroutine.
func (l *Log) SetFormat(name string) { l.useJSON.Store(name == "json") }

// Enabled is of slog.Handler.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// Handle is of slog.Handler.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	if l.useJSON.Load() {
		return l.json.Handle(ctx, r)
	}
	return l.text.Handle(ctx, r)
}

// WithAttrs is of slog.Handler.
func (l *Log) WithAttrs(a []slog.Attr) slog.Handler {
	return &Log{l.text.WithAttrs(a), l.json.WithAttrs(a), l.useJSON}
}

// WithGroup is of slog.Handler.
func (l *Log) WithGroup(name string) slog.Handler {
	return &Log{l.text.WithGroup(name), l.json.WithGroup(name), l.useJSON}
}

// cleanAttr makes a value safe for a terminal: the JSON of slog does not escape C1 and
// bidirectional controls. The lines of a stack stay separate; both formats escape line ends.
func cleanAttr(a slog.Attr, printable func(string) string) slog.Attr {
	text := a.Value.String()
	if _, is := a.Value.Any().(error); !is && a.Value.Kind() != slog.KindString {
		return a
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return slog.String(a.Key, strings.Join(lines, "\n"))
}
