package admin

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Tap is a log handler with a changeable level, whose lines can be watched. It passes records
// to another handler.
type Tap struct {
	next  slog.Handler
	level *slog.LevelVar
	hub   *tapHub
}

type tapHub struct {
	mu  sync.Mutex
	all map[*logWatch]bool
}

// NewTap returns a Tap for a handler that accepts every level.
func NewTap(next slog.Handler, level slog.Level) *Tap {
	t := &Tap{next: next, level: new(slog.LevelVar), hub: &tapHub{all: make(map[*logWatch]bool)}}
	t.level.Set(level)
	return t
}

// Level returns the lowest level that is logged.
func (t *Tap) Level() string { return strings.ToLower(t.level.Level().String()) }

// levelArg is a log level.
var levelArg = oneOf("debug|info|warn|error")

// SetLevel sets the level until the server stops.
func (t *Tap) SetLevel(name string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return err
	}
	t.level.Set(l)
	return nil
}

func (t *Tap) Enabled(_ context.Context, l slog.Level) bool { return l >= t.level.Level() }

func (t *Tap) WithAttrs(a []slog.Attr) slog.Handler {
	return &Tap{t.next.WithAttrs(a), t.level, t.hub}
}

func (t *Tap) WithGroup(name string) slog.Handler {
	return &Tap{t.next.WithGroup(name), t.level, t.hub}
}

func (t *Tap) Handle(ctx context.Context, r slog.Record) error {
	t.hub.mu.Lock()
	watched := len(t.hub.all) > 0
	t.hub.mu.Unlock()
	if watched {
		var b bytes.Buffer
		if slog.NewTextHandler(&b, nil).Handle(ctx, r) == nil {
			t.hub.publish(logLine{r.Time.UTC(), strings.ToLower(r.Level.String()), strings.TrimSpace(b.String()), r.Level})
		}
	}
	return t.next.Handle(ctx, r)
}

// logLine is a log line for watchers.
type logLine struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Text  string    `json:"text"`

	level slog.Level
}

type logWatch struct {
	lines  chan logLine
	level  slog.Level
	match  string // in lower case
	missed atomic.Uint64
	hub    *tapHub
}

// watch returns a watcher of lines of this level or above that contain match; "" matches all.
func (t *Tap) watch(level, match string) (*logWatch, error) {
	w := &logWatch{lines: make(chan logLine, 256), match: strings.ToLower(match), hub: t.hub}
	if err := w.level.UnmarshalText([]byte(cmp.Or(level, "debug"))); err != nil {
		return nil, err
	}
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.hub.all[w] = true
	return w, nil
}

func (w *logWatch) close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.all, w)
}

// publish sends a line to the watchers, and drops it for those that are too slow.
func (h *tapHub) publish(l logLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		if l.level >= w.level && strings.Contains(strings.ToLower(l.Text), w.match) {
			select {
			case w.lines <- l:
			default:
				w.missed.Add(1)
			}
		}
	}
}
