package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// turnHistory says so many lines as a room keeps, over and over, and looks at the
// database after each time.
func (t *load) turnHistory(ctx context.Context, r *Result) error {
	own := t.server.Process
	if own == nil || own.Protocol != "roomd" {
		return errors.New("the history needs a roomd that is started for it: leave out --server")
	}
	last, err := own.meter()
	if err != nil {
		return err
	}
	end := t.startMeasuring()
	for range t.shape.Turns {
		start := time.Now()
		t.shape.Lines = t.sent + uint64(t.shape.Keep)
		t.startPublishing()
		if err := t.loop.runUntil(ctx, 10*time.Minute, fmt.Sprintf("%d lines", t.shape.Keep), func() bool { return !t.publishing }, t.flushDue); err != nil {
			return err
		}
		if err := t.awaitLast(ctx, "the last lines"); err != nil {
			return err
		}
		now, err := own.meter()
		if err != nil {
			return err
		}
		turn := Turn{Lines: t.sent, Rate: float64(t.shape.Keep) / time.Since(start).Seconds()}
		turn.Commits, turn.Commit, turn.Commit99, turn.Disk = now.since(last)
		r.Turns = append(r.Turns, turn)
		last = now
	}
	end(r)
	r.setLines(t.sent, t.deliveries)
	return nil
}
