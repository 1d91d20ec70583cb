package main

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

	"roomd/admin"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/systemd"
	"roomd/netsvc"
)

// formats is a log handler that writes text or JSON, whichever is wanted at the
// moment.
type formats struct {
	text, json slog.Handler
	useJSON    *atomic.Bool
}

// newTap makes the log's handler. The tap decides on the level and the formats
// below it on the format, so that both can be changed.
func newTap(c *config.Config, w io.Writer) (*admin.Tap, *formats) {
	f := newFormats(w, new(atomic.Bool))
	f.set(c.Log.Format)
	if l, ok := w.(*lineWriter); ok {
		b := &report{lines: l}
		f := newFormats(b, f.useJSON)
		l.report = func(n uint64) []byte {
			b.Reset()
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of the log were dropped: nothing read them, or they could not be written", 0)
			r.AddAttrs(slog.Uint64("lines", n))
			_ = f.Handle(context.Background(), r) // a buffer takes everything
			return bytes.Clone(b.Bytes())
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // the configuration allows only its names
	}
	return admin.NewTap(f, level), f
}

// report is where a line about the lines of a lineWriter is made.
type report struct {
	bytes.Buffer
	lines *lineWriter
}

// Stat is of where the line is to go.
func (r *report) Stat() (fs.FileInfo, error) { return r.lines.Stat() }

// newFormats makes handlers that write to w. The journal, if w leads there, is
// given priorities and has the time by itself.
func newFormats(w io.Writer, useJSON *atomic.Bool) *formats {
	all := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: printable}
	text := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, all) }
	json := func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, all) }
	f := &formats{text(w), json(w), useJSON}
	if systemd.IsJournal(w, os.Getenv) {
		untimed := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return printable(groups, a)
		}}
		f.text = systemd.NewPriorities(w, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, untimed) })
		f.json = systemd.NewPriorities(w, json)
	}
	return f
}

func (f *formats) set(name string) { f.useJSON.Store(name == "json") }

func (f *formats) Enabled(context.Context, slog.Level) bool { return true }

func (f *formats) Handle(ctx context.Context, r slog.Record) error {
	if f.useJSON.Load() {
		return f.json.Handle(ctx, r)
	}
	return f.text.Handle(ctx, r)
}

func (f *formats) WithAttrs(a []slog.Attr) slog.Handler {
	return &formats{f.text.WithAttrs(a), f.json.WithAttrs(a), f.useJSON}
}

func (f *formats) WithGroup(name string) slog.Handler {
	return &formats{f.text.WithGroup(name), f.json.WithGroup(name), f.useJSON}
}

// printable makes what is logged safe for the terminal that it is read on:
// slog's JSON leaves C1 and bidirectional controls as they are. Lines of a stack
// stay lines, which both formats escape.
func printable(_ []string, a slog.Attr) slog.Attr {
	text := a.Value.String()
	if _, is := a.Value.Any().(error); !is && a.Value.Kind() != slog.KindString {
		return a
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = netsvc.Printable(l)
	}
	return slog.String(a.Key, strings.Join(lines, "\n"))
}
