package tail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"roomd/admin/english"
	"roomd/admin/term"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// Options select the lines that are printed, and their form.
type Options struct {
	// From is the first line, unless the file Cursor has a number.
	From client.From
	// After skips older lines, unless the file Cursor has a number.
	After time.Time
	// Cursor is the file with the number of the last printed line. Empty: none.
	Cursor string
	// Follow prints new lines until ctx is done.
	Follow bool
	// JSON prints an object a line.
	JSON bool
	// Timeout bounds the time in which the server is unreachable, with Follow only at the start.
	// 0: no bound.
	Timeout time.Duration
	// Out gets the lines, Display the messages about the connection.
	Out     io.Writer
	Display *progress.Display
}

// Room prints a room. It returns nil when all selected lines are printed, or ctx is done. The
// error is safe for a terminal.
func Room(ctx context.Context, server *remote.Server, name string, o Options) (err error) {
	t := printer{o: o}
	if o.Cursor != "" {
		c, at, ok, err := openCursor(o.Cursor)
		if err != nil {
			return err
		}
		defer c.close()
		t.cursor = &c
		if ok {
			t.o.From, t.o.After = client.AfterCursor(at), time.Time{}
		}
		t.o.From = t.o.From.Strict()
	}
	room, err := server.Join(ctx, o.Display, o.Timeout, name, client.JoinOptions{From: t.o.From})
	if err == nil {
		defer room.Close()
		err = remote.CleanError(t.run(ctx, room))
	} else if ctx.Err() != nil {
		return nil
	}
	return explainHistory(o.Cursor, err)
}

// printer prints a room. The goroutine of Room owns it.
type printer struct {
	o      Options
	cursor *cursorFile // nil: none
}

func (p *printer) run(ctx context.Context, room *client.Room) error {
	parent := ctx
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	outage := remote.Outage{Display: p.o.Display, Timeout: p.o.Timeout, GiveUp: giveUp}
	if p.o.Follow {
		outage.Timeout = 0
	}
	defer outage.Close()
	person := term.IsTerminal(p.o.Out)
	printed, caughtUp := 0, false
	var line []byte
	for ev := range room.Events(ctx) {
		if ev.Type == client.Live {
			p.o.Display.Clear()
			if caughtUp = true; !p.o.Follow {
				return nil
			}
		}
		outage.Handle(ev)
		if !ev.Stored() || ev.Time.Before(p.o.After) {
			continue
		}
		line = p.render(line[:0], ev)
		if !p.o.JSON && person {
			text := term.FoldFor(p.o.Out, strings.TrimSuffix(string(line), "\n"), len("15:04 "))
			line = append(append(line[:0], text...), '\n')
		}
		if _, err := p.o.Out.Write(line); err != nil {
			return err
		}
		if p.cursor != nil {
			if err := p.cursor.set(ev.Cursor()); err != nil {
				return err
			}
		}
		if printed++; !caughtUp && !person {
			p.o.Display.Update(func() string {
				return fmt.Sprintf("%s, %d/s", english.Plural(printed, "line"), p.o.Display.Rate(printed))
			})
		}
	}
	p.o.Display.Clear()
	switch {
	case parent.Err() != nil:
		return nil // a signal
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return room.Err()
}

// explainHistory adds advice to the error about a cursor of another history.
func explainHistory(file string, err error) error {
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Code != client.WrongHistory {
		return err
	}
	return fmt.Errorf("the cursor in %s cannot be used: %w\nremove the file to begin with the oldest line that is kept, or use --since SEQ|1h to begin elsewhere", wire.CleanString(file), err)
}

// render appends a line as it is printed, safe for a terminal.
func (p *printer) render(b []byte, ev client.Event) []byte {
	w := remote.CleanEvent(ev)
	if p.o.JSON {
		return w.AppendJSON(b)
	}
	b = ev.Time.Local().AppendFormat(b, "2006-01-02 15:04:05 ")
	return w.AppendText(b)
}
