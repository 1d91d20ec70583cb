package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"roomd/admin"
	"roomd/netsvc"
)

// formats is a log handler that writes text or JSON, whichever is wanted at the
// moment.
type formats struct {
	text, json slog.Handler
	useJSON    *atomic.Bool
}

// newTap makes the log's handler. The tap decides on the level and the formats
// below it on the format, so that both can be changed. The journal, if w leads
// there, is given priorities and has the time by itself.
func newTap(c *Config, w io.Writer) (*admin.Tap, *formats) {
	all := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: printable}
	text := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, all) }
	json := func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, all) }
	f := &formats{text(w), json(w), new(atomic.Bool)}
	if journals(w, os.Getenv) {
		untimed := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return printable(groups, a)
		}}
		f.text = newPriorities(w, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, untimed) })
		f.json = newPriorities(w, json)
	}
	f.set(c.Log.Format)
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // the configuration allows only its names
	}
	return admin.NewTap(f, level), f
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
