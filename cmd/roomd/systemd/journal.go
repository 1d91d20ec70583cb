package systemd

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"syscall"
)

// IsJournal reports whether a file is the stream to the journal: the service manager sets
// JOURNAL_STREAM to the "DEVICE:INODE" of that stream (systemd.exec(5)).
func IsJournal(w io.Writer, getenv func(string) string) bool {
	f, ok := w.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	var device, inode uint64
	if n, err := fmt.Sscanf(getenv("JOURNAL_STREAM"), "%d:%d", &device, &inode); err != nil || n != 2 {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && uint64(st.Dev) == device && uint64(st.Ino) == inode
}

// priorities is a log handler for the journal. Each line begins with its priority, which the
// journal removes (sd-daemon(3)).
type priorities struct {
	each []slog.Handler // in the order of levels
}

var levels = []struct {
	least  slog.Level
	prefix string
}{{slog.LevelError, "<3>"}, {slog.LevelWarn, "<4>"}, {slog.LevelInfo, "<6>"}, {slog.LevelDebug, "<7>"}}

// NewPriorities makes a log handler that begins each line with its priority. It calls handler
// for each priority. w gets whole lines, one in each write.
func NewPriorities(w io.Writer, handler func(io.Writer) slog.Handler) slog.Handler {
	p := &priorities{}
	for _, l := range levels {
		p.each = append(p.each, handler(&prefixWriter{w, l.prefix}))
	}
	return p
}

func (p *priorities) Enabled(context.Context, slog.Level) bool { return true }

func (p *priorities) Handle(ctx context.Context, r slog.Record) error {
	for i, l := range levels {
		if r.Level >= l.least {
			return p.each[i].Handle(ctx, r)
		}
	}
	return p.each[len(p.each)-1].Handle(ctx, r)
}

func (p *priorities) WithAttrs(a []slog.Attr) slog.Handler {
	return p.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(a) })
}

func (p *priorities) WithGroup(name string) slog.Handler {
	return p.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (p *priorities) with(fn func(slog.Handler) slog.Handler) slog.Handler {
	next := &priorities{slices.Clone(p.each)}
	for i, h := range next.each {
		next.each[i] = fn(h)
	}
	return next
}

// prefixWriter writes a prefix before each line, in the same write.
type prefixWriter struct {
	w      io.Writer
	prefix string
}

func (p *prefixWriter) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
