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

// Log is a log handler that writes text or JSON, whichever is wanted at the
// moment. It takes all levels.
type Log struct {
	text, json slog.Handler
	useJSON    *atomic.Bool // shared with handlers made of this one
}

// NewLog makes a handler that writes to w, in the format "text" or "json". The journal,
// if w leads there, is given priorities and has the time by itself. printable makes a text
// one that harms no terminal, in one line. If w is a Writer, its lines about lines that
// were dropped have the format of the log.
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
			_ = l.Handle(context.Background(), r) // a buffer takes everything
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

// Stat is of where the line is to go.
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

// cleanAttr makes what is logged safe for the terminal that it is read on:
// slog's JSON leaves C1 and bidirectional controls as they are. Lines of a stack
// stay lines, which both formats escape.
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
