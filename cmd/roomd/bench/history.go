package bench

import (
	"context"
	"errors"
	"time"
)

// turnHistory sends as many lines as a room keeps, several times, and reads the database
// after each time.
func (t *load) turnHistory(ctx context.Context, r *Result) error {
	p := t.server.Process
	if p == nil || p.Protocol != "roomd" {
		return errors.New("the history needs a roomd that is started for it: leave out --server")
	}
	last, err := p.databaseStats()
	if err != nil {
		return err
	}
	end := t.startMeasuring()
	for range t.shape.Turns {
		start := time.Now()
		if err := t.publishFor(ctx, 10*time.Minute, uint64(t.shape.Keep)); err != nil {
			return err
		}
		if t.publishing {
			return faultf("%d lines took more than ten minutes", t.shape.Keep)
		}
		if err := t.drain(ctx, "the last lines"); err != nil {
			return err
		}
		now, err := p.databaseStats()
		if err != nil {
			return err
		}
		r.Turns = append(r.Turns, Turn{Lines: t.sent, Rate: float64(t.shape.Keep) / time.Since(start).Seconds(), Database: now.since(last)})
		last = now
	}
	end(r)
	r.setLines(t.sent, t.deliveries)
	return nil
}
