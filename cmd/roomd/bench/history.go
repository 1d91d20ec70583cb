package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// turns says so many lines as a room keeps, over and over, and looks at the
// database after each time.
func (t *talk) turns(ctx context.Context, r *Result) error {
	own := t.server.Own
	if own == nil || own.Protocol != "roomd" {
		return errors.New("the history needs a roomd that is started for it: leave out --server")
	}
	last, err := own.meter()
	if err != nil {
		return err
	}
	began := time.Now()
	cpu := t.cpu()
	for range t.shape.Turns {
		start := time.Now()
		t.shape.Lines, t.talking = t.sent+uint64(t.shape.Keep), true
		for _, p := range t.publishers {
			t.fill(p)
		}
		if err := t.loop.until(ctx, 10*time.Minute, fmt.Sprintf("%d lines", t.shape.Keep), func() bool { return !t.talking }, t.idle); err != nil {
			return err
		}
		if err := t.loop.until(ctx, t.shape.Patience, "the last lines", t.all, t.idle); err != nil {
			return errors.Join(err, t.missing())
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
	r.Took, r.CPU = time.Since(began), t.cpu()-cpu
	r.Lines, r.Deliveries = t.sent, t.deliveries
	r.PerLine, r.PerDelivery = us(r.CPU)/float64(r.Lines), us(r.CPU)/float64(r.Deliveries)
	r.Cores = float64(r.CPU) / float64(r.Took)
	return nil
}
